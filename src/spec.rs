//! What we build of each specification, and where we depart: section → item that does it → test that proves it.
//!
//! Documentation only. The links are checked when it is compiled; `tests/it/spec.rs` checks that each test named here exists. A test is
//! named `module::test` (in `tests/it`) or `path::tests::test` (beside the code). Where a row names a module, every test of it counts.
//!
//! # RFC 6749, OAuth 2.0; RFC 9700, its security; RFC 7636, PKCE; RFC 9207, `iss` in answers
//!
//! | section | item | test |
//! | --- | --- | --- |
//! | 6749 §2.3, §3.2.1 client authentication, one method | [`client_auth::authenticate`](crate::flow::client_auth::authenticate) | `client_auth::secrets`, `client_auth::two_methods_are_one_too_many`, `client_auth::the_client_comes_first` |
//! | 6749 §2.3.1 a client with a secret may use basic or post, whichever it registered; §5.2, 9110 §15.5.2 a challenge on every 401 | [`client_auth::authenticate`](crate::flow::client_auth::authenticate), `http::error` | `client_auth::secrets` |
//! | 6749 §3.1, §3.2 empty is absent, no parameter twice, unknown ignored | `http::form` | `http::form::tests::values` |
//! | 6749 §4.1.1 authorization request | [`domain::authorize::parse`](crate::domain::authorize::parse) | `domain::authorize::tests::rules`, `authorize::what_is_wrong_is_told_to_the_client` |
//! | 6749 §3.3, Core §3.1.2.1 scopes that are not understood are left out, and the answer says what was granted | [`domain::authorize::parse`](crate::domain::authorize::parse) | `lenience::scopes_that_are_not_understood_are_left_out`, `lenience::who_asks_for_no_scope_gets_none`, `domain::authorize::tests` |
//! | 6749 §4.1.2 a reused code ends what it gave | [`flow::code::run`](crate::flow::code::run) | `code::a_code_that_comes_back_ends_what_it_gave`, `code::one_of_twenty_redemptions_wins_and_keeps_nothing` |
//! | 6749 §4.1.2.1, §5.2 errors | [`http::error::code_and_status`](crate::http::error::code_and_status) | `errors` |
//! | 6749 §5.1 `no-store` | `http::token` | `exchange::an_assertion_says_what_the_contract_says` |
//! | 6749 §6; 9700 §4.14.2 rotation, reuse detection; the last token may be sent again for a moment | [`flow::refresh::run`](crate::flow::refresh::run), [`domain::refresh::turn`](crate::domain::refresh::turn) | `refresh::each_token_is_used_once_and_its_reuse_ends_the_family`, `refresh::an_answer_that_was_lost_is_given_again`, `refresh::only_the_last_token_may_be_sent_again_and_only_for_a_moment`, `refresh::of_those_that_came_of_one_token_at_once_one_goes_on`, `domain::refresh::tests` |
//! | 9700 §2.1, §4.1.3 exact redirect match; loopback port (8252 §7.3) | [`RedirectUri::admits`](crate::domain::redirect_uri::RedirectUri::admits) | `domain::redirect_uri::tests::only_the_port_of_a_loopback_address_may_differ`, `lenience::an_answer_goes_to_the_text_that_was_compared` |
//! | 8252 §8.6 a public client that anybody on the machine could be is never approved silently | [`Client::is_alone_at`](crate::domain::client::Client::is_alone_at), [`ClientPolicy::suits`](crate::domain::client::ClientPolicy::suits) | `lenience::who_cannot_prove_who_they_are_is_never_approved_silently`, `config::clients::tests::rules` |
//! | 9700 §4.11 no open redirector | [`domain::authorize::redirect_uri`](crate::domain::authorize::redirect_uri), `http::way_back` | `http::way_back::tests::the_way_back_is_ours`, `authorize::nothing_is_sent_where_it_may_not_go` |
//! | 9700 §4.12 303 after posts | `http::reply` | `authorize::the_answer_names_its_issuer_and_state` |
//! | 9700 §4.16 no framing; no cross-site posts | `http::reply`, `http::csrf` | `page_attacks`, `sign_in::posts_from_other_sites_do_nothing` |
//! | 9700 §2.1.1 a nonce in place of PKCE, for a confidential client whose operator says so; §4.8.2 no downgrade | [`domain::authorize::parse`](crate::domain::authorize::parse), [`flow::code::run`](crate::flow::code::run) | `lenience::a_nonce_in_place_of_pkce`, `config::clients::tests::rules` |
//! | 7636 §4.6 S256, for every other client | [`flow::code::run`](crate::flow::code::run) | `code::what_does_not_fit_gives_nothing_and_costs_nothing` |
//! | 9207 §2 `iss` in every answer | [`flow::authorize::answer`](crate::flow::authorize::answer) | `authorize::the_answer_names_its_issuer_and_state` |
//!
//! # OpenID Connect Core 1.0 and Discovery 1.0; RFC 8414, metadata; RFC 7517 and 7638, keys
//!
//! | section | item | test |
//! | --- | --- | --- |
//! | Core §2 ID token with `sid` and true `auth_time` | [`IdToken`](crate::domain::claims::IdToken), [`flow::tokens::issue`](crate::flow::tokens::issue) | `code::a_sign_in_gives_tokens_that_tell_the_truth` |
//! | Core §11 `offline_access`: what a client gets outlives the session, where the page said so; without it, it ends with it | [`flow::tokens::issue`](crate::flow::tokens::issue), [`flow::sign_in::end_client`](crate::flow::sign_in::end_client) | `sign_ins::with_offline_access_it_outlives_the_session`, `sign_ins::the_page_says_for_how_long`, `sign_ins::the_user_ends_it_on_the_page`, `refresh::an_ended_session_ends_its_refresh_tokens` |
//! | Core §3.1.2.1 `prompt`, `max_age`, GET and POST | [`Request::accepts`](crate::domain::authorize::Request::accepts) | `domain::authorize::tests::freshness`, `authorize::prompts`, `authorize::max_age` |
//! | Core §3.1.2.1, §3.1.2.2 `id_token_hint`: an ID token that this client got here, expired or not | [`flow::authorize::decide`](crate::flow::authorize::decide) | `lenience::a_hint_names_who_is_meant` |
//! | Core §3.1.2.1 `state` and `nonce` of up to 8 KiB each | [`domain::authorize::parse`](crate::domain::authorize::parse) | `lenience::state_and_nonce_of_eight_kibibytes` |
//! | 8414 §2 `none` only where a public client is | `http::discovery` | `lenience::none_is_named_where_a_public_client_is_on_sqlite`, `lenience::none_is_named_where_a_public_client_is_on_postgres`, `lenience::each_issuer_names_its_own` |
//! | Discovery §3; 8414 §2, §3.2, §3.3 | `http::discovery` | `discovery::the_metadata_is_what_clients_rely_on` |
//! | 8414 §3, §3.1 (inserted before the path), Discovery §4 (appended to it): an issuer by path has its metadata under four names | `http::place` | `paths::both_forms_of_a_well_known_path_lead_to_one_document`, `paths::no_other_spelling_leads_to_an_issuer` |
//! | 7517 §5, 7638 §3 | [`SigningKey::public_jwk`](crate::jose::SigningKey::public_jwk), [`Jwks`](crate::jose::Jwks) | `discovery::the_keys_are_public_and_named_by_their_thumbprint`, `jose::jwks::tests::keys_that_verify_nothing` |
//! | 7517 §4.4, §4.5 `alg`, `kid` and `use` of each key; published before it signs and for as long as anything that it signed is alive | [`domain::rotation`](crate::domain::rotation), [`flow::rotate`](crate::flow::rotate) | `domain::rotation::tests`, `keys::a_rotation_by_hand`, `keys::keys_rotate_by_themselves`, `keys::of_two_servers_one_moves_a_key`, `verifiers::a_rotation_is_noticed_by_no_verifier` |
//! | 7517 §4.5 a revoked key leaves the set at once and signs nowhere: mints, ID tokens and notices compare its state in a transaction, and so does a mint the key of an ID token that it rests on | [`flow::compromise`](crate::flow::compromise), [`keyring::signer`](crate::flow::keyring::signer) | `compromise::a_revoked_key_signs_nowhere_and_is_in_no_set`, `compromise::a_server_that_has_not_heard_tells_services_by_the_key_that_signs`, `compromise::a_pending_key_takes_over_from_a_revoked_one`, `verifiers::a_revoked_key_convinces_nobody_whose_key_set_has_aged` |
//! | 7518 §3.3 RS256 beside ES256, one key of each that signs; Dynamic Client Registration §2 `id_token_signed_response_alg` | [`Keyring::signer`](crate::jose::Keyring::signer), [`rotate::ensure`](crate::flow::rotate::ensure) | `keys::rs256_beside_es256_on_sqlite`, `keys::rs256_beside_es256_on_postgres`, `jose::key::tests` |
//! | 7517 §4.2 to §4.4, §5, 7518 §6 a registered key set is public, strong and free of contradictions, and what nobody here knows is passed over; of a fetched one each key is read by itself | [`PublicJwks`](crate::domain::public_jwks::PublicJwks), [`public_key`](crate::domain::public_key), [`Jwks`](crate::jose::Jwks) | `domain::public_jwks::tests`, `domain::public_key::tests`, `jose::jwks::tests::an_unknown_key_type_does_not_silence_the_set` |
//! | PKCS #11 3.1 §6.3 (ECDSA over the digest, r and s as JWS has them), §6.1 RSA PKCS #1: keys in a device, built with the feature `pkcs11` | [`SigningKey::generate_in`](crate::jose::SigningKey::generate_in) | `pkcs11`, with `tests/run --features pkcs11` |
//! | 7517 §4, 7468 private keys from elsewhere, judged before they are taken | [`jose::import`](crate::jose::import) | `jose::import::tests`, `keys::a_key_from_elsewhere_keeps_its_name` |
//! | 9111 §5.2.2.1 the key set's `max-age` ends at the next planned change | [`domain::rotation::max_age`](crate::domain::rotation::max_age) | `domain::rotation::tests::no_key_set_outlives_a_change`, `keys::keys_rotate_by_themselves` |
//! | 7515 §4.1.11 `crit` refused; 7518 §3.4 ES256 | [`Unverified`](crate::jose::Unverified) | `jose::verify::tests::only_what_the_key_signed`, `jose::verify::tests::a_member_that_is_null_is_there` |
//!
//! # OpenID Connect RP-Initiated Logout 1.0
//!
//! | section | where | tests |
//! | --- | --- | --- |
//! | §2 GET and POST; an ID token of the browser's session ends it, whatever else there is is asked about; an ID token counts however long ago it expired | [`flow::end_session::decide`](crate::flow::end_session::decide) | `end_session` |
//! | §2.1, §3.1 `end_session_endpoint`, `post_logout_redirect_uris` | `http::discovery`, [`ClientMetadata::validate`](crate::domain::client_metadata::ClientMetadata::validate) | `discovery`, `domain::client_metadata::tests::every_door_has_the_same_rules` |
//! | §3 on to a registered address alone, to the letter, with `state`; else a page | [`flow::end_session::decide`](crate::flow::end_session::decide) | `end_session::only_what_is_registered_is_gone_on_to` |
//!
//! # OpenID Connect Back-Channel Logout 1.0
//!
//! | section | item | test |
//! | --- | --- | --- |
//! | §2.1 metadata | `http::discovery` | `discovery::the_metadata_is_what_clients_rely_on` |
//! | §2.2 `backchannel_logout_uri`, `backchannel_logout_session_required` | [`LogoutUri`](crate::domain::logout_uri::LogoutUri), [`ClientMetadata::validate`](crate::domain::client_metadata::ClientMetadata::validate) | `domain::logout_uri::tests`, `domain::client_metadata::tests::where_the_doors_differ` |
//! | §2.3 which clients a session has signed its user in to, for as long as it lives | [`flow::authorize`](crate::flow::authorize), [`flow::logout`](crate::flow::logout) | `logout::a_client_is_told_long_after_its_tokens_have_gone`, `logout::whatever_ends_a_session_tells_its_clients`, `logout::who_knows_no_session_is_told_of_none` |
//! | §2.4 logout token: `sid` and `sub`, never a `nonce`, typ, two minutes, the client's algorithm | [`BackchannelToken`](crate::domain::notice_claims::BackchannelToken) | `logout::a_sign_out_tells_every_client_of_the_session`, `logout::each_issuer_speaks_for_itself` |
//! | §2.5, §2.8 request and answer; owed in the transaction that ends the session | [`flow::message::sign`](crate::flow::message::sign), [`answer::judge`](crate::domain::answer::judge) | `logout::what_clients_answer`, `logout::a_client_is_told_where_it_wants_to_be_told_now`, `domain::answer::tests` |
//!
//! # RFC 7009, revocation; RFC 7662, introspection; OpenID Connect Core section 5.3, userinfo
//!
//! | section | item | test |
//! | --- | --- | --- |
//! | Core §5.3, §5.4 claims by scope, GET and POST; 6750 §2.1, §2.2, §3.1 | [`flow::issued::user_info`](crate::flow::issued::user_info) | `issued::user_info_says_what_the_scopes_allow` |
//! | 7662 §2.1, §2.2 | [`flow::issued::introspect`](crate::flow::issued::introspect) | `issued::a_client_sees_its_own_tokens` |
//! | 7009 §2.1, §2.2 the client first, its own tokens only; a refresh token ends its sign-in | [`flow::issued::revoke`](crate::flow::issued::revoke) | `issued::a_client_gives_a_token_back` |
//! | 8725 §3.12 no kind of token is taken for another, at any endpoint | | `issued::no_kind_of_token_is_taken_for_another` |
//!
//! # RFC 7523, client assertions
//!
//! | section | item | test |
//! | --- | --- | --- |
//! | §3 `iss`, `sub`, `aud`, `exp`, `jti`; age by `iat` where there is one | [`ClientAssertion::judge`](crate::domain::client_assertion::ClientAssertion::judge) | `domain::client_assertion::tests`, `client_auth::assertions_are_judged`, `client_auth::signatures_are_verified_by_the_registered_key_alone` |
//! | §3 item 7 `jti` once, shared by replicas | [`Store::spend`](crate::store::Store::spend) | `client_auth::an_assertion_is_used_once_whichever_server_sees_it` |
//!
//! # RFC 8693, token exchange; ID-JAG draft in its text of 1 August 2026, after -04; RFC 8707, resources
//!
//! | section | item | test |
//! | --- | --- | --- |
//! | 8693 §2.1, ID-JAG §4.3 request | `http::token` | `exchange::every_wrong_request_gets_its_error_and_changes_nothing` |
//! | ID-JAG §4.3.3 subject token is this client's own | [`flow::exchange::run`](crate::flow::exchange::run) | `exchange::forged_id_tokens`, `exchange::subject_tokens_end` |
//! | ID-JAG §4.3.3 ceiling, resource, scope; 8707 §2 | [`domain::exchange::decide`](crate::domain::exchange::decide) | `domain::exchange::tests::every_rule_says_no`, `exchange::scope_and_resource_in_the_answer` |
//! | ID-JAG §9.3 an issuer is no audience of its own, another one of this server only where it is declared | [`domain::exchange::decide`](crate::domain::exchange::decide), [`Audience::names`](crate::domain::ids::Audience::names) | `domain::exchange::tests::issuers_of_this_server`, `domain::ids::tests::spellings_of_an_issuer`, `issuers::an_issuer_of_this_server_as_audience` |
//! | ID-JAG §4.3.3 never more than the user was shown, is verified and the service still has | [`disclosed`](crate::domain::disclosure::disclosed), [`Request::answered_by`](crate::domain::exchange::Request::answered_by) | `domain::disclosure::tests`, `disclosure::a_claim_that_was_not_shown_is_asked_for`, `disclosure::what_is_not_verified_stays_here`, `disclosure::what_a_service_no_longer_has_is_no_longer_granted` |
//! | 8693 §2.2.2 `invalid_target`, with the spelling that is known here; 3986 ASCII alone | [`Client::spelling_of`](crate::domain::client::Client::spelling_of), [`Audience::place`](crate::domain::ids::Audience::place) | `disclosure::a_service_by_another_name`, `config::spellings::tests` |
//! | ID-JAG §3.1 claims, checked before they leave | [`IdJag::check`](crate::domain::claims::IdJag::check), [`keyring::sign_assertion`](crate::flow::keyring::sign_assertion) | `domain::claims::tests::the_last_look` |
//! | ID-JAG §4.3.4 `N_A`, `issued_token_type`, no refresh token | `http::token` | `exchange::an_assertion_says_what_the_contract_says` |
//! | ID-JAG §7.1 metadata; §9.1 no public clients | `http::discovery`, [`ClientMetadata::validate`](crate::domain::client_metadata::ClientMetadata::validate) | `discovery::the_metadata_is_what_clients_rely_on`, `config::clients::tests::rules` |
//! | ID-JAG §5 client id at the service | [`domain::exchange::decide`](crate::domain::exchange::decide) | `domain::exchange::tests::the_client_id_at_the_service` |
//! | ID-JAG §9.2 step-up: an example there, no rule; `max_age` alone, since `acr_values` is only proposed | [`Refusal::StepUp`](crate::domain::refusal::Refusal::StepUp) | `exchange::an_old_sign_in_has_to_be_renewed` |
//! | ID-JAG §9.3 no access token for an own ID-JAG; §9.8.1.1 a DPoP proof is never ignored | `http::token` | `exchange::every_wrong_request_gets_its_error_and_changes_nothing` |
//!
//! # auth.md v0.1
//!
//! | section | item | test |
//! | --- | --- | --- |
//! | provider: consent per audience | [`flow::consent::decide`](crate::flow::consent::decide), [`Consent::covers`](crate::domain::consent::Consent::covers) | `consent::how_far_a_consent_goes`, `consent::denied_until_revised`, `domain::consent::tests::what_covers_what` |
//! | provider: `once` mints once, whatever the concurrency | [`Store::mint`](crate::store::Store::mint) | `mint::a_once_mints_exactly_one_of_a_hundred`, `replicas::a_once_mints_exactly_one_of_a_hundred_on_two_servers` |
//! | provider: delegations by (sub, aud) | [`Delegation`](crate::domain::delegation::Delegation) | `api::lists`, `api::a_record_in_full`, `withdraw::what_is_agreed_again_is_active_again` |
//! | provider: logout token on withdrawal | [`flow::withdraw::withdraw`](crate::flow::withdraw::withdraw), [`flow::notify::tell`](crate::flow::notify::tell), [`LogoutToken`](crate::domain::notice_claims::LogoutToken) | `withdraw::an_operator_withdraws`, `delivery::any_2xx_delivers`, `delivery::after_a_week_it_ends_by_what_the_service_said_last`, `whole::the_whole_loop` |
//! | provider, v0.3 and later: security event token to the `events_endpoint` (RFC 8417 §2.2, RFC 8935 §2.1) | [`Format::SecEvent`](crate::domain::notice::Format::SecEvent) | `formats` |
//! | Global Token Revocation -06 §3.2, §3.5, §6; 9493 §3.2.3 | [`Format::GlobalRevocation`](crate::domain::notice::Format::GlobalRevocation), [`flow::message::sign`](crate::flow::message::sign), [`RevocationToken`](crate::domain::notice_claims::RevocationToken) | `formats::a_revocation_is_asked_for_on_sqlite`, `formats::a_revocation_is_asked_for_on_postgres`, `domain::understood::channels::tests::global_token_revocation` |
//! | v0.3 `events_supported`: what the withdrawal is called | [`understood::understand`](crate::domain::understood::understand) | `domain::understood::channels::tests::what_the_withdrawal_is_called`, `formats::a_service_is_told_in_every_format_that_it_publishes` |
//! | 8935 §2.2–2.4, v0.1 "Revocation", 7009 §2.2.1 what answers mean: a no for good, an unknown key, a replay, a yes that proves nothing | [`answer::judge`](crate::domain::answer::judge), [`retry::next`](crate::domain::retry::next) | `domain::answer::tests`, `domain::retry::tests`, `answers` |
//! | provider: a withdrawal after another one stands for it; what one issuer cannot sign holds up no other | [`flow::withdraw`](crate::flow::withdraw), [`flow::notify::tell`](crate::flow::notify::tell) | `undisturbed` |
//! | provider: JWKS at `{iss}/.well-known/jwks.json`, CIMD with the same `jwks_uri` | `http::discovery` | `discovery::the_document_about_ourselves_passes_our_own_judgement` |
//! | service: everything a relying service checks, in each dialect, and each rule by itself | [`lab::sandbox`](crate::lab::sandbox), [`Rule`](crate::lab::flaws::Rule) | `lab::sandbox::tests`, `lab::sandbox::tests::dialects`, `lab::sandbox::tests::matrix`, `lab::sandbox::tests::documents`, `demo::it_plays_in_every_dialect` |
//! | service: `interaction_required`, `login_required` and the ceremonies of v0.4 to v0.7 and after | [`lab::sandbox`](crate::lab::sandbox) | `lab::sandbox::tests::dialects::whoever_has_the_address_of_an_account_has_to_be_asked`, `lab::sandbox::tests::dialects::a_question_that_was_lost_is_asked_again`, `lab::sandbox::tests::dialects::a_sign_in_is_asked_for_that_is_recent` |
//! | service: whatever its metadata, its text, its page and its answers name is there. Departure: in RFC 7523 it names an `authorization_endpoint`, which 8414 §2 lets be missing and the SDKs of MCP do not; it refuses everybody (6749 §4.1.2.1) | [`lab::sandbox`](crate::lab::sandbox) | `lab::sandbox::tests::places`, `mcp::the_sdk_of_mcp_gets_a_token_and_loses_it` |
//! | service: notices as logout token, security event token, Global Token Revocation and back-channel logout | [`lab::sandbox`](crate::lab::sandbox) | `lab::sandbox::tests::dialects::each_format_of_a_notice_ends_what_the_user_gave`, `lab::sandbox::tests::dialects::security_events_are_judged_as_rfc_8935_says` |
//! | service: v0.1 "User claimed flow", anonymous start and e-mail required, with the code on a page of the sandbox in the place of an e-mail; `credential_expires` of an unclaimed key is the end of its claim, and not null | [`lab::sandbox`](crate::lab::sandbox) | `lab::sandbox::tests::claimed` |
//! | service: "Rate limiting" by address, then by user in the place of the tenant (the sandbox is one tenant, on one machine); off unless asked for | [`Rate`](crate::lab::sandbox::Rate) | `lab::sandbox::tests::claimed::an_address_comes_so_often_and_no_more`, `lab::sandbox::tests::claimed::a_user_is_registered_so_often_and_no_more`, `lab::sandbox::rate::tests` |
//! | service: audit events, and the verdict of each check, as they happen (HTML §9.2 server-sent events) | [`lab::sandbox`](crate::lab::sandbox) | `lab::sandbox::tests::live`, `sandbox_page::what_happens_is_seen_as_it_happens` |
//! | 9449 §4.3, §7, ID-JAG §9.8.1.2 (service) proofs of possession | [`lab::sandbox`](crate::lab::sandbox) | `lab::sandbox::tests::dialects::an_assertion_that_is_bound_needs_its_key` |
//!
//! # What services publish: RFC 8414 and RFC 9728, metadata; auth.md, `agent_auth`
//!
//! | section | item | test |
//! | --- | --- | --- |
//! | 8414 §3.1 inserted, and appended as auth.md's client does it; Discovery §4; 9728 §3.1 | [`understood::places`](crate::domain::understood::places) | `domain::understood::tests::where_documents_are`, `discover::every_place_is_looked_at_and_each_is_told_of` |
//! | 8414 §3.3 a document proves the issuer that it names, at that one's address, byte for byte; one that differs by a slash at its end is known by the service's own spelling | [`understood::understand`](crate::domain::understood::understand) | `domain::understood::tests::documents_that_are_not_where_they_should_be`, `domain::understood::tests::a_slash_at_the_end_is_an_alias` |
//! | 9728 §2, §3.3, §5 `authorization_servers` of a resource is followed once | [`understood::hint`](crate::domain::understood::hint), [`flow::discover::discover`](crate::flow::discover::discover) | `domain::understood::tests::a_resource_leads_to_its_authorization_server_once`, `discover::what_a_resource_names_is_followed_once` |
//! | 8414 §3.2 `application/json`; bounded in size and time, no redirect, no special-use address | [`net::Documents`](crate::net::Documents) | `discover::bad_documents_prove_nothing_and_cost_little`, `net::documents::tests` |
//! | 9111 §4.2, §5 freshness, within bounds of our own | [`net::Documents`](crate::net::Documents) | `net::documents::tests` |
//! | `agent_auth` in every spelling that is published: what cannot be used is passed over and the reason kept; ID-JAG draft §7.2 grant profiles | [`understood::understand`](crate::domain::understood::understand) | `domain::understood::tests::what_the_documents_of_others_come_out_as`, `domain::understood::tests::variations`, `domain::understood::tests::what_a_plain_server_says_of_id_jags`, `domain::understood::tests::what_is_kept_is_bounded`, `discover::real_documents_as_a_service_publishes_them` |
//! | endpoints are at the service's host or under it, https, and for nothing else | [`understood::understand`](crate::domain::understood::understand) | `domain::understood::tests::variations` |
//! | ID-JAG draft §4.3.3, 8707 §2 a resource belongs to its audience: of those that are listed, compared by 3986 §6.2.2, else at its own origin | [`Service::guards`](crate::domain::service::Service::guards) | `domain::service::tests::which_resources_it_guards`, `services::a_resource_belongs_to_its_audience` |
//! | who an audience is: declared, else discovered, else unknown; looked at after client, subject and ceiling have passed, within bounds, and never by a mint under what was agreed to | [`flow::services::resolve`](crate::flow::services::resolve), [`flow::look`](crate::flow::look), [`domain::exchange::admit`](crate::domain::exchange::admit) | `services::from_the_question_to_the_notice_on_sqlite`, `services::from_the_question_to_the_notice_on_postgres`, `services::nobody_has_a_service_looked_at_who_may_not_ask_for_it`, `services::looks_have_bounds`, `services::replicas_share_what_was_found_out`, `services::issuers_find_out_for_themselves` |
//! | auth.md "Discover": a service that takes no ID-JAGs is refused with what it takes; what it spells otherwise by a slash is minted for as it spells itself | [`flow::exchange::run`](crate::flow::exchange::run) | `services::a_service_that_takes_no_id_jags_says_what_it_takes`, `services::the_spelling_is_the_services_own` |
//! | no trust by metadata alone: nothing of a declared or pinned service is widened, a change is in the journal and asks again where the user was shown something else, and a document that is gone changes nothing | [`flow::look`](crate::flow::look), [`Consent::covers`](crate::domain::consent::Consent::covers) | `services::metadata_widen_nothing_of_a_declared_service`, `services::who_was_shown_something_else_is_asked_again`, `services::what_was_discovered_and_is_declared_then_is_the_operators`, `services::operators_see_pin_and_refresh_what_was_found_out`, `domain::consent::tests::no_consent_covers_a_service_that_was_shown_otherwise` |
//! | `avouch service discover`, `POST /api/v1/services/discover` | [`flow::services::discover`](crate::flow::services::discover) | `discover::on_the_command_line`, `services::on_the_command_line`, `discover::only_an_administrator_has_a_service_looked_at` |
//!
//! # Client ID Metadata Document draft -02
//!
//! | section | item | test |
//! | --- | --- | --- |
//! | §3 URL; §4 document, ours included; §4.1 no secrets; §8.2 keys | [`domain::cimd::judge`](crate::domain::cimd::judge) | `domain::cimd::tests`, `discovery::the_document_about_ourselves_passes_our_own_judgement` |
//! | §4.2 redirect URIs, of whoever uses them | [`Door::Cimd`](crate::domain::client_metadata::Door::Cimd) | `domain::client_metadata::tests` |
//! | §5 only 200, no redirects; §5.2 cache; §8.7 size | [`net::Documents`](crate::net::Documents) | `net::documents::tests` |
//! | §8.6 no special-use address | [`net::address::is_public`](crate::net::address::is_public) | `net::address::tests` |
//! | §7.1 no registered client id looks like a URL | [`config`](crate::config) | `config::clients::tests` |
//!
//! # The lab: what proves services, other people's and our own
//!
//! | promise | item | test |
//! | --- | --- | --- |
//! | every deliberate flaw is one change to something good and declares what it touches; names, rules and answers are data | [`lab::flaws`](crate::lab::flaws) | `lab::flaws::tests`, `flaws::the_document_of_flaws`, `flaws::the_command_lists_them` |
//! | nothing of a lab is taken by a server: names, keys and tokens | [`Unverified::received`](crate::jose::Unverified::received), [`Kid::is_of_lab`](crate::domain::ids::Kid::is_of_lab), [`IssuerUrl::is_of_lab`](crate::domain::ids::IssuerUrl::is_of_lab) | `lab::nothing_of_a_lab_is_taken_anywhere`, `lab::no_key_of_a_lab_becomes_a_servers_or_a_clients`, `jose::verify::tests::what_a_lab_made_is_not_received`, `layers::one_place_for_each_concern` |
//! | 6979 §3.2 a lab's signatures are the same each time; it signs by its own keys and by no others | [`LabKey`](crate::jose::LabKey) | `jose::lab::tests` |
//! | an issuer that a test scripts: the provider's own code, keys of a lab, on loopback and for programs alone | [`lab::harness`](crate::lab::harness) | `scripted` |
//! | vectors that everybody can use, of every flaw that can be written down, signed with ES256 and with RS256: the same files each time, their schema published, a newer one refused | [`lab::vectors`](crate::lab::vectors) | `vectors::the_published_vectors_are_those_that_are_made`, `vectors::jose_judges_them`, `vectors::pyjwt_judges_them`, `vectors::a_newer_file_is_refused_by_others_too`, `lab::vectors::tests::a_newer_file_is_refused_in_one_sentence` |
//! | one assertion for a script, good or with a flaw, of 300 seconds, bound to a key and with its proof (9449 §4.2) where that is asked for | [`lab::mint`](crate::lab::mint) | `lab::an_assertion_for_a_script`, `lab::what_no_assertion_is_made_of`, `lab::mint::tests` |
//! | a probe: each flaw between two good assertions that are taken; notices judged by what ends; all that needs other keys by one change of the key set; a strict sandbox passes in every dialect without a warning, and of one without a rule exactly what names that rule is found | [`lab::probe`](crate::lab::probe) | `lab::probe::tests` |
//! | auth.md "JWKS fetching", 7517 §4.5, §5, 9110 §15.4.5, CIMD §8.2 drills: how a service follows a rotation and a compromise, step by step, also over broken key sets; nothing of that on an issuer at work | [`lab::drill`](crate::lab::drill), [`flow::rehearse`](crate::flow::rehearse) | `lab::drill::tests`, `lab::drill::view::tests`, `drill` |
//! | a report of a probe: a grade that the worst finding caps and that is left out where too little was shown; JSON by a published schema, JUnit, SARIF 2.1.0 (§3.27.10: what is to be reviewed has no level; §3.14.14: the service's origin is the base of relative addresses), a page; nothing that a service sends does anything in any of them | [`lab::probe::report`](crate::lab::probe::report) | `lab::probe::report::grade::tests`, `lab::probe::report::sarif::tests`, `lab::probe::report::html::tests`, `lab::probe::report::terminal::tests`, `probe_reports` |
//!
//! # HTTP: RFC 6750, bearer tokens; RFC 9457, problem details; RFC 7239, forwarded; RFC 9110 and 9112; RFC 6797, HSTS; RFC 6265bis, cookies
//!
//! | section | item | test |
//! | --- | --- | --- |
//! | 6750 §3 challenges; 9457 | `http::error` | `api::who_may_call`, `api::bad_queries` |
//! | 7239 §4 `Forwarded`, from trusted proxies | `http::client_address` | `http::client_address::tests::only_what_our_own_proxies_wrote_counts` |
//! | 9112 §3.2 one `Host`; a page opened at another host leads to the issuer's | `http::named_host` | `edge::a_request_names_one_host`, `edge::a_page_opened_at_another_host_is_the_issuers`, `edge::an_https_page_opened_at_another_host_is_the_issuers` |
//! | 6797 §6.1, §7.1 HSTS for an https issuer | `http::edge` | `edge::an_https_issuer_is_only_ever_asked_by_https` |
//! | 9112 §9.3, §9.6 connections that are kept, and how they end | [`http::serve`](crate::http::serve) | `serve`, `http::serve::connections::tests` |
//! | 9110 §10.2.3 `Retry-After`, seconds or a date | [`Response::retry_after`](crate::net::Response::retry_after) | `net::message::tests::when_to_come_back`, `delivery::retry_after_stretches_the_plan_and_no_more` |
//! | 9110 §9.3.2 HEAD; §15.5.6 `Allow`, §15.5.14, §15.5.16 | `http::edge`, `http::form` | `edge::head_has_no_effects`, `edge::a_method_that_is_none_of_the_path`, `edge::a_body_that_is_no_form_or_too_large` |
//! | Fetch §3.3 CORS for public documents and the token endpoint, never for pages and API | `http::cors` | `edge::other_origins_reach_what_needs_no_cookie_and_nothing_else` |
//! | 6265bis §4.1.3 prefixes, by issuer | `http::cookie` | `sign_in::cookies_of_an_https_issuer_cannot_be_planted`, `sign_in::cookies_of_an_https_issuer_with_a_path`, `paths::two_issuers_keep_apart_in_one_browser` |
//!
//! # Signing in: RFC 8265, passwords; RFC 6532, e-mail addresses; NIST SP 800-63B-4; OWASP, Device Cookies
//!
//! | section | item | test |
//! | --- | --- | --- |
//! | 8265 §4.2 OpaqueString; 6532 §3.1 NFC: one text typed in several ways is one, wherever it comes in | [`domain::credentials`](crate::domain::credentials) | `domain::credentials::tests`, `sign_in::one_text_typed_in_several_ways_is_one_text` |
//! | 800-63B-4 §3.2.2 guessing gets slower: for each guesser at a user, for all strangers at a user, for each address | [`flow::sign_in::sign_in`](crate::flow::sign_in::sign_in) | `throttle::guessing_gets_slower`, `throttle::thirty_guesses_at_once_are_thirty_guesses`, `throttle::many_addresses_guess_little_more_than_one`, `throttle::guessing_many_e_mails_from_one_address_gets_slower` |
//! | Device Cookies: no guesses of others keep out a browser that has signed its user in, until the password changes | [`KnownBrowser`](crate::flow::known_browser::KnownBrowser) | `throttle::no_guesses_of_others_keep_a_known_browser_out`, `throttle::a_browser_is_known_for_those_it_has_signed_in`, `throttle::another_password_makes_a_browser_unknown` |
//! | an address that everybody has, behind a proxy that is not declared, is not counted | `http::client_address` | `throttle::an_address_that_everybody_has_is_not_counted`, `http::client_address::tests::near_and_far` |
//! | two passwords at a time are hashed; the lines before that are bounded, and those who are known do not wait behind strangers | [`passwords`](crate::passwords) | `passwords::tests::the_line_is_bounded`, `passwords::tests::whoever_is_known_stands_behind_few`, `passwords::fifty_wrong_passwords_leave_two_buffers_behind`, `throttle::the_line_of_strangers_is_bounded_and_keeps_out_nobody_who_is_known` |
//!
//! # Promises of our own
//!
//! | promise | item | test |
//! | --- | --- | --- |
//! | what decides is read in the transaction that mints | [`Store::mint`](crate::store::Store::mint) | `mint::no_stale_fact_authorises`, `committer::each_of_a_batch_is_judged_by_what_it_rests_on`, `replicas::withdrawn_there` |
//! | nothing that one issuer gave is worth anything at another | [`Database::of`](crate::store::Database::of) | `crossing::nothing_crosses_on_sqlite`, `crossing::nothing_crosses_on_postgres`, `crossing::what_was_given_is_good_where_it_was_given` |
//! | issuers come, change and go while the server runs | [`flow::issuers_admin`](crate::flow::issuers_admin) | `issuers::an_issuer_by_the_api`, `issuers::declared_issuers_come_and_go_with_the_file`, `issuers::a_change_reaches_the_other_process`, `issuers::what_is_refused_changes_nothing` |
//! | a disabled issuer mints nothing, and cannot be told from one that never was | [`Store::mint`](crate::store::Store::mint), `http::place` | `issuers::nothing_is_minted_for_a_disabled_issuer`, `paths::a_disabled_issuer_cannot_be_told_from_one_that_never_was` |
//! | of a logo only its pixels are served | [`flow::logo::redraw`](crate::flow::logo::redraw) | `flow::logo::tests::only_pixels_survive`, `flow::logo::tests::what_is_not_taken`, `issuers::an_issuer_by_the_api` |
//! | users, clients and services are listed, disabled and enabled by whoever administers an issuer, and what stood under them is withdrawn | [`flow::administer`](crate::flow::administer) | `administration` |
//! | what an administrator stopped and what the configuration declares no longer are two things, each taken back by itself | [`Tx::disable`](crate::store::Tx::disable) | `administration::whose_word_it_is` |
//! | users, clients and services are added and changed by whoever administers an issuer, by the rules of the configuration, and what that declares only there | [`flow::register`](crate::flow::register) | `added` |
//! | whoever disables something waits for the end of nothing; it lives again when all that stood under it has ended, whichever server comes to it | [`flow::withdraw_many::under_removed`](crate::flow::withdraw_many::under_removed) | `disabled::it_comes_back_when_all_of_it_has_ended`, `disabled::killed_in_the_middle_another_goes_on_on_sqlite`, `disabled::killed_in_the_middle_another_goes_on_on_postgres` |
//! | what a client was given, and who signed in by an old password, ends with them for good | [`flow::declare`](crate::flow::declare) | `removal` |
//! | a version grows with whatever is said of a client or a service | `store::record` | `columns::the_version_grows_with_every_column` |
//! | mints that wait share a transaction | `store::commit` | `mint::mints_that_wait_share_a_transaction` |
//! | no notice is lost by `kill -9` | [`delivery`](crate::delivery) | `process::killed_between_withdrawal_and_delivery_on_sqlite`, `process::killed_at_many_points_on_postgres`, `killed_logouts` |
//! | many are withdrawn at once, a bounded batch to a transaction, and a run that was cut short is started again | [`flow::withdraw_many`](crate::flow::withdraw_many) | `bulk`, `store::standing::tests::each_filter_has_its_index`, `store::withdrawals::tests::notices_are_cancelled_by_the_index` |
//! | a client's withdrawal ends what it got by consents that it has used up, and a notice ends that of every client | [`flow::withdraw::end`](crate::flow::withdraw::end) | `bulk::all_of_a_client_is_also_what_it_got_by_what_it_used_up`, `bulk::what_a_client_used_up_ends_when_it_is_no_longer_declared` |
//! | nothing that is agreed to outlives the user, client or service that was disabled beside it, or comes back with it | [`flow::consent::decide`](crate::flow::consent::decide), [`Tx::lock_asked`](crate::store::Tx::lock_asked) | `removal`, `disabled::nothing_made_in_the_moment_outlives_it`, `disabled::nobody_is_signed_in_in_the_moment`, `disabled::no_question_is_asked_in_the_moment` |
//! | what came of each attempt is kept, and an operator lets a notice be tried again | [`flow::deliveries`](crate::flow::deliveries), [`beginning`](crate::domain::display_name::beginning) | `deliveries` |
//! | a second notice when the last assertion is dead | [`rounds`](crate::domain::notice::rounds) | `domain::notice::tests::a_second_notice_follows_a_fresh_assertion_only`, `withdraw::a_credential_redeemed_after_the_first_notice_dies_by_the_second` |
//! | keys and admin token are made on an empty database only | [`flow::start::open`](crate::flow::start::open) | `start::the_first_start_makes_keys_and_the_next_ones_find_them`, `start::a_sealing_key_that_cannot_be_used_stops_the_start` |
//! | every form is answered by a redirect, a refused one to a page that says so with the status and keeps the choices (RFC 9110 §15.4.4) | `http::note` | `again` |
//! | every row of a list is reached, and a page costs as much over many rows as over few | [`flow::connections::Place`](crate::flow::connections::Place), `store` | `paging`, `store::tests::a_page_of_many_costs_what_one_of_few_does_on_sqlite`, `store::tests::a_page_of_many_costs_what_one_of_few_does_on_postgresql` |
//! | a user sees their sessions and the agents they stay signed in to, and ends each | [`flow::sign_in::end_session`](crate::flow::sign_in::end_session), [`flow::sign_in::end_client`](crate::flow::sign_in::end_client) | `sign_ins::each_session_is_listed_and_ended`, `sign_ins::the_user_ends_it_on_the_page`, `sign_ins::a_disabled_user_is_out_for_good` |
//! | no two withdrawals and mints deadlock for good | `store` | `locks::nobody_waits_for_ever` |
//! | whoever needs a database that fails is told to come back, and readiness says what is the matter | [`Outage`](crate::store::Outage) | `outage::a_postgresql_that_does_not_answer`, `outage::a_locked_file`, `outage::a_full_disk`, `outage::a_file_that_is_gone` |
//! | a process that stands still holds up no other one | `store::postgres` | `outage::nobody_waits_for_a_process_that_stands_still`, `outage::a_batch_that_is_cut_off_is_run_again` |
//! | the user's last word counts, whatever a clock says; a stored time that is ahead harms nobody | [`applicable_consent`](crate::domain::consent::applicable_consent), [`is_ahead`](crate::domain::session::is_ahead) | `clock` |
//! | nothing ends by accident: a start that would remove everything, an empty database beside keys, an admin token that differs | [`flow::start::open`](crate::flow::start::open), [`flow::changes`](crate::flow::changes) | `operate::a_start_that_would_remove_everything_is_refused`, `operate::keys_beside_an_empty_database_stop_the_start`, `operate::a_first_start_that_was_cut_short_goes_on`, `operate::an_admin_token_that_is_not_the_databases_stops_the_start`, `operate::check_config_says_what_a_start_would_change_and_changes_nothing` |
//! | SIGHUP applies the configuration or refuses it as a whole | [`flow::reload`](crate::flow::reload) | `operate::a_configuration_read_again_is_applied_or_refused_as_a_whole`, `operate::a_hangup_reads_the_configuration_again` |
//! | what is counted names nobody, at the root only | [`meters`](crate::meters) | `metrics::what_happened_is_counted_and_nothing_of_it_names_anybody`, `metrics::what_is_on_its_way_is_measured` |
//! | a rotated admin token is dead everywhere | [`flow::admin_token`](crate::flow::admin_token) | `operate::a_rotated_admin_token_is_the_only_one` |
//! | a notice goes to the endpoint of the moment | [`flow::notify::tell`](crate::flow::notify::tell) | `delivery::a_mended_endpoint_is_told_what_was_owed_before` |
//! | services that hang hold up nobody | [`Lanes`](crate::flow::lanes::Lanes) | `flow::lanes::tests`, `delivery::a_host_that_hung_is_known_by_that`, `delivery::hosts_that_hang_take_no_place_for_long`, `delivery::a_service_that_hangs_holds_up_nobody_else` |
//! | one server to a SQLite file | [`flow::start::open_alone`](crate::flow::start::open_alone) | `outage::a_second_server_on_a_file_does_not_start` |
//! | one bad neighbour costs the others nothing; with few descriptors notices still leave | [`http::serve::Limits`](crate::http::serve::Limits) | `serve::one_address_takes_only_its_share`, `serve::the_longest_idle_make_room`, `ending::few_descriptors_are_enough_for_a_withdrawal` |
//! | the process ends when it is told to, whatever hangs | `cli::stop`, `cli::log` | `ending`, `cli::log::tests` |
//! | a line in the log for each event and each failed sign-in, none for what was rolled back | `store::journal`, [`flow::sign_in`](crate::flow::sign_in) | `logs` |
//! | the sealing key is another while servers run: both are there, every server has the new one before it seals, and what was cut short is gone on with | [`flow::reseal`](crate::flow::reseal), [`SealingKeys`](crate::jose::SealingKeys) | `reseal::everything_goes_on_under_another_sealing_key`, `reseal::nothing_is_sealed_by_a_key_that_a_server_lacks`, `killed_keys::resealing_killed_midway_on_postgres`, `killed_keys::resealing_killed_anywhere_on_sqlite` |
//! | a sealing key from a command, and none is made in its place | [`flow::start::open`](crate::flow::start::open) | `sealing_command::a_command_gives_the_sealing_key`, `sealing_command::a_command_that_gives_no_key_stops_the_start` |
//! | no secret at rest | [`secret`](crate::secret), [`SealingKey`](crate::jose::SealingKey) | `sign_in::no_bearer_is_in_the_database`, `start::nobody_else_reads_the_database` |
//! | rows that are over are swept | [`flow::sweep`](crate::flow::sweep) | `sign_ins::what_is_over_is_swept`, `throttle::what_was_counted_is_swept_after_an_hour`, `start::what_a_killed_start_left_is_swept_at_the_next` |
//! | no secret in a log | [`secret`](crate::secret) | `process::no_secret_is_logged` |
//! | arrows between the layers | | `layers::arrows_point_down` |
//!
//! # Where we depart
//!
//! - **RS256** (OpenID Connect Core §15.1, Discovery §3): ID tokens are ES256 only, as at the other providers of this field. A client that
//!   knows only RS256 cannot sign users in.
//! - **Dynamic registration, PAR, device flow** are not built yet, and metadata does not name them.
//! - **Introspection** (RFC 7662 §2.1) tells a client of its own tokens only, and a public client of none.
//! - **Userinfo** (Core §5.3.2) answers with JSON, not signed.
//! - **A refresh token that comes again** (RFC 9700 §4.14.2 ends the family): the last one, of the same client, is answered with another
//!   pair for `[grants] refresh_retry` (10 s) while nothing that it gave was used: answers get lost, and two tabs ask at once. As soon as
//!   two of those pairs are used, the family ends, so a thief is noticed one turn later at most.
//! - **A service's own list of scopes** (8414 §2 `scopes_supported`) is shown and not enforced: it need not be whole. **Its name** (9728 §2
//!   `resource_name`) is shown as its own words only. **A resource's word for its authorization server** counts where the server lists the
//!   resource too, or they share a host: any resource can name any server (ID-JAG draft §9.4).
//! - **A block of `agent_auth` that only prose holds** (a fence in `auth.md`) is not read: the text is for agents, and proves nothing.
//! - **Clients that bring their own document** (CIMD §5) cannot sign users in yet, and metadata does not promise it (§6).
//! - **Access token as subject token**: an extension of ours, under its own `subject_token_type`. ID-JAG §4.3 knows ID tokens, SAML
//!   assertions and refresh tokens. There is no SAML sign-on here, so no SAML assertion to take.
//! - **Refresh token as subject token**, **`authorization_details`** and audiences that are no URL (all optional in ID-JAG §4.3): not yet;
//!   refused. **DPoP** (ID-JAG §9.8.1.1 requires a proof to be validated): not yet; a request with a proof is refused.
//! - **`exp` in logout tokens**: auth.md v0.1 shows none; OpenID Connect Back-Channel Logout requires it since its first errata. Ours have
//!   `iat` + 120 s, which auth.md's reference verifier accepts.
//! - **Retries**: auth.md keeps the grant when the service cannot be told. Ours ends at once, and the notice is owed for seven days.
//! - **RP-Initiated Logout**: `client_id` stands in for an ID token where a user is to go on (§3): they have said yes on our page, and the address is
//!   registered. An ID token that cannot be verified any more, since its key has left, is as good as none. `logout_hint` and `ui_locales` change nothing.
//! - **Back-Channel Logout**: every token has a `sid`, asked for or not (§2.2). A session that expires by itself is no logout. A client is told for a day,
//!   each time by a token signed anew; a client that was given a code and never redeemed it is told as well. A client whose sign-in the user ends
//!   while the session goes on is told of that session.
//! - **Global Token Revocation**: the draft names no `typ`; ours is `global-token-revocation+jwt`, as Okta sends it and Auth0 asks for it. Its `sub`,
//!   "an identifier for the caller", is the URL of our own document, by which auth.md's services know us. Receivers of the first drafts, which
//!   knew the body's member as `subject`, are not served.
//! - **Any 2xx is a yes to a notice**, where RFC 8935 §2.2 has only 202 and Global Token Revocation §3.4.1 only 204: whoever answers 200 or 204 has taken it, and a service that is told again
//!   would answer the same. Nor does a 4xx end a notice but a 400 or 410 with a code of §2.4: others may be a proxy's, or mended tomorrow.
//! - **`consent_required` at the token endpoint** is no registered error of RFC 6749 §5.2; its members follow RFC 8628 §3.2 and §3.5. Its
//!   description, and that of `slow_down`, name the address too, since many libraries pass on nothing else.
//! - **A wrong kind of client authentication** is told apart from a wrong secret by nobody: a client here has a secret or keys, never both,
//!   so none can prove who it is by the other kind.
//! - **An assertion has at most 8 KiB**, and its answer says `resource` as the claim does, which RFC 8693 §2.2.1 leaves open.
//! - **After a denial** the same client may ask for the same service again only after an hour, for whatever it was not denied; what was
//!   denied stays denied until the user lifts it. No specification knows of that.
//! - **A notice names no agent**: ending one client's consents ends every agent's credentials at that service; the others mint again.
//! - **An agreement given again while a second notice is still owed**: that notice ends the new credential as well, and the agent mints
//!   again. The alternative, to hold the notice back, would let an assertion of the withdrawn time live.
//! - **RFC 9700 §2.1** loopback ports: `localhost` is compared as an exact string; only literal addresses may change their port.
//! - **An ID token as subject token** names only its session. It is taken while something that a sign-in to its client gave in that session
//!   is alive: a reused code or refresh token ends it with its family, unless the user has signed in to that client again since.
//! - **A sign-in with `offline_access`** outlives its session: its tokens are subject tokens with that session's `auth_time` until the user ends
//!   it on `/connections`, or is disabled, or its refresh token was not used for 30 days. Signing out ends only what is bound to the session.
//!   Core §11 asks for `prompt=consent`; ours is a consent of its own to that scope, given once, whatever the prompt.
//! - **A refresh token without `offline_access`** is given to every client registered for the grant, and dies with the session: Core §11 leaves
//!   that open.
//! - **`id_token_hint`** (Core §3.1.2.1): only an ID token of the same client, signed by a key that is still published; any other is
//!   `invalid_request`.
//! - **`state` and `nonce`** together: the whole request may have 60 KiB, encoded as part of the sign-in page's address. A nonce is counted as it stands in JSON.
//! - **Passwords** (RFC 8265 §4.2.1 asks for the FreeformClass of RFC 8264): of what that does not allow only control characters are refused.
//!   Its tables would refuse what people type on telephones, such as emoji of several parts, and depend on a version of Unicode.
//! - **A user whom many addresses guess at** can sign in on a new browser only while fewer than a hundred guesses of this hour have failed;
//!   on those that are known, always.
//! - **`resource` at a sign-in** (RFC 8707 §2, which MCP's libraries always send) is ignored: what a sign-in gives is good at this server
//!   alone. A service's own resources are named in the token exchange.
//! - **A form that was refused** is a redirect to the form, so that Back sends nothing again, and the status (422, 429, 400, 409) is that of the
//!   page there. What no page of ours sent (403), what is not there (404) and faults are answered in place: there is no form to go back to,
//!   and whoever watches a server counts them by their status.
//! - **Lists by client and status at once** go through the client's rows, and those of what is being withdrawn through all notices on their way: a page over
//!   many of them that has few to show takes longer.
//! - **`ui_locales`, `acr_values`, `claims`** are ignored, as OpenID Connect Core allows.

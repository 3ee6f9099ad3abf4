//! What the benchmark writes into a database directly. `tests/it/seed.rs` runs it, so that it follows the schema.

/// For `{rows}`, the rows of `$1`: our key (of everything), a number, and the hash of the access token. `$2` is the time, `{issuer}` the
/// issuer.
pub(crate) const STATEMENTS: [&str; 6] = [
    "INSERT INTO account (id, issuer_id, sub, email, email_verified_at, name, origin, version, decisions, created_at)
     SELECT e.value ->> 0, '{issuer}', e.value ->> 0, 'seed' || (e.value ->> 1) || '@example.com', $2, 'User', 'bench', 1, 1, $2 FROM {rows}",
    "INSERT INTO session (id, issuer_id, account_id, token_hash, auth_time, created_at, expires_at)
     SELECT e.value ->> 0, '{issuer}', e.value ->> 0, e.value ->> 0, $2, $2, $2 + 1000000 FROM {rows}",
    "INSERT INTO token_family (id, issuer_id, account_id, client_id, session_id, scope, offline, generation, created_at, expires_at)
     SELECT e.value ->> 0, '{issuer}', e.value ->> 0, k.id, e.value ->> 0, 'openid', 0, 0, $2, $2 + 1000000 FROM {rows}, client k WHERE k.issuer_id = '{issuer}' AND k.client_id = 'secret-agent'",
    "INSERT INTO access_token (hash, issuer_id, family_id, scope, created_at, expires_at)
     SELECT e.value ->> 2, '{issuer}', e.value ->> 0, 'openid', $2, $2 + 1000000 FROM {rows}",
    "INSERT INTO delegation (id, issuer_id, account_id, iss, sub, aud, created_at, mint_count, last_exp)
     SELECT e.value ->> 0, '{issuer}', e.value ->> 0, i.url, e.value ->> 0, '{aud}', $2, 0, 0 FROM {rows}, issuer i WHERE i.id = '{issuer}'",
    "INSERT INTO consent (id, issuer_id, delegation_id, account_id, client_id, aud, mode, asked_scope, scope, resources, claims, ground,
                          request_key, session_id, number, created_at)
     SELECT e.value ->> 0, '{issuer}', e.value ->> 0, e.value ->> 0, k.id, '{aud}', 'always', 'api.read', 'api.read', '[]', 'email email_verified name', 'user',
            e.value ->> 0, e.value ->> 0, 1, $2 FROM {rows}, client k WHERE k.issuer_id = '{issuer}' AND k.client_id = 'secret-agent'",
];

/// Lets the delegations of `$1` have been used, without an assertion that could still be presented.
pub(crate) const USED: &str =
    "UPDATE delegation SET mint_count = 1, last_exp = 1 WHERE issuer_id = '{issuer}' AND aud = $1 AND $2 > 0";

/// For `{rows}`, ids, endpoints and hosts: a notice to each, due at `$2`.
pub(crate) const QUEUED: &str = "
    INSERT INTO delivery (id, issuer_id, format, round, endpoint, host, iss, sub, aud, state, attempts, due_at, created_at, give_up_at)
    SELECT e.value ->> 0, '{issuer}', 'logout+jwt', 'first', e.value ->> 1, e.value ->> 2, i.url, 'somebody', '{aud}', 'queued', 0, $2, $2, $2 + 1000000
      FROM {rows}, issuer i WHERE i.id = '{issuer}'";

/// The `$2`-th assertion of everybody.
pub(crate) const JOURNAL: &str = "
    INSERT INTO journal (id, issuer_id, at, kind, account_id, client_id, delegation_id, consent_id, jti, body)
    SELECT {id}, '{issuer}', $2, 'assertion', d.account_id, k.id, d.id, d.id, {id},
           '{\"sub\":\"' || d.sub || '\",\"aud\":\"' || d.aud || '\",\"exp\":1,\"kid\":\"0123456789abcdefghijklmnopqrstuvwxyzABCDEFG\",\"scope\":\"api.read\"}'
      FROM delegation d, client k WHERE k.issuer_id = '{issuer}' AND k.client_id = 'secret-agent' AND $1 = ''";

/// Gives an issuer what the default one has declared: a client and the service, `$1` being in front of our keys.
pub(crate) const DECLARED: [&str; 2] = [
    "INSERT INTO client (id, issuer_id, client_id, client_name, token_endpoint_auth_method, secret_hash, redirect_uris, grant_types,
                         id_token_signed_response_alg, backchannel_logout_session_required, post_logout_redirect_uris, audiences, first_party, require_pkce, origin, version, created_at)
     SELECT $1 || id, '{issuer}', client_id, client_name, token_endpoint_auth_method, secret_hash, redirect_uris, grant_types,
            id_token_signed_response_alg, backchannel_logout_session_required, post_logout_redirect_uris, audiences, first_party, require_pkce, origin, version, $2 FROM client WHERE issuer_id = 'default' AND client_id = 'secret-agent'",
    "INSERT INTO service (id, issuer_id, audience, place, name, resources, scopes, client_ids, claims, max_auth_age, requires_verified_contact,
                          client_id_source, takes_id_jag, notices, signing_alg, origin, version, created_at)
     SELECT $1 || id, '{issuer}', audience, place, name, resources, scopes, client_ids, claims, max_auth_age, requires_verified_contact,
            client_id_source, takes_id_jag, notices, signing_alg, origin, version, $2 FROM service WHERE issuer_id = 'default'",
];

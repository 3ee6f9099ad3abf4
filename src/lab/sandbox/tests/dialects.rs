//! What the dialects do not have in common, and the four formats of notices.

use serde_json::{Value, json};

use crate::domain::claims::{ID_JAG, LOGOUT, REVOKED_EVENT};
use crate::domain::rotation::SigningAlg;
use crate::domain::time::Seconds;
use crate::lab::flaws::SECEVENT;
use crate::lab::sandbox::testing::{NOW, World, merged, refusal, signed};
use crate::lab::sandbox::*;
use crate::net::Method;
use crate::secret::sha256;

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const CLAIM: &str = "urn:workos:agent-auth:grant-type:claim";

async fn token(w: &World, fields: &[(&str, &str)]) -> (u16, Value) {
    w.form("/oauth2/token", &[], fields).await
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value}")).to_owned()
}

/// The own assertion of an answer.
fn own(dialect: Dialect, body: &Value) -> String {
    text(if dialect == Dialect::Nested { &body["identity"]["assertion"] } else { &body["identity_assertion"] })
}

fn recent(changes: Value) -> Value {
    merged(json!({"auth_time": NOW}), changes)
}

#[tokio::test]
async fn in_the_newer_dialects_an_assertion_of_its_own_gets_access_tokens() {
    for dialect in [Dialect::Flat, Dialect::Nested] {
        let w = World::speaking(dialect).await;
        let (status, body) = w.identify(&w.assertion(recent(json!({"scope": "api.read api.write"})))).await;
        assert_eq!((status, &body["scopes"]), (200, &json!(["api.read", "api.write"])), "{body}");
        let assertion = own(dialect, &body);
        for _ in 0..2 {
            let (status, body) = token(&w, &[("grant_type", JWT_BEARER), ("assertion", &assertion)]).await;
            assert_eq!(
                (status, &body["token_type"], &body["scope"]),
                (200, &json!("Bearer"), &json!("api.read api.write"))
            );
            assert_eq!(body.get("refresh_token"), None);
            let access = text(&body["access_token"]);
            assert_eq!(w.call(&access).await.0, 200);
            assert_eq!(w.form("/oauth2/revoke", &[], &[("token", &access)]).await.0, 200);
            assert_eq!(w.call(&access).await.0, 401, "a client gave it back");
        }
        assert_eq!(w.call(&assertion).await.0, 401, "it is no credential for the API");
        for (fields, code) in [
            (vec![("grant_type", JWT_BEARER)], "invalid_request"),
            (vec![("grant_type", JWT_BEARER), ("assertion", "x")], "invalid_grant"),
            (vec![("grant_type", "password")], "unsupported_grant_type"),
            (vec![], "invalid_request"),
        ] {
            let (status, body) = token(&w, &fields).await;
            assert_eq!((status, &body["error"]), (400, &json!(code)), "{fields:?}");
        }
        let (status, body) =
            token(&w, &[("grant_type", JWT_BEARER), ("assertion", &w.assertion(recent(json!({}))))]).await;
        assert_eq!((status, &body["error"]), (400, &json!("invalid_grant")), "a provider's");

        let set = signed(&w.provider.key, SECEVENT, &event(&w, json!({})));
        assert_eq!(notify(&w, &set).await.0, 202);
        let (status, body) = token(&w, &[("grant_type", JWT_BEARER), ("assertion", &assertion)]).await;
        assert_eq!((status, &body["error"]), (400, &json!("invalid_grant")), "withdrawn");
        w.clock.advance(Seconds(25 * 3600));
    }
}

#[tokio::test]
async fn a_sign_in_is_asked_for_that_is_recent() {
    let w = World::speaking(Dialect::Flat).await;
    for at in [json!(null), json!(NOW - Seconds(3700)), json!(0), json!("x"), json!(NOW + Seconds(1))] {
        let response = w.identify(&w.assertion(json!({"auth_time": at}))).await;
        assert_eq!(
            (response.0, &response.1["error"], &response.1["max_age"]),
            (401, &json!("login_required"), &json!(3600))
        );
        assert!(response.1["error_description"].is_string(), "{at}");
    }
    let v01 = World::new().await;
    for (at, status) in
        [(json!(null), 200), (json!(NOW - Seconds(7200)), 200), (json!(0), 400), (json!(NOW + Seconds(1)), 400)]
    {
        assert_eq!(v01.register(&v01.assertion(json!({"auth_time": at})), "api_key").await.0, status, "{at}");
    }
}

#[tokio::test]
async fn whoever_has_the_address_of_an_account_has_to_be_asked() {
    for dialect in [Dialect::Flat, Dialect::Nested] {
        let w = World::speaking(dialect).await;
        assert_eq!(w.identify(&w.assertion(recent(json!({})))).await.0, 200);
        let other = || w.assertion(recent(json!({"sub": "user-2"})));
        let (status, body) = w.identify(&other()).await;
        assert_eq!((status, &body["error"]), (401, &json!("interaction_required")), "{body}");
        let nested = dialect == Dialect::Nested;
        let claim = |name: &str| text(if nested { &body["claim"]["attempt"][name] } else { &body["claim"][name] });
        let page = claim("verification_uri").strip_prefix(&w.aud).unwrap().to_owned();
        let claim_token = text(if nested { &body["claim"]["token"] } else { &body["claim_token"] });
        let html = String::from_utf8(w.get(&page).await.body).unwrap();
        assert!(html.contains("alice@example.com") && html.contains("Yes, let it in"), "{html}");
        let complete = async |code: &str| {
            w.json("/agent/identity/claim/complete", &json!({"claim_token": claim_token, "user_code": code})).await
        };
        let poll = async || token(&w, &[("grant_type", CLAIM), ("claim_token", &claim_token)]).await;
        if nested {
            assert_eq!(complete("000000").await.1["error"], "claim_not_confirmed");
            w.form(&page, &[], &[("decision", "yes")]).await;
            let html = String::from_utf8(w.get(&page).await.body).unwrap();
            let code = html.split("class=\"code\">").nth(1).unwrap()[..6].to_owned();
            let wrong = if code == "000000" { "000001" } else { "000000" };
            assert_eq!(complete(wrong).await.1["error"], "invalid_user_code");
            let (status, body) = complete(&code).await;
            assert_eq!((status, &body["status"]), (200, &json!("claimed")), "{body}");
            assert_eq!(complete(&code).await.1["error"], "invalid_claim_token", "once");
        } else {
            assert_eq!(poll().await.1["error"], "authorization_pending");
            let elsewhere = [("sec-fetch-site", "cross-site")];
            assert_eq!(
                w.form(&page, &elsewhere, &[("decision", "yes"), ("user_code", &claim("user_code"))]).await.0,
                403
            );
            w.form(&page, &[], &[("decision", "yes"), ("user_code", "x")]).await;
            assert_eq!(poll().await.1["error"], "authorization_pending", "the wrong code");
            w.form(&page, &[], &[("decision", "yes"), ("user_code", &claim("user_code"))]).await;
            let (status, body) = poll().await;
            assert_eq!((status, body["identity_assertion"].is_string()), (200, true), "{body}");
        }
        assert_eq!(w.identify(&other()).await.0, 200, "from now on they are one");
        // Another one, who says no; and one that nobody answers.
        let (_, body) = w.identify(&w.assertion(recent(json!({"sub": "user-3"})))).await;
        let page = text(if nested {
            &body["claim"]["attempt"]["verification_uri"]
        } else {
            &body["claim"]["verification_uri"]
        });
        w.form(page.strip_prefix(&w.aud).unwrap(), &[], &[("decision", "no")]).await;
        assert_eq!(w.identify(&w.assertion(recent(json!({"sub": "user-3"})))).await.0, 401);
    }
    let silent = World::with(|options| {
        (options.dialect, options.broken) = (Dialect::Flat, [Rule::LinkSilentlyByEmail].into_iter().collect());
    })
    .await;
    for sub in ["user-1", "user-2"] {
        assert_eq!(silent.identify(&silent.assertion(recent(json!({"sub": sub})))).await.0, 200);
    }
}

/// auth.md, "POST /agent/identity/claim".
#[tokio::test]
async fn a_question_that_was_lost_is_asked_again() {
    for dialect in [Dialect::Flat, Dialect::Nested] {
        let w = World::speaking(dialect).await;
        let nested = dialect == Dialect::Nested;
        assert_eq!(w.identify(&w.assertion(recent(json!({})))).await.0, 200);
        let (_, body) = w.identify(&w.assertion(recent(json!({"sub": "user-2"})))).await;
        let claim_token = text(if nested { &body["claim"]["token"] } else { &body["claim_token"] });
        let attempt = if nested { &body["claim"]["attempt"] } else { &body["claim"] };
        let page = |attempt: &Value| text(&attempt["verification_uri"]).strip_prefix(&w.aud).unwrap().to_owned();
        let lost = page(attempt);
        let url = text(if nested { &body["claim"]["url"] } else { &body["claim_url"] });
        let url = url.strip_prefix(&w.aud).unwrap();
        let hint = "alice@example.com";
        let typ = if nested { "service_auth" } else { "login_hint" };
        let good = json!({"type": typ, "claim_token": claim_token, "login_hint": hint});
        for (change, expected) in [
            (json!({"claim_token": "clm_x"}), (401, "invalid_claim_token")),
            (json!({"claim_token": null}), (401, "invalid_claim_token")),
            (json!({"login_hint": "mallory@example.com"}), (400, "invalid_login_hint")),
            (json!({"login_hint": null}), (400, "invalid_login_hint")),
            (json!({"type": "identity_assertion"}), (400, "invalid_request")),
        ] {
            let refused = refusal(w.json(url, &merged(good.clone(), change.clone())).await);
            assert_eq!(refused, (expected.0, expected.1.into()), "{dialect:?} {change}");
        }
        let (status, again) = w.json(url, &good).await;
        assert_eq!(status, 200, "{again}");
        let attempt = if nested { &again["attempt"] } else { &again["claim_attempt"] };
        let found = page(attempt);
        assert_ne!(found, lost);
        w.form(&lost, &[], &[("decision", "yes")]).await;
        let html = String::from_utf8(w.get(&lost).await.body).unwrap();
        assert!(!html.contains(hint), "the first page leads nowhere: {html}");
        if nested {
            assert_eq!((&again["type"], &again["id"]), (&json!("service_auth"), &body["id"]));
            w.form(&found, &[], &[("decision", "yes")]).await;
            assert_eq!(refusal(w.json(url, &good).await), (409, "already_claimed".into()));
            let html = String::from_utf8(w.get(&found).await.body).unwrap();
            let code = &html.split("class=\"code\">").nth(1).unwrap()[..6];
            let body = json!({"claim_token": claim_token, "user_code": code});
            assert_eq!(w.json(&format!("{url}/complete"), &body).await.0, 200);
        } else {
            assert_eq!((&again["status"], &again["registration_id"]), (&json!("initiated"), &body["registration_id"]));
            let code = text(&attempt["user_code"]);
            w.form(&found, &[], &[("decision", "yes"), ("user_code", &code)]).await;
            assert_eq!(refusal(w.json(url, &good).await), (409, "claimed_or_in_flight".into()));
            // As v0.4 said it, of one that has been answered.
            let v04 = json!({"claim_token": claim_token, "email": hint});
            assert_eq!(refusal(w.json(url, &v04).await), (409, "claimed_or_in_flight".into()));
            assert_eq!(token(&w, &[("grant_type", CLAIM), ("claim_token", &claim_token)]).await.0, 200);
        }
        // A user who says no is not asked again, and neither is one who is late.
        let (_, body) = w.identify(&w.assertion(recent(json!({"sub": "user-3"})))).await;
        let claim_token = text(if nested { &body["claim"]["token"] } else { &body["claim_token"] });
        let attempt = if nested { &body["claim"]["attempt"] } else { &body["claim"] };
        w.form(&page(attempt), &[], &[("decision", "no")]).await;
        let good = merged(good, json!({"claim_token": claim_token}));
        let expected = if nested { (403, "claim_denied") } else { (409, "claimed_or_in_flight") };
        assert_eq!(refusal(w.json(url, &good).await), (expected.0, expected.1.into()));
        w.clock.advance(Seconds(700));
        assert_eq!(refusal(w.json(url, &good).await), (410, "claim_expired".into()));
    }
}

#[tokio::test]
async fn a_plain_authorization_server_asks_the_client_who_it_is() {
    let w = World::speaking(Dialect::Plain).await;
    let assertion = || w.assertion(json!({"client_id": "c", "email": null, "email_verified": null, "auth_time": NOW}));
    let basic = [("authorization", "Basic Yzpz")];
    let grant = [("grant_type", JWT_BEARER)];
    let with = |assertion: &str, more: &[(&'static str, &'static str)]| {
        let all = grant.iter().chain(more).map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        all.chain([("assertion".to_owned(), assertion.to_owned())]).collect::<Vec<_>>()
    };
    let send = async |headers: &[(&'static str, &str)], fields: Vec<(String, String)>| {
        let fields: Vec<_> = fields.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        w.form("/oauth2/token", headers, &fields).await
    };
    for (headers, more, status, code) in [
        (&basic[..], vec![], 200, Value::Null),
        (&[], vec![("client_id", "c"), ("client_secret", "s")], 200, Value::Null),
        (&basic[..], vec![("client_secret", "s")], 401, json!("invalid_client")),
        (&[], vec![("client_id", "c"), ("client_secret", "t")], 401, json!("invalid_client")),
        (&[], vec![("client_id", "d"), ("client_secret", "s")], 401, json!("invalid_client")),
        (&[], vec![("client_id", "c")], 401, json!("invalid_client")),
        (&basic[..], vec![("client_id", "d")], 401, json!("invalid_client")),
    ] {
        let (got, body) = send(headers, with(&assertion(), &more)).await;
        assert_eq!((got, &body["error"]), (status, &code), "{more:?}");
        assert_eq!(body.get("refresh_token"), None);
    }
    let used = assertion();
    assert_eq!(send(&basic, with(&used, &[])).await.0, 200);
    for (name, token) in [
        ("replayed", used),
        ("another client's", w.assertion(json!({"client_id": "d", "auth_time": NOW}))),
        ("bound", w.assertion(json!({"client_id": "c", "cnf": {"jkt": "x"}}))),
    ] {
        let (status, body) = send(&basic, with(&token, &[])).await;
        assert_eq!((status, &body["error"]), (400, &json!("invalid_grant")), "{name}");
    }
}

#[tokio::test]
async fn an_assertion_that_is_bound_needs_its_key() {
    let w = World::speaking(Dialect::Plain).await;
    let key = LabKey::generate(SigningAlg::Es256, &Rng::seeded(9)).unwrap();
    let stranger = LabKey::generate(SigningAlg::Es256, &Rng::seeded(10)).unwrap();
    let rng = Rng::seeded(11);
    let proof = |key: &LabKey, path: &str, method: &str, more: Value| {
        let header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": key.public_jwk()});
        let claims =
            merged(json!({"htm": method, "htu": format!("{}{path}", w.aud), "iat": NOW, "jti": rng.id(NOW)}), more);
        let signed = crate::jose::compact(&header.to_string(), &claims.to_string());
        let signature = key.sign(signed.as_bytes()).unwrap();
        format!("{signed}.{}", base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, signature))
    };
    let send = async |proof: Option<&str>| {
        let bound = w.assertion(json!({"client_id": "c", "cnf": {"jkt": key.thumbprint()}}));
        let mut headers = vec![("authorization", "Basic Yzpz")];
        headers.extend(proof.map(|proof| ("dpop", proof)));
        w.form("/oauth2/token", &headers, &[("grant_type", JWT_BEARER), ("assertion", &bound)]).await
    };
    let good = proof(&key, "/oauth2/token", "POST", json!({}));
    let (status, body) = send(Some(&good)).await;
    assert_eq!((status, &body["token_type"]), (200, &json!("DPoP")), "{body}");
    for (name, proof, code) in [
        ("none", None, "invalid_grant"),
        ("a stranger's", Some(proof(&stranger, "/oauth2/token", "POST", json!({}))), "invalid_grant"),
        ("for another address", Some(proof(&key, "/elsewhere", "POST", json!({}))), "invalid_dpop_proof"),
        (
            "of yesterday",
            Some(proof(&key, "/oauth2/token", "POST", json!({"iat": NOW - Seconds(86_400)}))),
            "invalid_dpop_proof",
        ),
        ("used", Some(good), "invalid_dpop_proof"),
    ] {
        let (status, body) = send(proof.as_deref()).await;
        assert_eq!((status, &body["error"]), (400, &json!(code)), "{name}");
    }
    let access = text(&body["access_token"]);
    assert_eq!(w.call(&access).await.0, 401, "without the key");
    let ath = json!({"ath": sha256(access.as_bytes())});
    let call = async |proof: String| {
        let value = format!("DPoP {access}");
        w.send(Method::Get, "/api/resource", &[("authorization", &value), ("dpop", &proof)], "").await.status
    };
    assert_eq!(call(proof(&key, "/api/resource", "GET", ath.clone())).await, 200);
    assert_eq!(call(proof(&stranger, "/api/resource", "GET", ath)).await, 401);
}

/// The claims of a good notice.
fn event(w: &World, changes: Value) -> Value {
    let now = w.clock.now();
    let id = Rng::Os.id(now);
    merged(
        json!({"iss": w.provider.origin, "sub": "user-1", "aud": w.aud, "jti": id, "iat": now, "events": {REVOKED_EVENT: {}}}),
        changes,
    )
}

async fn notify(w: &World, set: &str) -> (u16, Value) {
    let headers = [("content-type", "application/secevent+jwt")];
    let response = w.send(Method::Post, "/agent/event/notify", &headers, set).await;
    (response.status, serde_json::from_slice(&response.body).unwrap_or_default())
}

#[tokio::test]
async fn each_format_of_a_notice_ends_what_the_user_gave() {
    let w = World::new().await;
    let sign = |typ: &str, claims: &Value| signed(&w.provider.key, typ, claims);
    let logged_out =
        json!({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}, "exp": NOW + Seconds(120)});
    let order = sign(
        "global-token-revocation+jwt",
        &event(&w, json!({"events": null, "sub": null, "exp": NOW + Seconds(120)})),
    );
    for format in ["logout+jwt", "secevent+jwt", "global-token-revocation", "oidc-back-channel-logout"] {
        let (mine, other) = (w.credential(json!({})).await, w.credential(json!({"sub": "user-2"})).await);
        let status = match format {
            "logout+jwt" => w.revoke(&sign(LOGOUT, &event(&w, json!({})))).await.0,
            "secevent+jwt" => notify(&w, &sign(SECEVENT, &event(&w, json!({})))).await.0,
            "global-token-revocation" => {
                let bearer = format!("Bearer {order}");
                let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
                let id = json!({"sub_id": {"format": "iss_sub", "iss": w.provider.origin, "sub": "user-1"}});
                w.send(Method::Post, "/global-token-revocation", &headers, &id.to_string()).await.status
            }
            _ => {
                w.form("/backchannel_logout", &[], &[("logout_token", &sign(LOGOUT, &event(&w, logged_out.clone())))])
                    .await
                    .0
            }
        };
        let expected = match format {
            "secevent+jwt" => 202,
            "global-token-revocation" => 204,
            _ => 200,
        };
        assert_eq!(status, expected, "{format}");
        assert_eq!((w.call(&mine).await.0, w.call(&other).await.0), (401, 200), "{format}");
        let told = w.sandbox.events().into_iter().rev().find_map(|event| match event.what {
            What::Revoked { format, credentials, .. } => Some((format, credentials)),
            _ => None,
        });
        assert_eq!(told, Some((format, 1)));
    }
}

#[tokio::test]
async fn security_events_are_judged_as_rfc_8935_says() {
    let w = World::speaking(Dialect::Nested).await;
    let sign = |claims: Value| signed(&w.provider.key, SECEVENT, &event(&w, claims));
    let set = sign(json!({}));
    assert_eq!(notify(&w, &set).await, (202, Value::Null));
    assert_eq!(notify(&w, &set).await, (202, Value::Null), "told again, it is acknowledged again");
    assert_eq!(notify(&w, &sign(json!({"events": {"https://other.example/e": {}}}))).await.0, 202, "of something else");
    for (changes, code) in [
        (json!({"iss": "https://id.example"}), "invalid_issuer"),
        (json!({"aud": "https://other.example"}), "invalid_audience"),
        (json!({"sub": null}), "invalid_request"),
        (json!({"events": null}), "invalid_request"),
        (json!({"events": [REVOKED_EVENT]}), "invalid_request"),
        (json!({"iat": NOW - Seconds(3600)}), "invalid_request"),
    ] {
        let (status, body) = notify(&w, &sign(changes.clone())).await;
        assert_eq!((status, &body["err"]), (400, &json!(code)), "{changes}");
        assert!(body["description"].is_string(), "{body}");
    }
    let forged = signed(&crate::lab::sandbox::testing::key(), SECEVENT, &event(&w, json!({})));
    assert_eq!(notify(&w, &forged).await.1["err"], "invalid_key");
    assert_eq!(notify(&w, &signed(&w.provider.key, ID_JAG, &event(&w, json!({})))).await.1["err"], "invalid_request");
}

#[tokio::test]
async fn a_global_revocation_is_the_issuers_to_order() {
    let w = World::speaking(Dialect::Plain).await;
    let order = |changes: Value| {
        let claims = event(&w, merged(json!({"exp": NOW + Seconds(120)}), changes));
        signed(&w.provider.key, "global-token-revocation+jwt", &merged(claims, json!({"events": null, "sub": null})))
    };
    let send = async |bearer: &str, body: Value| {
        let bearer = format!("Bearer {bearer}");
        let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
        w.send(Method::Post, "/global-token-revocation", &headers, &body.to_string()).await.status
    };
    let good = json!({"sub_id": {"format": "iss_sub", "iss": w.provider.origin, "sub": "user-1"}});
    assert_eq!(send(&order(json!({})), good.clone()).await, 204);
    assert_eq!(send("x", good.clone()).await, 401);
    assert_eq!(send(&order(json!({"aud": "https://other.example"})), good.clone()).await, 401);
    assert_eq!(send(&order(json!({"iss": "https://id.example"})), good).await, 401);
    for (body, status) in [
        (json!({"sub_id": {"format": "iss_sub", "iss": "https://id.example", "sub": "u"}}), 403),
        (json!({"sub_id": {"format": "lab", "id": "u"}}), 422),
        (json!({}), 400),
    ] {
        assert_eq!(send(&order(json!({})), body.clone()).await, status, "{body}");
    }
}

/// An assertion of its own may be shown as often as one likes; what that gives takes room all the same.
#[tokio::test]
async fn access_tokens_have_bounds_too() {
    let w = World::speaking(Dialect::Flat).await;
    let (_, body) = w.identify(&w.assertion(recent(json!({})))).await;
    let assertion = own(Dialect::Flat, &body);
    let ask = async || token(&w, &[("grant_type", JWT_BEARER), ("assertion", &assertion)]).await;
    w.sandbox.state().most = 2;
    assert_eq!(ask().await.0, 200);
    let (status, body) = ask().await;
    assert_eq!((status, &body["error"]), (503, &json!("temporarily_unavailable")), "{body}");
    w.clock.advance(Seconds(3600));
    assert_eq!(ask().await.0, 200, "the first one has expired");
}

#[tokio::test]
async fn an_order_that_cannot_be_judged_comes_again() {
    let w = World::speaking(Dialect::Plain).await;
    let claims = merged(event(&w, json!({"exp": NOW + Seconds(120)})), json!({"events": null, "sub": null}));
    let bearer = format!("Bearer {}", signed(&w.provider.key, "global-token-revocation+jwt", &claims));
    let id = json!({"sub_id": {"format": "iss_sub", "iss": w.provider.origin, "sub": "user-1"}}).to_string();
    let send = async |bearer: &str| {
        let headers = [("content-type", "application/json"), ("authorization", bearer)];
        w.send(Method::Post, "/global-token-revocation", &headers, &id).await
    };
    let keys = json!({"keys": [w.provider.key.public_jwk()]});
    w.provider.publish("/.well-known/jwks.json", json!([]));
    let response = send(&bearer).await;
    assert_eq!((response.status, response.header("retry-after")), (503, Some("30")), "its keys are away");
    w.provider.publish("/.well-known/jwks.json", keys);
    assert_eq!(send(&bearer).await.status, 204);
    let response = send("Bearer x").await;
    let challenge = response.header("www-authenticate").unwrap_or_default();
    assert!(response.status == 401 && challenge.starts_with("Bearer error=\"invalid_token\""), "{challenge}");
}

//! The sandbox over real HTTP, with a real issuer.

mod claimed;
mod dialects;
mod documents;
mod live;
mod matrix;
mod places;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::testing::{NOW, World, envelope, key, merged, read, refusal, signed};
use super::*;
use crate::domain::claims::{ID_JAG, LOGOUT};
use crate::domain::time::Seconds;
use crate::net::Method;

const JWKS: &str = "/.well-known/jwks.json";

#[tokio::test]
async fn an_access_token_is_given_out_and_works_for_an_hour() {
    let w = World::new().await;
    let headers = [("content-type", "application/json; charset=utf-8")];
    let body = envelope(&w.assertion(json!({"scope": "api.read api.write"})), "access_token").to_string();
    let response = w.send(Method::Post, "/agent/auth", &headers, &body).await;
    assert_eq!(response.header("cache-control"), Some("no-store"));
    let (status, body) = read(&response);
    assert_eq!(status, 200, "{body}");
    let credential = body["credential"].as_str().unwrap().to_owned();
    let id = body["registration_id"].as_str().unwrap().to_owned();
    let expected = json!({"registration_id": id, "registration_type": "agent-provider",
        "credential_type": "access_token", "credential": credential, "credential_expires": "2027-01-15T09:00:00.000Z",
        "scopes": ["api.read", "api.write"]});
    assert_eq!(body, expected);
    assert!(id.starts_with("reg_") && id.len() == 26, "{id}");

    let (status, mut body) = w.call(&credential).await;
    assert!(body.as_object_mut().unwrap().remove("user_id").unwrap().as_str().unwrap().starts_with("user_"));
    let expected = json!({"iss": w.provider.origin, "sub": "user-1", "email": "alice@example.com", "phone_number": null,
        "scopes": ["api.read", "api.write"], "registration_id": id});
    assert_eq!((status, body), (200, expected));
    let bearer = format!("bearer {credential}");
    assert_eq!(w.send(Method::Post, "/api/resource", &[("authorization", &bearer)], "{}").await.status, 200);

    w.clock.advance(Seconds(3599));
    assert_eq!(w.call(&credential).await.0, 200);
    w.clock.advance(Seconds(1));
    assert_eq!(refusal(w.call(&credential).await), (401, "invalid_token".into()));
}

#[tokio::test]
async fn an_api_key_does_not_expire_and_its_registration_is_stable() {
    let w = World::new().await;
    let (status, first) = w.register(&w.assertion(json!({})), "api_key").await;
    assert_eq!((status, &first["credential_expires"], &first["scopes"]), (200, &Value::Null, &json!(["api.read"])));
    let (_, second) = w.register(&w.assertion(json!({"email": "new@example.com"})), "api_key").await;
    assert_eq!(first["registration_id"], second["registration_id"]);
    assert_ne!(first["credential"], second["credential"]);
    let (_, other) = w.register(&w.assertion(json!({"sub": "user-2"})), "api_key").await;
    assert_ne!(first["registration_id"], other["registration_id"]);
    w.clock.advance(Seconds(10 * 365 * 86_400));
    assert_eq!(w.call(first["credential"].as_str().unwrap()).await.0, 200);
    assert_eq!(w.provider.fetched(JWKS), 1, "three assertions, one fetch");
}

#[tokio::test]
async fn a_call_without_a_live_credential_is_told_where_to_begin() {
    let w = World::new().await;
    let hint = format!(r#"Bearer resource_metadata="{}/.well-known/oauth-protected-resource""#, w.aud);
    let wrong = format!(r#"{hint}, error="invalid_token""#);
    let jag = format!("Bearer {}", w.assertion(json!({})));
    let none: &[(&str, &str)] = &[];
    for (name, headers, expected) in [
        ("nothing", none, &hint),
        ("another scheme", &[("authorization", "Basic YTpi")], &hint),
        ("two", &[("authorization", "Bearer a"), ("authorization", "Bearer b")], &hint),
        ("unknown", &[("authorization", "Bearer a")], &wrong),
        ("empty", &[("authorization", "Bearer  ")], &hint),
        ("the assertion itself", &[("authorization", jag.as_str())], &wrong),
    ] {
        let response = w.send(Method::Get, "/api/resource", headers, "").await;
        assert_eq!((response.status, response.header("www-authenticate")), (401, Some(expected.as_str())), "{name}");
    }
}

#[tokio::test]
async fn it_says_what_it_is() {
    let w = World::new().await;
    let aud = &w.aud;
    let (_, document) = read(&w.get("/.well-known/oauth-protected-resource").await);
    let expected = json!({"resource": format!("{aud}/api/"), "resource_name": "Avouch Sandbox",
        "authorization_servers": [aud], "scopes_supported": ["api.read", "api.write"],
        "bearer_methods_supported": ["header"]});
    assert_eq!(document, expected);
    let (_, document) = read(&w.get("/.well-known/oauth-authorization-server").await);
    assert_eq!(document["issuer"], json!(aud));
    let expected = json!({"skill": format!("{aud}/auth.md"), "register_uri": format!("{aud}/agent/auth"),
        "claim_uri": format!("{aud}/agent/auth/claim"), "revocation_uri": format!("{aud}/agent/auth/revoke"),
        "identity_types_supported": ["anonymous", "identity_assertion"],
        "anonymous": {"credential_types_supported": ["api_key"]},
        "identity_assertion": {"assertion_types_supported": ["urn:ietf:params:oauth:token-type:id-jag", "verified_email"],
            "credential_types_supported": ["access_token", "api_key"]},
        "events_supported": ["https://schemas.workos.com/events/agent/auth/identity/assertion/revoked"]});
    assert_eq!(document["agent_auth"], expected);
    for (path, content_type) in [("/", "text/html; charset=utf-8"), ("/auth.md", "text/markdown; charset=utf-8")] {
        let page = w.get(path).await;
        assert_eq!((page.status, page.header("content-type")), (200, Some(content_type)), "{path}");
        assert!(String::from_utf8(page.body).unwrap().contains(aud.as_str()), "{path}");
    }
    assert_eq!(refusal(read(&w.get("/nowhere").await)), (404, "not_found".into()));
    let response = w.get("/agent/auth").await;
    assert_eq!(response.header("allow"), Some("POST"));
    assert_eq!(refusal(read(&response)), (405, "method_not_allowed".into()));
}

#[test]
fn an_origin_is_an_issuer_identifier() {
    let options = || Options::strict(Clock::fixed(NOW), Rng::seeded(1));
    assert!(new("http://localhost:8000".into(), options()).is_ok());
    for bad in ["http://localhost:8000/", "http://sandbox.example", "localhost:8000"] {
        assert!(matches!(new(bad.into(), options()), Err(SandboxError::Origin(_))), "{bad}");
    }
}

#[tokio::test]
async fn envelopes_that_are_refused() {
    let w = World::new().await;
    let good = envelope(&w.assertion(json!({})), "api_key");
    for (changes, code) in [
        (json!({"type": "service_auth"}), "invalid_request"),
        (json!({"type": null}), "invalid_request"),
        (json!({"type": "anonymous", "requested_credential_type": "access_token"}), "unsupported_credential_type"),
        (json!({"assertion_type": "verified_email"}), "invalid_request"),
        (
            json!({"assertion_type": "verified_email", "assertion": "alice", "requested_credential_type": "api_key"}),
            "invalid_request",
        ),
        (json!({"assertion_type": null}), "invalid_request"),
        (json!({"requested_credential_type": "refresh_token"}), "unsupported_credential_type"),
        (json!({"requested_credential_type": null}), "unsupported_credential_type"),
        (json!({"assertion": null}), "invalid_request"),
        (json!({"assertion": 7}), "invalid_request"),
        (json!({"assertion": "not.a.jwt"}), "invalid_request"),
    ] {
        assert_eq!(refusal(w.post(&merged(good.clone(), changes.clone())).await), (400, code.into()), "{changes}");
    }
    let text = good.to_string();
    let twice = format!(r#"{{"type":"anonymous",{}"#, &text[1..]);
    let json = "application/json";
    let long = format!("{text}{}", " ".repeat(64 * 1024));
    for (name, content_type, body, status) in [
        ("a form", "application/x-www-form-urlencoded", text.as_str(), 400),
        ("no JSON", json, "{", 400),
        ("a list", json, "[]", 400),
        ("a member twice", json, &twice, 400),
        ("too long", json, &long, 413),
    ] {
        let response = w.send(Method::Post, "/agent/auth", &[("content-type", content_type)], body).await;
        assert_eq!(refusal(read(&response)), (status, "invalid_request".into()), "{name}");
    }
    assert_eq!(w.post(&good).await.0, 200, "no refusal used the assertion up");
}

#[tokio::test]
async fn claims_that_are_refused() {
    let w = World::new().await;
    let slash = format!("{}/", w.provider.origin);
    for (changes, code) in [
        (json!({"iss": "https://id.example"}), "invalid_issuer"),
        (json!({"iss": slash}), "invalid_issuer"),
        (json!({"iss": w.aud}), "invalid_issuer"),
        (json!({"iss": null}), "invalid_issuer"),
        (json!({"aud": "https://other.example"}), "invalid_audience"),
        (json!({"exp": NOW - Seconds(60), "iat": NOW - Seconds(300)}), "expired"),
        (json!({"exp": NOW + Seconds(3600)}), "invalid_request"),
        (json!({"jti": null}), "invalid_request"),
        (json!({"sub": ""}), "invalid_request"),
        (json!({"client_id": "desk-agent"}), "invalid_client_id"),
        (json!({"client_id": null}), "invalid_client_id"),
        (json!({"email_verified": "true"}), "missing_verified_email"),
        (json!({"auth_time": NOW + Seconds(3600)}), "insufficient_user_authentication"),
        (json!({"resource": "https://other.example/"}), "invalid_request"),
        (json!({"scope": "openid"}), "invalid_request"),
    ] {
        let answer = w.register(&w.assertion(changes.clone()), "access_token").await;
        assert_eq!(refusal(answer), (400, code.into()), "{changes}");
    }
    for good in [json!({"aud": [w.aud]}), json!({"resource": format!("{}/api/", w.aud)}), json!({"auth_time": NOW})] {
        w.credential(good).await;
    }
}

#[tokio::test]
async fn headers_and_signatures_that_are_refused() {
    let w = World::new().await;
    let good = w.assertion(json!({}));
    let (kid, typ) = (w.provider.key.kid(), "oauth-id-jag+jwt");
    let headed = |header: Value| {
        let rest = good.split_once('.').unwrap().1;
        format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.to_string()))
    };
    let claims = w.claims(json!({}));
    let of_type = |typ: &str| signed(&w.provider.key, typ, &claims);
    let (cut, _) = good.rsplit_once('.').unwrap();
    for (name, token, code) in [
        ("typ of another kind", of_type("logout+jwt"), "invalid_request"),
        ("typ as another media type", of_type("text/oauth-id-jag+jwt"), "invalid_request"),
        ("no typ", headed(json!({"alg": "ES256", "kid": kid})), "invalid_request"),
        ("crit", headed(json!({"alg": "ES256", "typ": typ, "kid": kid, "crit": ["x"]})), "invalid_request"),
        ("alg none", headed(json!({"alg": "none", "typ": typ, "kid": kid})), "invalid_signature"),
        ("alg HS256", headed(json!({"alg": "HS256", "typ": typ, "kid": kid})), "invalid_signature"),
        ("alg of another key", headed(json!({"alg": "RS256", "typ": typ, "kid": kid})), "invalid_signature"),
        ("no kid", headed(json!({"alg": "ES256", "typ": typ})), "invalid_signature"),
        ("a changed header", headed(json!({"alg": "ES256", "typ": typ, "kid": kid, "x": 1})), "invalid_signature"),
        ("a short signature", format!("{cut}.AAAA"), "invalid_signature"),
        ("nobody's key", signed(&key(), typ, &claims), "invalid_signature"),
        ("a claim twice", signed(&w.provider.key, typ, &Twice(claims.clone())), "invalid_request"),
        ("too long", w.assertion(json!({"name": "x".repeat(16 * 1024)})), "invalid_request"),
    ] {
        assert_eq!(refusal(w.register(&token, "api_key").await), (400, code.into()), "{name}");
    }
    let fetched = w.provider.fetched(JWKS);
    w.clock.advance(Seconds(31));
    for (header, why) in [
        (json!({"alg": "HS256", "typ": typ, "kid": kid}), "the algorithm is neither ES256 nor RS256"),
        (json!({"alg": "ES256", "typ": typ}), "the header names no key"),
    ] {
        assert_eq!(w.register(&headed(header), "api_key").await.1["message"], why);
    }
    assert_eq!(w.provider.fetched(JWKS), fetched, "neither is worth a fetch");
    assert_eq!(w.register(&good, "api_key").await.0, 200);
}

/// Claims of which one is repeated.
struct Twice(Value);

impl serde::Serialize for Twice {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let claims = self.0.as_object().unwrap();
        serializer.collect_map(claims.iter().chain(claims.iter().filter(|(name, _)| *name == "email")))
    }
}

#[tokio::test]
async fn an_unknown_key_is_looked_for_once() {
    let mut w = World::new().await;
    w.credential(json!({})).await;
    let old = std::mem::replace(&mut w.provider.key, key());
    assert_eq!(w.provider.fetched(JWKS), 1);
    w.provider.publish(JWKS, json!({"keys": [old.public_jwk(), w.provider.key.public_jwk()]}));
    w.credential(json!({})).await;
    assert_eq!(w.provider.fetched(JWKS), 2, "a new key is found by one refetch");
    w.clock.advance(Seconds(31));
    let unpublished = key();
    for _ in 0..3 {
        let token = signed(&unpublished, ID_JAG, &w.claims(json!({})));
        assert_eq!(refusal(w.register(&token, "api_key").await), (400, "invalid_signature".into()));
    }
    assert_eq!(w.provider.fetched(JWKS), 3, "an unknown key costs the issuer one fetch in 30 s");
}

#[tokio::test]
async fn an_issuer_without_keys_is_asked_again_later() {
    let w = World::new().await;
    w.provider.publish(JWKS, json!([]));
    let response = refusal(w.register(&w.assertion(json!({})), "api_key").await);
    assert_eq!(response, (503, "temporarily_unavailable".into()));
    let key_again = json!({"keys": [w.provider.key.public_jwk()]});
    w.provider.publish(JWKS, key_again);
    w.credential(json!({})).await;
}

#[tokio::test]
async fn only_the_named_issuers_are_trusted() {
    let stranger = World::trusting(vec![IssuerUrl::parse("http://127.0.0.1:1").unwrap()]).await;
    let answer = stranger.register(&stranger.assertion(json!({})), "api_key").await;
    assert_eq!(refusal(answer), (400, "invalid_issuer".into()));
    assert_eq!(stranger.provider.fetched(JWKS), 0, "nobody else is asked for anything");
}

#[tokio::test]
async fn a_client_by_its_document() {
    let w = World::new().await;
    let id = |path: &str| format!("{}{path}", w.provider.origin);
    let document = |path: &str, jwks_uri: String| {
        let document = json!({"client_id": id(path), "token_endpoint_auth_method": "private_key_jwt",
            "jwks_uri": jwks_uri});
        w.provider.publish(path, document);
    };
    document("/good.json", id(JWKS));
    document("/other.json", "http://127.0.0.1:1/.well-known/jwks.json".into());
    w.credential(json!({"client_id": id("/good.json")})).await;
    for path in ["/other.json", "/missing.json", "/good.json?x=1", "/"] {
        let answer = w.register(&w.assertion(json!({"client_id": id(path)})), "api_key").await;
        assert_eq!(refusal(answer), (400, "invalid_client_id".into()), "{path}");
    }
    document("/other.json", id(JWKS));
    w.credential(json!({"client_id": id("/other.json")})).await;

    let used = w.assertion(json!({"client_id": id("/good.json")}));
    assert_eq!(w.register(&used, "api_key").await.0, 200);
    document("/good.json", "http://127.0.0.1:1/.well-known/jwks.json".into());
    w.clock.advance(Seconds(61));
    assert_eq!(refusal(w.register(&used, "api_key").await).1, "replay_detected", "the jti is judged before the client");
}

#[tokio::test]
async fn one_of_many_redeems_an_assertion() {
    let w = std::sync::Arc::new(World::new().await);
    let client_id = format!("{}/agent.json", w.provider.origin);
    let jwks_uri = format!("{}{JWKS}", w.provider.origin);
    let document =
        json!({"client_id": client_id, "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": jwks_uri});
    w.provider.publish("/agent.json", document);
    let token = w.assertion(json!({"client_id": client_id}));
    let mut agents = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (w, token) = (w.clone(), token.clone());
        agents.spawn(async move { w.register(&token, "api_key").await });
    }
    let answers = agents.join_all().await;
    assert_eq!(answers.iter().filter(|(status, _)| *status == 200).count(), 1);
    assert_eq!(answers.iter().filter(|(_, body)| body["error"] == "replay_detected").count(), 19);
}

#[tokio::test]
async fn a_jti_is_used_once_across_kinds_and_remembered_long_enough() {
    let w = World::new().await;
    let token = w.assertion(json!({"jti": "one", "exp": NOW + Seconds(300)}));
    assert_eq!(w.register(&token, "api_key").await.0, 200);
    let replayed = (400, "replay_detected".to_owned());
    assert_eq!(refusal(w.register(&token, "api_key").await), replayed);
    assert_eq!(refusal(w.revoke(&w.notice(json!({"jti": "one"}))).await), replayed);
    assert_eq!(w.revoke(&w.notice(json!({"jti": "two"}))).await.0, 200);
    assert_eq!(refusal(w.register(&w.assertion(json!({"jti": "two"})), "api_key").await), replayed);
    w.clock.advance(Seconds(359));
    assert_eq!(refusal(w.register(&token, "api_key").await), replayed);
    w.clock.advance(Seconds(1));
    assert_eq!(refusal(w.register(&token, "api_key").await), (400, "expired".into()));
}

#[tokio::test]
async fn a_revocation_ends_every_credential_of_that_user_and_nobody_elses() {
    let w = World::new().await;
    let mine = [w.credential(json!({})).await, w.credential(json!({})).await];
    let other = w.credential(json!({"sub": "user-2"})).await;
    let early = w.assertion(json!({}));
    assert_eq!(w.revoke(&w.notice(json!({}))).await, (200, json!({"revoked": 2})));
    for credential in &mine {
        assert_eq!(refusal(w.call(credential).await), (401, "invalid_token".into()));
    }
    assert_eq!(w.call(&other).await.0, 200);
    assert_eq!(w.revoke(&w.notice(json!({}))).await, (200, json!({"revoked": 0})));
    assert_eq!(w.revoke(&w.notice(json!({"sub": "nobody"}))).await, (200, json!({"revoked": 0})));

    let late = w.register(&early, "api_key").await;
    assert_eq!(late.0, 200, "minted before the notice, redeemed after it");
    let fresh = w.credential(json!({})).await;
    assert_eq!(w.call(&fresh).await.0, 200, "a fresh assertion begins anew");
    assert_eq!(w.revoke(&w.notice(json!({"exp": NOW + Seconds(120)}))).await, (200, json!({"revoked": 2})));
    assert_eq!(w.call(&fresh).await.0, 401);
    let last = w.sandbox.events().pop().unwrap();
    assert_eq!((last.at, last.what), (NOW, What::Unauthorized));
}

#[tokio::test]
async fn notices_that_are_refused_change_nothing() {
    let w = World::new().await;
    let credential = w.credential(json!({})).await;
    for (changes, code) in [
        (json!({"iss": "https://id.example"}), "invalid_issuer"),
        (json!({"aud": "https://other.example"}), "invalid_request"),
        (json!({"sub": null}), "invalid_request"),
        (json!({"jti": null}), "invalid_request"),
        (json!({"iat": NOW - Seconds(3600)}), "invalid_request"),
        (json!({"events": {}}), "invalid_request"),
        (json!({"nonce": "n"}), "invalid_request"),
    ] {
        assert_eq!(refusal(w.revoke(&w.notice(changes.clone())).await), (400, code.into()), "{changes}");
    }
    let good = w.notice(json!({}));
    assert_eq!(refusal(w.revoke(&w.assertion(json!({}))).await), (400, "invalid_request".into()), "an assertion");
    let forged = signed(&key(), LOGOUT, &w.claims(json!({})));
    assert_eq!(refusal(w.revoke(&forged).await), (400, "invalid_signature".into()));
    for content_type in ["application/jwt", "application/logout+jwt; charset=utf-8"] {
        let response = w.send(Method::Post, "/agent/auth/revoke", &[("content-type", content_type)], &good).await;
        assert_eq!(refusal(read(&response)), (400, "invalid_request".into()), "{content_type}");
    }
    let last = w.sandbox.events().pop().unwrap().what;
    assert!(matches!(last, What::Refused { endpoint: "/agent/auth/revoke", code: "invalid_request", .. }), "{last:?}");
    assert_eq!(w.call(&credential).await.0, 200);
    assert_eq!(w.revoke(&good).await, (200, json!({"revoked": 1})));
}

#[tokio::test]
async fn a_full_sandbox_says_so() {
    let w = World::new().await;
    w.sandbox.state().most = 1;
    let credential = w.credential(json!({})).await;
    let token = w.assertion(json!({}));
    assert_eq!(refusal(w.register(&token, "api_key").await), (503, "temporarily_unavailable".into()));
    assert_eq!(w.revoke(&w.notice(json!({}))).await, (200, json!({"revoked": 1})), "a notice still gets in");
    assert_eq!(w.call(&credential).await.0, 401);
}

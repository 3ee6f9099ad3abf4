//! Registrations of auth.md v0.1 that a user claims, and how often somebody may come.

use std::net::SocketAddr;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use serde_json::{Value, json};
use tower_service::Service as _;

use crate::domain::time::Seconds;
use crate::lab::flaws::Dialect;
use crate::lab::sandbox::testing::{World, envelope, refusal};
use crate::lab::sandbox::{Event, What};
use crate::secret::Secret;

const ALICE: &str = "alice@example.com";

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

fn anonymous() -> Value {
    json!({"type": "anonymous", "requested_credential_type": "api_key"})
}

fn by_email(credential_type: &str) -> Value {
    json!({"type": "identity_assertion", "assertion_type": "verified_email", "assertion": ALICE,
        "requested_credential_type": credential_type})
}

/// The user's part: the e-mails, the page of the link, the code on it.
impl World {
    async fn mail(&self) -> Vec<(String, String)> {
        let body: Value = serde_json::from_slice(&self.get("/sandbox/mail").await.body).unwrap();
        let mail = body["items"].as_array().unwrap().iter();
        mail.map(|one| (text(&one["to"]), text(&one["link"]).strip_prefix(&self.aud).unwrap().to_owned())).collect()
    }

    async fn page(&self, path: &str) -> String {
        String::from_utf8(self.get(path).await.body).unwrap()
    }

    async fn say(&self, path: &str, decision: &str) -> String {
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let said = self.send(crate::net::Method::Post, path, &headers, &format!("decision={decision}")).await;
        String::from_utf8(said.body).unwrap()
    }

    /// The code, by a click in the latest e-mail.
    async fn code(&self) -> String {
        let (_, link) = self.mail().await.pop().unwrap();
        let page = self.say(&link, "yes").await;
        page.split("class=\"code\">").nth(1).unwrap()[..6].to_owned()
    }

    async fn claim(&self, body: Value) -> (u16, Value) {
        self.json("/agent/auth/claim", &body).await
    }

    async fn complete(&self, claim_token: &str, otp: &str) -> (u16, Value) {
        self.json("/agent/auth/claim/complete", &json!({"claim_token": claim_token, "otp": otp})).await
    }
}

fn another(code: &str) -> &'static str {
    if code == "000000" { "000001" } else { "000000" }
}

#[tokio::test]
async fn an_anonymous_registration_is_claimed_with_a_code_and_keeps_its_key() {
    let w = World::new().await;
    let (status, made) = w.post(&anonymous()).await;
    let members: Vec<&str> = made.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "claim_token",
        "claim_token_expires",
        "claim_url",
        "credential",
        "credential_expires",
        "credential_type",
        "post_claim_scopes",
        "registration_id",
        "registration_type",
        "scopes",
    ];
    assert_eq!((status, members.as_slice()), (200, &expected[..]));
    assert_eq!((&made["registration_type"], &made["scopes"]), (&json!("anonymous"), &json!(["api.read"])));
    let (key, claim_token) = (text(&made["credential"]), text(&made["claim_token"]));
    let (_, before) = w.call(&key).await;
    assert_eq!(
        (&before["scopes"], &before["user_id"], &before["iss"]),
        (&json!(["api.read"]), &Value::Null, &Value::Null)
    );

    assert_eq!(refusal(w.complete(&claim_token, "000000").await), (400, "otp_not_generated".into()));
    for (body, expected) in [
        (json!({"claim_token": "clm_x", "email": ALICE}), (401, "invalid_claim_token")),
        (json!({"email": ALICE}), (400, "invalid_request")),
        (json!({"claim_token": claim_token}), (400, "invalid_request")),
        (json!({"claim_token": claim_token, "email": "alice"}), (400, "invalid_request")),
    ] {
        assert_eq!(refusal(w.claim(body.clone()).await), (expected.0, expected.1.into()), "{body}");
    }
    assert_eq!(w.mail().await, []);
    let mistyped = w.claim(json!({"claim_token": claim_token, "email": "alcie@example.com"})).await;
    assert_eq!((mistyped.0, &mistyped.1["status"]), (200, &json!("initiated")));
    let (_, superseded) = w.mail().await.pop().unwrap();
    w.claim(json!({"claim_token": claim_token, "email": ALICE})).await;
    let mail = w.mail().await;
    assert!(mail.len() == 1 && mail[0].0 == ALICE, "{mail:?}");
    assert!(w.say(&superseded, "yes").await.contains("leads nowhere"));
    let page = w.page(&mail[0].1).await;
    assert!(page.contains(ALICE) && !page.contains("class=\"code\""), "a preview asks for no code");
    assert_eq!(refusal(w.complete(&claim_token, "000000").await), (400, "otp_not_generated".into()));

    let code = w.code().await;
    assert_eq!(refusal(w.complete(&claim_token, another(&code)).await), (401, "otp_invalid".into()));
    let (status, done) = w.complete(&claim_token, &code).await;
    assert_eq!((status, done), (200, json!({"registration_id": made["registration_id"], "status": "claimed"})));
    let (_, after) = w.call(&key).await;
    assert_eq!((&after["scopes"], &after["email"]), (&json!(["api.read", "api.write"]), &json!(ALICE)));
    assert_eq!(refusal(w.complete(&claim_token, &code).await), (409, "previously_claimed".into()));
    let again = w.claim(json!({"claim_token": claim_token, "email": ALICE})).await;
    assert_eq!(refusal(again), (409, "claimed_or_in_flight".into()));
    w.clock.advance(Seconds(10 * 24 * 3600));
    assert_eq!(w.call(&key).await.0, 200, "it is somebody's, and ends no more by itself");
    // Whoever has the address is the same user to an issuer that vouches for it.
    let vouched = w.credential(json!({})).await;
    assert_eq!(w.call(&vouched).await.1["user_id"], after["user_id"]);
    let kinds: Vec<String> = w.sandbox.events().iter().map(kind).collect();
    assert_eq!(kinds[..2], ["registration.created", "resource.served"]);
    for event in ["claim.requested", "otp.generated", "claim.confirmed"] {
        assert!(kinds.iter().any(|kind| kind == event), "{event}: {kinds:?}");
    }
}

fn kind(event: &Event) -> String {
    text(&json!(event)["event"])
}

#[tokio::test]
async fn a_registration_by_email_gives_nothing_before_it_is_claimed() {
    let w = World::new().await;
    for (credential_type, lives) in [("api_key", false), ("access_token", true)] {
        let (status, made) = w.post(&by_email(credential_type)).await;
        assert_eq!((status, &made["registration_type"]), (200, &json!("email-verification")));
        assert!(made.get("credential").is_none() && made.get("scopes").is_none(), "{made}");
        let claim_token = text(&made["claim_token"]);
        let claimed = w.claim(json!({"claim_token": claim_token, "email": "mallory@example.com"})).await;
        assert_eq!(refusal(claimed), (409, "claimed_or_in_flight".into()), "the e-mail goes to one address");
        let code = w.code().await;
        let (status, done) = w.complete(&claim_token, &code).await;
        assert_eq!(
            (status, &done["credential_type"], &done["status"]),
            (200, &json!(credential_type), &json!("claimed"))
        );
        assert_eq!(
            (done["credential_expires"].is_string(), &done["scopes"]),
            (lives, &json!(["api.read", "api.write"]))
        );
        assert_eq!(w.call(&text(&done["credential"])).await.1["email"], ALICE);
    }
}

#[tokio::test]
async fn codes_and_claims_end() {
    let w = World::new().await;
    let begin = async || text(&w.post(&by_email("api_key")).await.1["claim_token"]);
    // Too many wrong ones; too old; and another one then.
    let claim_token = begin().await;
    let code = w.code().await;
    for _ in 0..5 {
        assert_eq!(refusal(w.complete(&claim_token, another(&code)).await), (401, "otp_invalid".into()));
    }
    assert_eq!(refusal(w.complete(&claim_token, &code).await), (410, "otp_expired".into()));
    let code = w.code().await;
    w.clock.advance(Seconds(600));
    assert_eq!(refusal(w.complete(&claim_token, &code).await), (410, "otp_expired".into()));
    let code = w.code().await;
    assert_eq!(w.complete(&claim_token, &code).await.0, 200);
    // Somebody who says no.
    let claim_token = begin().await;
    let (_, link) = w.mail().await.pop().unwrap();
    assert!(w.say(&link, "no").await.contains("Nothing was linked"));
    assert_eq!(refusal(w.complete(&claim_token, "000000").await), (410, "claim_expired".into()));
    // Nobody at all; what was given meanwhile ends too.
    let claim_token = begin().await;
    let (_, made) = w.post(&anonymous()).await;
    w.clock.advance(Seconds(24 * 3600));
    assert_eq!(refusal(w.complete(&claim_token, "000000").await), (410, "claim_expired".into()));
    assert_eq!(w.call(&text(&made["credential"])).await.0, 401);
    assert_eq!(w.mail().await, []);
    let expired = w.sandbox.events().iter().filter(|event| kind(event) == "registration.expired").count();
    assert_eq!(expired, 2);
    w.sandbox.state().most = 2;
    assert_eq!(w.post(&anonymous()).await.0, 200, "what is over makes room");
    assert_eq!(refusal(w.post(&by_email("api_key")).await), (503, "temporarily_unavailable".into()));
}

#[tokio::test]
async fn only_the_first_dialect_knows_them() {
    let w = World::speaking(Dialect::Flat).await;
    for body in [anonymous(), by_email("api_key")] {
        assert_eq!(refusal(w.json("/agent/identity", &body).await), (400, "invalid_request".into()));
    }
}

/// Sends a request from an address; status, `Retry-After` and body.
async fn from(w: &World, address: &str, path: &str, body: &str) -> (u16, Option<String>, Value) {
    let kind = if path == "/oauth2/token" { "application/x-www-form-urlencoded" } else { "application/json" };
    let peer: SocketAddr = format!("{address}:1").parse().unwrap();
    let request = Request::post(path).header("content-type", kind).header("authorization", "Basic Yzpz");
    let request = request.extension(peer).body(Body::from(body.to_owned())).unwrap();
    let response = w.sandbox.router().call(request).await.unwrap();
    let again = response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), 100_000).await.unwrap();
    (status, again, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn an_address_comes_so_often_and_no_more() {
    for (dialect, code) in [
        (Dialect::V01, "rate_limited"),
        (Dialect::Flat, "rate_limited"),
        (Dialect::Nested, "rate_limit_exceeded"),
        (Dialect::Plain, "temporarily_unavailable"),
    ] {
        let w = World::with(|options| {
            (options.dialect, options.rate_limit) = (dialect, Some("2/m".parse().unwrap()));
            options.clients[0].secret = Secret::new("s");
        })
        .await;
        let path = match dialect {
            Dialect::V01 => "/agent/auth",
            Dialect::Plain => "/oauth2/token",
            _ => "/agent/identity",
        };
        let send = async |address| {
            let assertion = w.assertion(json!({"auth_time": w.clock.now(), "client_id": match dialect {
                Dialect::Plain => "c",
                _ => w.provider.origin.as_str(),
            }}));
            let body = match dialect {
                Dialect::Plain => {
                    format!("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={assertion}")
                }
                _ => envelope(&assertion, "api_key").to_string(),
            };
            from(&w, address, path, &body).await
        };
        assert_eq!(send("192.0.2.1").await.0, 200, "{dialect:?}");
        w.clock.advance(Seconds(20));
        assert_eq!(send("[::ffff:192.0.2.1]").await.0, 200, "the same address");
        let (status, again, body) = send("192.0.2.1").await;
        assert_eq!((status, again.as_deref(), &body["error"]), (429, Some("40"), &json!(code)), "{dialect:?}");
        let said = if dialect == Dialect::Plain { "error_description" } else { "message" };
        assert!(body[said].is_string(), "{body}");
        assert_eq!(body["retry_after"].as_i64(), (dialect == Dialect::Nested).then_some(40));
        assert_eq!(send("192.0.2.2").await.0, 200, "another address");
        w.clock.advance(Seconds(40));
        assert_eq!(send("192.0.2.1").await.0, 200, "and again later");
    }
}

#[tokio::test]
async fn a_user_is_registered_so_often_and_no_more() {
    let w = World::with(|options| options.user_rate_limit = Some("1/m".parse().unwrap())).await;
    w.credential(json!({})).await;
    let second = w.assertion(json!({}));
    assert_eq!(refusal(w.register(&second, "api_key").await), (429, "rate_limited".into()));
    w.credential(json!({"sub": "user-2"})).await;
    assert_eq!(w.post(&by_email("api_key")).await.0, 200);
    assert_eq!(refusal(w.post(&by_email("api_key")).await), (429, "rate_limited".into()), "one e-mail a minute");
    assert_eq!(w.post(&anonymous()).await.0, 200, "nobody in particular");
    assert_eq!(w.revoke(&w.notice(json!({}))).await.0, 200, "a withdrawal is never too often");
    let last = w.sandbox.events().pop().unwrap().what;
    assert!(matches!(last, What::Revoked { credentials: 1, .. }), "{last:?}");
    w.clock.advance(Seconds(60));
    assert_eq!(w.register(&second, "api_key").await.0, 200, "what was refused so was not used up");
}

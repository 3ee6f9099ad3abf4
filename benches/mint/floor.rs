//! The floor: what an answer with a signature costs when nothing is asked, decided or kept. A process of its own, like the server.

use std::sync::Arc;

use avouch::clock::Clock;
use avouch::domain::claims::{ASSERTION_LIFETIME, ID_JAG, IdJag};
use avouch::jose::{SealingKey, SigningKey};
use avouch::rng::Rng;
use axum::Router;
use axum::http::header;
use axum::routing::get;
use serde_json::json;

use crate::Outcome;

/// Answers `GET /` with a few bytes of JSON and `GET /signed` with a signed assertion. Prints its port.
pub(crate) async fn serve() -> Outcome<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    let key = Arc::new(key());
    let json = || [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    let bare = move || async move { (json(), r#"{"status":"ok"}"#) };
    let signed = move || async move {
        let token = key.sign(ID_JAG, &claims(&Rng::Os, Clock::System.now())).expect("claims are signed");
        (json(), json!({"access_token": token, "token_type": "N_A", "expires_in": ASSERTION_LIFETIME}).to_string())
    };
    axum::serve(listener, Router::new().route("/", get(bare)).route("/signed", get(signed))).await?;
    Ok(())
}

/// A key for measuring.
pub(crate) fn key() -> SigningKey {
    let sealing = SealingKey::from_bytes(&[7; 32]).expect("32 bytes are a key");
    SigningKey::generate(&sealing, "bench", &Rng::Os).expect("a key is made").0
}

/// The claims of an assertion as the server makes them here.
pub(crate) fn claims(rng: &Rng, now: i64) -> IdJag {
    IdJag {
        iss: "http://localhost:4000".into(),
        sub: "0197f2f0c7d57e6f8a3b0c1d2e3f4a5b".into(),
        aud: crate::provider::AUDIENCE.into(),
        client_id: "secret-agent".into(),
        jti: rng.id(now),
        iat: now,
        exp: now + ASSERTION_LIFETIME,
        auth_time: now,
        email: Some("user0@example.com".into()),
        email_verified: Some(true),
        name: Some("User 0".into()),
        phone_number: None,
        phone_number_verified: None,
        amr: None,
        resource: None,
        scope: Some("api.read".into()),
        agent_platform: None,
        agent_context_id: None,
    }
}

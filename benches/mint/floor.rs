//! The floor: what an answer with a signature costs when nothing is asked, decided or kept. A process of its own, like the server.

use std::sync::Arc;

use avouch::clock::Clock;
use avouch::domain::claims::{ASSERTION_LIFETIME, ID_JAG};
use avouch::rng::Rng;
use axum::Router;
use axum::http::header;
use axum::routing::get;
use serde_json::json;

use crate::Outcome;
use crate::assertion::{claims, key};

/// Answers `GET /` with a few bytes of JSON and `GET /signed` with a signed assertion. Prints its port.
pub(crate) async fn serve() -> Outcome<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    let key = Arc::new(key());
    let json = || [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    let bare = move || async move { (json(), r#"{"status":"ok"}"#) };
    let signed = move || async move {
        let token = key.sign(ID_JAG, &claims(&Rng::Os, Clock::System.now())).await.expect("claims are signed");
        (json(), json!({"access_token": token, "token_type": "N_A", "expires_in": ASSERTION_LIFETIME}).to_string())
    };
    axum::serve(listener, Router::new().route("/", get(bare)).route("/signed", get(signed))).await?;
    Ok(())
}

//! `/healthz` and `/readyz`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::reply;
use crate::host::Host;

/// The process answers.
pub(super) async fn alive() -> Response {
    let mut response = reply::json(StatusCode::OK, &json!({"status": "ok"}));
    reply::no_store(&mut response);
    response
}

/// The database answers too.
pub(super) async fn ready(State(host): State<Host>) -> Response {
    let answers = host.database.ping().await.is_ok();
    let (status, word) = if answers {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer")
    };
    let mut response = reply::json(status, &json!({ "status": word }));
    reply::no_store(&mut response);
    response
}

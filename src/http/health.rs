//! `/healthz` and `/readyz`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::reply;
use crate::host::Host;

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

/// The process answers.
pub(super) async fn alive() -> Response {
    reply::private_json(StatusCode::OK, &Health { status: "ok" })
}

/// The database answers too.
pub(super) async fn ready(State(host): State<Host>) -> Response {
    match host.database.ping().await {
        Ok(()) => reply::private_json(StatusCode::OK, &Health { status: "ok" }),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "not ready");
            reply::private_json(StatusCode::SERVICE_UNAVAILABLE, &Health { status: "the database does not answer" })
        }
    }
}

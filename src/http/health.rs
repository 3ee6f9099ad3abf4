//! `/healthz`, `/readyz` and `/metrics`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::reply;
use crate::host::Host;
use crate::meters;

#[derive(Serialize)]
struct Health {
    status: String,
}

/// The process answers.
pub(super) async fn alive() -> Response {
    reply::private_json(StatusCode::OK, &Health { status: "ok".into() })
}

/// The database would take a write.
pub(super) async fn ready(State(host): State<Host>) -> Response {
    match host.database.ping().await {
        Ok(()) => reply::private_json(StatusCode::OK, &Health { status: "ok".into() }),
        Err(outage) => {
            let health = Health { status: outage.to_string() };
            reply::private_json(StatusCode::SERVICE_UNAVAILABLE, &health)
        }
    }
}

/// What was counted and measured, for Prometheus. As open as the others: a proxy must not show it to the world.
pub(super) async fn metrics() -> Response {
    let mut response = reply::body(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", meters::render());
    reply::no_store(&mut response);
    response
}

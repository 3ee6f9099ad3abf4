//! `/healthz`, `/readyz` and `/metrics`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::reply;
use crate::flow::rotate;
use crate::host::Host;
use crate::meters;

#[derive(Serialize)]
struct Health {
    status: String,
    /// What an operator should look at, though requests are answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
}

impl Health {
    fn of(status: String) -> Self {
        Self { status, warning: None }
    }
}

/// The process answers.
pub(super) async fn alive() -> Response {
    reply::private_json(StatusCode::OK, &Health::of("ok".into()))
}

/// The database would take a write, and what it seals by is here. A key that does not open is said, and a rotation that is late is said, but keeps no request from being answered.
pub(super) async fn ready(State(host): State<Host>) -> Response {
    if let Err(outage) = host.database.ping().await {
        return reply::private_json(StatusCode::SERVICE_UNAVAILABLE, &Health::of(outage.to_string()));
    }
    if let Some(id) = host.sealing.missing() {
        let status = format!("the database names the sealing key {id}, which this server has not got");
        return reply::private_json(StatusCode::SERVICE_UNAVAILABLE, &Health::of(status));
    }
    let unopened = host.sealing.unopened().map(|what| format!("a signing key does not open: {what}"));
    let overdue = rotate::find_overdue(&host).await.ok().flatten();
    let overdue = overdue.map(|by| format!("the rotation of a signing key is overdue by {by} seconds"));
    let warning = unopened.or(overdue);
    reply::private_json(StatusCode::OK, &Health { warning, ..Health::of("ok".into()) })
}

/// What was counted and measured, for Prometheus. As open as the others: a proxy must not show it to the world.
pub(super) async fn metrics() -> Response {
    let mut response = reply::body(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", meters::render());
    reply::no_store(&mut response);
    response
}

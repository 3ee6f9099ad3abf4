//! The layer around every route: a request gets its id and its span, and an error its form.

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument as _;
use tracing::field::Empty;

use super::error::{self, Asked, Failed};
use crate::host::Host;

/// Names a request in every answer. One that comes in is not taken over: it would let strangers write into our logs.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

pub(super) async fn around(State(host): State<Host>, request: Request, next: Next) -> Response {
    let asked = Asked::of(&request, host.id());
    let method = request.method();
    let span = tracing::info_span!("request", id = asked.id, %method, route = Empty, issuer = Empty, client = Empty);
    answer(&host, &asked, request, next).instrument(span).await
}

async fn answer(host: &Host, asked: &Asked, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if let Some(failed) = response.extensions_mut().remove::<Failed>() {
        // The router knows which methods there are (RFC 9110 section 15.5.6).
        let allow = response.headers_mut().remove(header::ALLOW);
        response = error::render(host, asked, &failed).await;
        if let Some(allow) = allow {
            response.headers_mut().insert(header::ALLOW, allow);
        }
    }
    tracing::debug!(status = response.status().as_u16(), "answered");
    if let Ok(id) = HeaderValue::try_from(&asked.id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

//! The layer around every route: a request gets its id, its span and its issuer, and an error its form.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::Instrument as _;
use tracing::field::Empty;

use super::error::{self, Asked, Failed};
use super::{client_address, cors, named_host, place, reply};
use crate::domain::issuer::IssuerId;
use crate::domain::refusal::Refusal;
use crate::host::{DEFAULT_ISSUER, Host};
use crate::meters::Requests;

/// Names a request in every answer. One that comes in is not taken over: it would let strangers write into our logs.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// For a year, on https (RFC 6797 section 6.1).
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");
/// Most bytes of a path that are logged.
const MAX_PATH: usize = 256;

/// What the layer needs.
#[derive(Clone)]
pub(super) struct Edge {
    host: Host,
    /// What only the root has: paths up to where a name stands in them.
    at_root: Arc<[&'static str]>,
    /// Made of a count, so that no two are alike, and keyed, so that it tells nobody how many there were.
    ids: Arc<(RandomState, AtomicU64)>,
    timings: Arc<Requests>,
}

/// The route that an answer comes from, as it is written in the list.
#[derive(Clone, Copy)]
struct Route(&'static str);

pub(super) fn note_route(route: &'static str, mut response: Response) -> Response {
    response.extensions_mut().insert(Route(route));
    response
}

impl Edge {
    pub(super) fn new(host: Host, at_root: Arc<[&'static str]>, timings: Requests) -> Self {
        Self { host, at_root, ids: Arc::default(), timings: Arc::new(timings) }
    }

    /// No secret, and on the path of every request: not worth asking the operating system for.
    fn request_id(&self) -> String {
        let (key, count) = &*self.ids;
        format!("{:016x}", key.hash_one(count.fetch_add(1, Ordering::Relaxed)))
    }
}

pub(super) async fn around(State(edge): State<Edge>, mut request: Request, next: Next) -> Response {
    let uri = request.uri().clone();
    place::enter(&mut request);
    let asked = Asked::of(&request, edge.request_id());
    let path = uri.path();
    let address = client_address::of(&edge.host, &request);
    let span = tracing::info_span!(
        "request",
        id = asked.id,
        method = request.method().as_str(),
        path = &path[..path.floor_char_boundary(MAX_PATH)],
        address = address.map(tracing::field::display),
        issuer = request.extensions().get::<IssuerId>().map_or(DEFAULT_ISSUER, IssuerId::as_str),
        client = Empty,
    );
    answer(&edge, &asked, &uri, request, next).instrument(span).await
}

async fn answer(edge: &Edge, asked: &Asked, uri: &Uri, request: Request, next: Next) -> Response {
    let (method, open) = (request.method().clone(), cors::is_open(request.uri().path()));
    let begun = Instant::now();
    let under_issuer = request.extensions().get::<IssuerId>().is_some();
    let path = request.uri().path();
    let only_root = |known: &&str| *known == path || (known.ends_with('/') && path.starts_with(known));
    let mut response = if !named_host::is_named_once(&request) {
        Failed::from(Refusal::HostUnclear).into_response()
    } else if under_issuer && edge.at_root.iter().any(only_root) {
        Failed::from(Refusal::NotFound).into_response()
    } else if asked.is_page() && named_host::is_another(&edge.host, &request) {
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        reply::see_other(&format!("{}{path}", edge.host.root.origin()))
    } else {
        // A server that is frozen would keep the request as long as its client waits.
        let answered = edge.host.while_database_answers(next.run(request)).await;
        answered.unwrap_or_else(IntoResponse::into_response)
    };
    let route = response.extensions_mut().remove::<Route>().map(|Route(route)| route);
    if let Some(failed) = response.extensions_mut().remove::<Failed>() {
        // The router knows which methods there are (RFC 9110 section 15.5.6).
        let allow = response.headers_mut().remove(header::ALLOW);
        response = Box::pin(error::render(&edge.host, asked, &failed)).await;
        if let Some(allow) = allow {
            response.headers_mut().insert(header::ALLOW, allow);
        }
    }
    if open {
        cors::share(&method, &mut response);
    }
    edge.timings.answered(route, response.status().as_u16(), begun.elapsed());
    tracing::debug!(status = response.status().as_u16(), "answered");
    if let Ok(id) = HeaderValue::try_from(&asked.id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    if edge.host.root.is_https() {
        response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, HSTS);
    }
    response
}

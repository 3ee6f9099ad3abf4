//! Documents as issuers and clients of a lab publish them, each as good or as bad as it is told to be, and who fetched what.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH, USER_AGENT};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::time::{Interval, interval, sleep};

use super::flaws::{Document, Response as Way};
use super::issuer::LabIssuer;
use crate::domain::ids::IssuerUrl;
use crate::secret::sha256;

/// The query of the address that a redirected document is said to be at.
pub const ELSEWHERE: &str = "elsewhere";
/// Most fetches that are remembered; the oldest go first.
const MAX_FETCHES: usize = 10_000;
/// How many seconds a document of ours may be kept.
pub const MAX_AGE: u64 = 300;
const KEEP: &str = "public, max-age=300";
/// Where an issuer's keys are, below it (auth.md, "JWKS fetching").
pub const JWKS: &str = "/.well-known/jwks.json";
/// Where the document is that names an issuer as a client, below it.
pub const CIMD: &str = "/agent-auth.json";

/// Documents by path; cheap to clone, all clones share them.
#[derive(Clone, Default)]
pub struct Hosted(Arc<Mutex<Shelf>>);

#[derive(Default)]
struct Shelf {
    documents: BTreeMap<String, Document>,
    fetches: Vec<Fetch>,
}

/// A fetch of a document, or of one that is not there.
#[derive(Clone, Debug)]
pub struct Fetch {
    /// When it came.
    pub at: Instant,
    /// What was asked for.
    pub path: String,
    /// The status that it got.
    pub status: u16,
    /// The names of the keys that it got.
    pub kids: Vec<String>,
    /// Who asked.
    pub user_agent: Option<String>,
}

impl Hosted {
    /// Puts a document in the place of an earlier one.
    pub fn put(&self, path: &str, document: Document) {
        self.shelf().documents.insert(path.to_owned(), document);
    }

    /// What was asked for at a path, in order.
    #[must_use]
    pub fn fetches(&self, path: &str) -> Vec<Fetch> {
        self.shelf().fetches.iter().filter(|fetch| fetch.path == path).cloned().collect()
    }

    /// Everything that an issuer publishes: its keys, its metadata under every name (RFC 8414 section 3.1; OpenID Connect Discovery
    /// section 4), and the document that names it as a client.
    pub fn publish(&self, issuer: &LabIssuer, jwks: Value) {
        let (url, path) = (&issuer.url, path_of(&issuer.url));
        self.put(&format!("{path}{JWKS}"), Document::new(jwks));
        let metadata = json!({
            "issuer": url, "jwks_uri": url.at(JWKS), "token_endpoint": url.at("/token"),
            "response_types_supported": [], "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
            "grant_types_supported": ["urn:ietf:params:oauth:grant-type:token-exchange"],
        });
        for name in ["oauth-authorization-server", "openid-configuration"] {
            for place in [format!("/.well-known/{name}{path}"), format!("{path}/.well-known/{name}")] {
                self.put(&place, Document::new(metadata.clone()));
            }
        }
        self.put(&format!("{path}{CIMD}"), client_document(&url.at(CIMD), &url.at(JWKS)));
    }

    /// Serves them.
    pub fn router(&self) -> Router {
        Router::new().fallback(answer).with_state(self.clone())
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The path of an issuer, without a slash at its end.
#[must_use]
pub fn path_of(issuer: &IssuerUrl) -> &str {
    issuer.as_str().strip_prefix(issuer.origin()).unwrap_or_default().trim_end_matches('/')
}

/// A good Client ID Metadata Document (CIMD draft section 4) whose keys are an issuer's.
#[must_use]
pub fn client_document(client_id: &str, jwks_uri: &str) -> Document {
    Document::new(json!({"client_id": client_id, "client_name": "Avouch lab", "jwks_uri": jwks_uri,
        "token_endpoint_auth_method": "private_key_jwt"}))
}

async fn answer(State(hosted): State<Hosted>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let mut found = hosted.shelf().documents.get(&path).cloned().filter(|_| request.method() == Method::GET);
    if let Some(document) = found.as_mut().filter(|_| request.uri().query() == Some(ELSEWHERE)) {
        document.response = Way::Usual;
    }
    let user_agent = request.headers().get(USER_AGENT).and_then(|value| value.to_str().ok()).map(str::to_owned);
    // Whoever has the same one already is told so (RFC 9110 section 13.1.2), unless something is to be wrong with it.
    let tag = found.as_ref().filter(|document| document.response == Way::Usual).map(tag);
    let has_it = tag.as_ref().is_some_and(|tag| has(request.headers(), tag));
    let status = if has_it { 304 } else { found.as_ref().map_or(404, Document::status) };
    let sent = found.as_ref().filter(|_| !has_it);
    let kids = sent.map(|document| kids(document.members.get("keys"))).unwrap_or_default();
    {
        let mut shelf = hosted.shelf();
        if shelf.fetches.len() >= MAX_FETCHES {
            shelf.fetches.remove(0);
        }
        shelf.fetches.push(Fetch { at: Instant::now(), path: path.clone(), status, kids, user_agent });
    }
    let mut response = match sent {
        Some(document) => serve(document, &path, KEEP).await,
        None if has_it => (StatusCode::NOT_MODIFIED, [(CACHE_CONTROL, KEEP)]).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    };
    if let Some(tag) = tag.and_then(|tag| HeaderValue::try_from(tag).ok()) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

fn tag(document: &Document) -> String {
    format!("\"{}\"", sha256(&document.body()))
}

fn has(headers: &HeaderMap, tag: &str) -> bool {
    let named = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    named.flat_map(|value| value.split(',')).any(|known| known.trim().trim_start_matches("W/") == tag)
}

/// The names of the keys in the member `keys` of a key set.
pub fn kids(keys: Option<&Value>) -> Vec<String> {
    let keys = keys.and_then(Value::as_array).into_iter().flatten();
    keys.filter_map(|key| key.get("kid").and_then(Value::as_str).map(str::to_owned)).collect()
}

/// A document as it is to come over the wire, and how long it may be kept where nothing is wrong with how it comes.
pub async fn serve(document: &Document, path: &str, keep: &'static str) -> Response {
    let status = StatusCode::from_u16(document.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = document.body();
    let headers = [("content-type", document.content_type()), ("cache-control", keep)];
    match document.response {
        Way::Redirect => (status, [("location", format!("{path}?{ELSEWHERE}"))]).into_response(),
        Way::Drip => (status, headers, Body::new(Drip::new(body))).into_response(),
        Way::Slow(seconds) => {
            sleep(Duration::from_secs(seconds.into())).await;
            (status, headers, body).into_response()
        }
        _ => (status, headers, body).into_response(),
    }
}

/// A body of one byte a second.
struct Drip {
    left: std::vec::IntoIter<u8>,
    tick: Interval,
}

impl Drip {
    fn new(body: Vec<u8>) -> Self {
        Self { left: body.into_iter(), tick: interval(Duration::from_secs(1)) }
    }
}

impl hyper::body::Body for Drip {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.tick.poll_tick(cx).is_pending() {
            return Poll::Pending;
        }
        Poll::Ready(self.left.next().map(|byte| Ok(Frame::data(Bytes::from(vec![byte])))))
    }
}

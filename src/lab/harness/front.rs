//! What each request to a harness passes: who may ask, what is wrong with documents on purpose, and the ledger.

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use serde_json::Value;

use super::faults::Spoilt;
use super::ledger::{Entry, kept};
use super::{Harness, Wrong};
use crate::domain::ids::IssuerUrl;
use crate::domain::rotation::SigningAlg;
use crate::host::DEFAULT_ISSUER;
use crate::lab::flaws::{Document, Kind};
use crate::lab::hosted::{ELSEWHERE, kids, serve};

/// Most bytes of a document of ours.
const MAX_DOCUMENT: usize = 1024 * 1024;

pub(super) async fn around(State(harness): State<Harness>, mut request: Request, next: Next) -> Response {
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    let agent = request.headers().get(header::USER_AGENT).and_then(|value| value.to_str().ok()).map(kept);
    let control = path == "/harness" || path.starts_with("/harness/");
    if let Err(wrong) = may_ask(&harness, request.headers(), control) {
        return wrong.response();
    }
    if control {
        return next.run(request).await;
    }
    // Where a redirect leads, the document is good: whoever follows one takes it.
    let good = request.method() != Method::GET || request.uri().query() == Some(ELSEWHERE);
    let asked = document_at(&path).filter(|_| !good);
    let waits =
        asked.is_some_and(|(kind, issuer)| harness.0.faults.lock().is_ok_and(|faults| faults.waits(kind, issuer)));
    if waits {
        // Whoever has the good one already would be told that it is still the same.
        request.headers_mut().remove(header::IF_NONE_MATCH);
    }
    let (response, kids, fault) = spoilt(&harness, asked, &path, next.run(request).await).await;
    harness.note(Entry {
        n: 0,
        at: harness.0.host.now(),
        method,
        path: kept(&path),
        user_agent: agent,
        status: response.status().as_u16(),
        kids,
        fault,
    });
    response
}

/// Nobody but programs on this machine: no other name that leads here (a page of somebody's whose name does), and no page in a browser.
fn may_ask(harness: &Harness, headers: &HeaderMap, control: bool) -> Result<(), Wrong> {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let port = harness.0.port;
    let named = |host: &str| ["localhost", "127.0.0.1", "[::1]"].iter().any(|name| host == format!("{name}:{port}"));
    if !text(header::HOST).is_some_and(named) {
        let message = format!("a harness is reached as localhost:{port} only");
        return Err(Wrong::new(StatusCode::MISDIRECTED_REQUEST, "misdirected", message));
    }
    let of_browser = headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site");
    if control && of_browser {
        return Err(Wrong::new(StatusCode::FORBIDDEN, "forbidden", "the control API takes nothing from a browser"));
    }
    Ok(())
}

/// Which document is at a path, and of which issuer.
fn document_at(path: &str) -> Option<(Kind, &str)> {
    let ends = [("/.well-known/jwks.json", Kind::Jwks), ("/jwks.json", Kind::Jwks), ("/agent-auth.json", Kind::Cimd)];
    let (rest, kind) = ends.iter().find_map(|(end, kind)| Some((path.strip_suffix(end)?, *kind)))?;
    let issuer = rest.strip_prefix('/').unwrap_or(rest);
    Some((kind, if issuer.is_empty() { DEFAULT_ISSUER } else { issuer }))
}

/// The answer as it is to be, the keys in it, and the fault's name.
async fn spoilt(
    harness: &Harness,
    asked: Option<(Kind, &str)>,
    path: &str,
    answer: Response,
) -> (Response, Vec<String>, Option<&'static str>) {
    let Some((kind, issuer)) = asked.filter(|_| answer.status() == StatusCode::OK) else {
        return (answer, Vec::new(), None);
    };
    let (parts, body) = answer.into_parts();
    let bytes = to_bytes(body, MAX_DOCUMENT).await.unwrap_or_default();
    let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let fault = harness.0.faults.lock().ok().and_then(|mut faults| faults.take(kind, issuer));
    let Some(fault) = fault else {
        return (Response::from_parts(parts, Body::from(bytes)), kids(value.get("keys")), None);
    };
    match harness.spoil(&fault, issuer, value).await {
        Ok(document) => {
            let kids = kids(document.members.get("keys"));
            (serve(&document, path, "no-store").await, kids, Some(fault.name))
        }
        Err(wrong) => (wrong.response(), Vec::new(), Some(fault.name)),
    }
}

impl Harness {
    fn note(&self, entry: Entry) {
        if let Ok(mut ledger) = self.0.ledger.lock() {
            ledger.add(entry);
        }
    }

    async fn spoil(&self, fault: &Spoilt, issuer: &str, value: Value) -> Result<Document, Wrong> {
        let root = &self.0.host.root;
        let url = if issuer == DEFAULT_ISSUER { root.to_string() } else { root.at(&format!("/{issuer}")) };
        let url = IssuerUrl::parse(&url).map_err(|e| Wrong::fault(&e))?;
        let cast = self.cast(issuer, url, SigningAlg::Es256).await?;
        let mut good = Document::new(value);
        // The flaws of key sets are about the key that signs, and take it for the first.
        if let Some(keys) = good.keys() {
            keys.sort_by_key(|key| key["kid"] != cast.issuer.key.kid().as_str());
        }
        Ok(fault.document(&good, &cast))
    }
}

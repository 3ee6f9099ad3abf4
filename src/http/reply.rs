//! Answers: JSON, pages and redirects, each with the headers that belong to it.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Serialize;

use super::pages::Site;
use crate::flow::issuers::LOGO_PATH;
use crate::host::App;

/// What a page may load and be put into (RFC 9700 section 4.16). No `form-action`: browsers hold it against the redirect that follows a
/// form, and ours lead to clients.
const CSP: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'";

/// Fields that the head of an answer has room for before it grows: those of a token, and what the server adds.
const FIELDS: usize = 8;
/// Bytes of JSON that an answer has room for before it grows: a token in its answer.
const TOKEN: usize = 1024;

/// An answer with a body of a type.
pub(super) fn body(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    *response.headers_mut() = HeaderMap::with_capacity(FIELDS);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// JSON.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    json_as(status, "application/json", value)
}

/// JSON of another name.
pub(super) fn json_as(status: StatusCode, kind: &'static str, value: &impl Serialize) -> Response {
    let mut text = Vec::with_capacity(TOKEN);
    serde_json::to_writer(&mut text, value).expect("what we answer with is JSON");
    body(status, kind, text)
}

/// JSON for the one who asked.
pub(super) fn private_json(status: StatusCode, value: &impl Serialize) -> Response {
    let mut response = json(status, value);
    no_store(&mut response);
    response
}

/// Kept by nobody (RFC 6749 section 5.1).
pub(super) fn no_store(response: &mut Response) {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
}

/// A page.
pub(super) fn page(status: StatusCode, html: &str) -> Response {
    let mut response = body(status, "text/html; charset=utf-8", html.to_owned());
    no_store(&mut response);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CSP));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    // `no-referrer` would make browsers send `Origin: null` with our own forms.
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}

/// A redirect that turns a post into a get (RFC 9700 section 4.12).
pub(super) fn see_other(location: &str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    match HeaderValue::try_from(location) {
        Ok(location) => {
            response.headers_mut().insert(header::LOCATION, location);
        }
        Err(_) => *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR,
    }
    no_store(&mut response);
    response.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// A redirect to a page of the issuer.
pub(super) fn to_page(app: &App, to: &str) -> Response {
    see_other(&path(app, to))
}

/// A path of the issuer, as it stands in links.
pub(super) fn path(app: &App, to: &str) -> String {
    format!("{}{to}", app.issuer.url.base())
}

/// Whose pages these are.
pub(super) fn site(app: &App) -> Site {
    let issuer = &app.issuer;
    // The name changes with the picture, so that no browser shows an old one.
    let logo = issuer.logo_hash.as_deref().map(|hash| format!("{}?{hash}", path(app, LOGO_PATH)));
    Site { product: issuer.name.clone(), base: issuer.url.base().to_owned(), logo, colour: issuer.colour.clone() }
}

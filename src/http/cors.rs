//! Which endpoints pages of other origins may use (Fetch standard, section 3.3): the documents that anybody may read, and those where a
//! client proves who it is in the request itself. No cookie is ever sent along, so never the pages, and not the API.

use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::Response;

/// By the first segment of a path inside its issuer.
const OPEN: [&str; 7] = [".well-known", "jwks.json", "agent-auth.json", "logo.png", "token", "userinfo", "revoke"];

const ALLOW_HEADERS: HeaderValue = HeaderValue::from_static("authorization, content-type, mcp-protocol-version, dpop");
const EXPOSE_HEADERS: HeaderValue = HeaderValue::from_static("etag, retry-after, www-authenticate, x-request-id");
const ANY: HeaderValue = HeaderValue::from_static("*");
/// Two hours: no browser keeps an answer for longer.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// Whether a path inside its issuer is open to other origins.
pub(super) fn is_open(rest: &str) -> bool {
    rest.split('/').nth(1).is_some_and(|first| OPEN.contains(&first))
}

/// Adds what lets a page of another origin read an answer of an open path. Asked beforehand whether a request may be sent, the answer is
/// yes for the methods that the router has just named in its refusal of OPTIONS.
pub(super) fn share(method: &Method, response: &mut Response) {
    if method == Method::OPTIONS && response.status() == StatusCode::METHOD_NOT_ALLOWED {
        let allow = response.headers().get(header::ALLOW).cloned();
        *response = Response::default();
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        if let Some(allow) = allow {
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, allow.clone());
            headers.insert(header::ALLOW, allow);
        }
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOW_HEADERS);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    } else {
        response.headers_mut().insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSE_HEADERS);
    }
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, ANY);
}

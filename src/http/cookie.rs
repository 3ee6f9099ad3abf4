//! Cookies: `__Host-` on https, plain names on a loopback http issuer, which is the only one that may be http.

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;

use crate::domain::session::LIFETIME;
use crate::host::App;

/// The session's token.
pub(super) const SESSION: &str = "avouch-session";
/// Ties a sign-in form to the browser it was shown in.
pub(super) const SIGN_IN: &str = "avouch-sign-in";

fn full_name(app: &App, name: &str) -> String {
    if app.issuer.url.is_https() { format!("__Host-{name}") } else { name.to_owned() }
}

/// The value of a cookie. One that came twice was planted by somebody, so none counts.
pub(super) fn get(app: &App, headers: &HeaderMap, name: &str) -> Option<String> {
    let name = full_name(app, name);
    let all = headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok());
    let mut found =
        all.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('=')).filter(|(n, _)| *n == name);
    match (found.next(), found.next()) {
        (Some((_, value)), None) => Some(value.to_owned()),
        _ => None,
    }
}

/// Sets a cookie; an empty value removes it.
pub(super) fn set(app: &App, response: &mut Response, name: &str, value: &str) {
    let secure = if app.issuer.url.is_https() { "; Secure" } else { "" };
    let age = if value.is_empty() { 0 } else { LIFETIME };
    let text = format!("{}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={age}{secure}", full_name(app, name));
    if let Ok(value) = HeaderValue::try_from(text) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}

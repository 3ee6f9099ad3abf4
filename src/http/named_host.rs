//! The host that a request names, which may not be the issuer's: a page opened as `127.0.0.1` where the issuer says `localhost` could set
//! its cookies, and no form of it would ever be taken.

use axum::extract::Request;
use axum::http::{HeaderValue, Method, Version, header};
use url::Url;

use super::client_address;
use crate::host::Host;

/// Whether a request names one host, as each has to since HTTP/1.1 (RFC 9112 section 3.2).
pub(super) fn is_named_once(request: &Request) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => is_authority(host),
        (None, _) => request.version() < Version::HTTP_11,
        _ => false,
    }
}

/// As far as it matters: nothing in it ends a host and begins something else.
fn is_authority(host: &HeaderValue) -> bool {
    let host = host.as_bytes();
    !host.is_empty() && host.iter().all(|byte| byte.is_ascii_graphic() && !br#"/\?#@,<>"'"#.contains(byte))
}

/// Whether a page was opened at another host than the issuer's, although the issuer's leads here too.
///
/// Proxies may name a host of their own making, to which no browser has ever gone: a redirect would lead back here for ever. So for an
/// https issuer a trusted proxy has to say which host the browser named; and an http one is only ever reached by this machine's own
/// names, where the same port is the same server.
pub(super) fn is_another(host: &Host, request: &Request) -> bool {
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        return false;
    }
    let header = |name| request.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let https = host.root.is_https();
    let named = match https {
        true if !client_address::is_trusted_proxy(host, request) => None,
        true => header("x-forwarded-host"),
        false => header(header::HOST.as_str()),
    };
    let (Some(named), Some((scheme, issuers))) = (named, host.root.origin().split_once("://")) else { return false };
    if named == issuers {
        return false;
    }
    let url = |authority| Url::parse(&format!("{scheme}://{authority}"));
    let (Ok(named), Ok(issuers)) = (url(named), url(issuers)) else { return false };
    named.host() != issuers.host() && (https || named.port_or_known_default() == issuers.port_or_known_default())
}

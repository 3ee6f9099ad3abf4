//! Cookies. Issuers share an origin, and servers on one machine share its cookies whatever their ports (RFC 6265 section 8.5), so a
//! cookie's name carries a hash of the issuer's identifier, and its path is the issuer's. On https the browser is made to hold them to
//! that: `__Host-` where the path is `/`, which that prefix demands, else `__Secure-` (RFC 6265bis section 4.1.3).

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;

use crate::domain::session::LIFETIME;
use crate::domain::time::Seconds;
use crate::flow::known_browser;
use crate::host::App;
use crate::secret::sha256;

/// The session's token.
pub(super) const SESSION: &str = "avouch-session";
/// Ties a sign-in form to the browser it was shown in.
pub(super) const SIGN_IN: &str = "avouch-sign-in";
/// Says whom the browser has signed in before.
pub(super) const KNOWN_BROWSER: &str = "avouch-known-browser";

fn full_name(app: &App, name: &str) -> String {
    let url = &app.issuer.url;
    let prefix = match (url.is_https(), url.base().is_empty()) {
        (false, _) => "",
        (true, true) => "__Host-",
        (true, false) => "__Secure-",
    };
    format!("{prefix}{name}-{}", &sha256(url.as_str().as_bytes())[..8])
}

/// The value of a cookie. One that came twice was planted by somebody, so none counts. Other cookies of the host may hold any bytes.
pub(super) fn get(app: &App, headers: &HeaderMap, name: &str) -> Option<String> {
    value(headers, &full_name(app, name))
}

fn value(headers: &HeaderMap, name: &str) -> Option<String> {
    let pairs = headers.get_all(header::COOKIE).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    let mut values =
        pairs.filter_map(|pair| pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"=".as_slice()));
    match (values.next(), values.next()) {
        (Some(value), None) if value.is_ascii() => String::from_utf8(value.to_vec()).ok(),
        _ => None,
    }
}

/// Sets a cookie; an empty value removes it.
pub(super) fn set(app: &App, response: &mut Response, name: &str, value: &str) {
    let url = &app.issuer.url;
    let secure = if url.is_https() { "; Secure" } else { "" };
    let path = if url.base().is_empty() { "/" } else { url.base() };
    let age = match name {
        _ if value.is_empty() => Seconds(0),
        KNOWN_BROWSER => known_browser::LIFETIME,
        _ => LIFETIME,
    };
    let name = full_name(app, name);
    let text = format!("{name}={value}; Path={path}; HttpOnly; SameSite=Lax; Max-Age={age}{secure}");
    if let Ok(value) = HeaderValue::try_from(text) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_among_others() {
        let of = |lines: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::COOKIE, HeaderValue::from_bytes(line).unwrap());
            }
            value(&headers, "s-1")
        };
        assert_eq!(of(&[b"s-1=x"]).as_deref(), Some("x"));
        assert_eq!(of(&[b"a=b;s-1=x ; c=d"]).as_deref(), Some("x"));
        assert_eq!(of(&["lang=fran\u{e7}ais; s-1=x".as_bytes()]).as_deref(), Some("x"), "somebody else's UTF-8");
        assert_eq!(of(&[b"lang=fran\xe7ais; s-1=x"]).as_deref(), Some("x"), "or none");
        assert_eq!(of(&["s-1=\u{e7}".as_bytes()]), None, "ours is ASCII");
        for twice in [&[b"s-1=x; s-1=x".as_slice()][..], &[b"s-1=x", b"s-1=y"]] {
            assert_eq!(of(twice), None);
        }
        assert_eq!(of(&[b"s-12=x; S-1=x; xs-1=x; s-1"]), None);
    }
}

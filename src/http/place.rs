//! Whose a path is: the issuer that it names, and the rest of it. Judged on the path as it came: nothing is decoded or normalised, so no
//! second spelling leads to an issuer.

use axum::extract::Request;
use axum::http::Uri;
use axum::http::uri::PathAndQuery;

use crate::domain::issuer::{IssuerId, RESERVED};

/// Documents that are also found with the issuer's path after their name instead of before it (RFC 8414 section 3).
const INSERTED: [&str; 2] = ["/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"];

/// A path, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place<'a> {
    /// The issuer it names; `None` for the one at the root, also where nothing is there.
    pub(super) issuer: Option<IssuerId>,
    /// What is left, which starts with a slash as the whole did.
    pub(super) rest: &'a str,
}

impl<'a> Place<'a> {
    pub(super) fn of(path: &'a str) -> Self {
        let after = |document: &&'static str| path.strip_prefix(*document)?.strip_prefix('/').map(|id| (*document, id));
        if let Some((document, id)) = INSERTED.iter().find_map(after)
            && let Ok(issuer) = IssuerId::parse(id)
        {
            return Self { issuer: Some(issuer), rest: document };
        }
        let names = path.strip_prefix('/').unwrap_or(path);
        let (first, rest) = names.find('/').map_or((names, "/"), |slash| names.split_at(slash));
        match IssuerId::parse(first) {
            Ok(issuer) => Self { issuer: Some(issuer), rest },
            Err(_) => Self { issuer: None, rest: path },
        }
    }
}

/// Turns a request to a path issuer into one to the path that every issuer has, and notes whose it is.
pub(super) fn enter(request: &mut Request) {
    let Place { issuer: Some(issuer), rest } = Place::of(request.uri().path()) else { return };
    let rest = request.uri().query().map_or_else(|| rest.to_owned(), |query| format!("{rest}?{query}"));
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = PathAndQuery::try_from(rest).ok();
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
        request.extensions_mut().insert(issuer);
    }
}

/// What kind of thing a path belongs to, whether or not anything is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// OAuth and OpenID Connect.
    Protocol,
    /// REST, and what machines look at.
    Api,
    /// For people.
    Pages,
}

impl Family {
    /// By the first segment of a path inside an issuer; by the second where the first is nothing of ours, such as an issuer's id that is
    /// wrongly written.
    pub(super) fn of(rest: &str) -> Self {
        let mut segments = rest.split('/').skip(1);
        let known = |segment| match segment {
            ".well-known"
            | "jwks.json"
            | "agent-auth.json"
            | "token"
            | "par"
            | "userinfo"
            | "introspect"
            | "revoke"
            | "register"
            | "device_authorization" => Some(Self::Protocol),
            "api" | "healthz" | "readyz" | "metrics" => Some(Self::Api),
            _ if RESERVED.contains(&segment) => Some(Self::Pages),
            _ => None,
        };
        let first = segments.next().and_then(known);
        first.or_else(|| segments.next().and_then(known)).unwrap_or(Self::Pages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let long = format!("/{}/token", "a".repeat(64));
        for (path, issuer, rest) in [
            ("/", None, "/"),
            ("/token", None, "/token"),
            ("/consent/acme", None, "/consent/acme"),
            ("/acme", Some("acme"), "/"),
            ("/acme/", Some("acme"), "/"),
            ("/acme/token", Some("acme"), "/token"),
            ("/acme/beta/token", Some("acme"), "/beta/token"),
            ("/acme//token", Some("acme"), "//token"),
            ("/acme/.well-known/jwks.json", Some("acme"), "/.well-known/jwks.json"),
            ("/acme/.well-known/openid-configuration", Some("acme"), "/.well-known/openid-configuration"),
            ("/.well-known/openid-configuration/acme", Some("acme"), "/.well-known/openid-configuration"),
            ("/.well-known/oauth-authorization-server/acme", Some("acme"), "/.well-known/oauth-authorization-server"),
            ("/.well-known/jwks.json/acme", None, "/.well-known/jwks.json/acme"),
            ("/.well-known/openid-configuration/token", None, "/.well-known/openid-configuration/token"),
            ("/.well-known/openid-configuration/", None, "/.well-known/openid-configuration/"),
            ("/.well-known/openid-configuration/acme/", None, "/.well-known/openid-configuration/acme/"),
            ("/ACME/token", None, "/ACME/token"),
            ("/%61cme/token", None, "/%61cme/token"),
            ("/acme%2ftoken", None, "/acme%2ftoken"),
            ("/./acme/token", None, "/./acme/token"),
            ("/acme/../token", Some("acme"), "/../token"),
            ("//acme/token", None, "//acme/token"),
            ("/default/token", None, "/default/token"),
            (&long, None, &long),
        ] {
            let place = Place::of(path);
            assert_eq!((place.issuer.as_ref().map(IssuerId::as_str), place.rest), (issuer, rest), "{path}");
        }
    }

    #[test]
    fn families() {
        for (rest, family) in [
            ("/token", Family::Protocol),
            ("/token/x", Family::Protocol),
            ("/.well-known/webfinger", Family::Protocol),
            ("/ACME/token", Family::Protocol),
            ("//token", Family::Protocol),
            ("/api/v1/x", Family::Api),
            ("/readyz", Family::Api),
            ("/", Family::Pages),
            ("/nothing", Family::Pages),
            ("/authorize", Family::Pages),
            ("/consent/token", Family::Pages),
        ] {
            assert_eq!(Family::of(rest), family, "{rest}");
        }
    }
}

//! Metadata, keys, and the document about ourselves.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::json;

use super::client_address::ClientAddress;
use super::extract::Segment;
use super::{pages, reply};
use crate::domain::ids::Kid;
use crate::domain::issuer::Colour;
use crate::domain::refusal::Refusal;
use crate::domain::rotation::max_age;
use crate::domain::scope::{DELEGATIONS, SIGN_IN};
use crate::error::Error;
use crate::flow::logo::png;
use crate::host::App;
use crate::secret::sha256;

/// How long a consumer may keep keys and documents, in seconds. A key that leaves is published this much longer than it is needed.
const JSON: &str = "application/json";
const MAX_AGE: &str = "public, max-age=300";

/// How a client that can prove who it is does so.
const CONFIDENTIAL: [&str; 3] = ["client_secret_basic", "client_secret_post", "private_key_jwt"];
/// What client assertions may be signed with.
const SIGNING: [&str; 2] = ["ES256", "RS256"];

/// RFC 8414 section 2 and OpenID Connect Discovery section 3, as one document. Only what works is named; members without a value are
/// left out (RFC 8414 section 3.2).
pub(super) async fn metadata(app: App, headers: HeaderMap) -> Response {
    let at = |path: &str| app.issuer.url.at(path);
    let mut methods = CONFIDENTIAL.to_vec();
    if app.issuer.has_public_client {
        methods.push("none");
    }
    let scopes: Vec<&str> = SIGN_IN.into_iter().filter(|s| !s.starts_with(DELEGATIONS)).collect();
    let document = json!({
        "issuer": app.issuer.url.as_str(),
        "authorization_endpoint": at("/authorize"),
        "token_endpoint": at("/token"),
        "userinfo_endpoint": at("/userinfo"),
        "introspection_endpoint": at("/introspect"),
        "revocation_endpoint": at("/revoke"),
        "end_session_endpoint": at("/end_session"),
        "jwks_uri": at("/.well-known/jwks.json"),
        "scopes_supported": scopes,
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:token-exchange"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": SIGNING,
        "token_endpoint_auth_methods_supported": methods,
        "token_endpoint_auth_signing_alg_values_supported": SIGNING,
        "revocation_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_signing_alg_values_supported": SIGNING,
        "introspection_endpoint_auth_methods_supported": CONFIDENTIAL,
        "introspection_endpoint_auth_signing_alg_values_supported": SIGNING,
        "code_challenge_methods_supported": ["S256"],
        "claims_supported": ["iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "sid", "amr", "email", "email_verified", "name",
            "phone_number", "phone_number_verified"],
        // draft-emelia-oauth-user-authorization-mgmt-uri-00: where users see and withdraw what they agreed to.
        "user_authorization_management_uri": at("/connections"),
        "prompt_values_supported": ["none", "login", "consent", "select_account"],
        "backchannel_logout_supported": true,
        "backchannel_logout_session_supported": true,
        "claims_parameter_supported": false,
        "request_parameter_supported": false,
        "request_uri_parameter_supported": false,
        "authorization_response_iss_parameter_supported": true,
        "identity_chaining_requested_token_types_supported": ["urn:ietf:params:oauth:token-type:id-jag"],
    });
    let text = document.to_string();
    document_of(&headers, JSON, text.clone(), &etag(&text))
}

/// RFC 7517 section 5. Nobody who honours `max-age` keeps it beyond a change that is planned.
pub(super) async fn jwks(app: App, ClientAddress(address): ClientAddress, headers: HeaderMap) -> Response {
    let issuer = &app.issuer;
    let kids = || issuer.ring.published.iter().map(|(kid, _)| kid.clone()).collect();
    count_fetch(&app, &issuer.ring.etag, address, &headers, kids);
    let age = max_age(app.now(), issuer.next_key_change, issuer.key_revoked_at);
    let mut response = document_of(&headers, JSON, issuer.ring.jwks.to_string(), &issuer.ring.etag);
    if let Ok(kept) = HeaderValue::try_from(format!("public, max-age={age}")) {
        response.headers_mut().insert(header::CACHE_CONTROL, kept);
    }
    response
}

/// Our Client ID Metadata Document: the `client_id` that auth.md services see in our assertions.
pub(super) async fn cimd(app: App, ClientAddress(address): ClientAddress, headers: HeaderMap) -> Response {
    count_fetch(&app, &app.issuer.cimd, address, &headers, || [].into());
    document_of(&headers, JSON, app.issuer.cimd.to_string(), &etag(&app.issuer.cimd))
}

/// Whoever is told that it has the current version has it.
fn count_fetch(
    app: &App,
    version: &Arc<str>,
    address: Option<IpAddr>,
    headers: &HeaderMap,
    kids: impl FnOnce() -> Arc<[Kid]>,
) {
    let Some(address) = address else { return };
    let user_agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    app.fetches.count((&app.issuer.id, version), (address, user_agent), kids, app.now());
}

/// The issuer's logo, as pages and the services that read its Client ID Metadata Document show it.
pub(super) async fn logo(app: App, headers: HeaderMap) -> Result<Response, Error> {
    let logo = app.store.read().await?.issuer_logo().await?.ok_or(Refusal::NotFound)?;
    let etag = format!("\"{}\"", logo.hash());
    let png = png(&logo).ok_or(Error::invariant("a stored logo is base64"))?;
    let mut response = document_of(&headers, "image/png", png, &etag);
    // Whatever a browser made of it, it would be alone there.
    let alone = HeaderValue::from_static("default-src 'none'; sandbox");
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, alone);
    Ok(response)
}

/// The pages' stylesheet; its name changes with it.
pub(super) async fn stylesheet() -> Response {
    css(pages::STYLESHEET)
}

/// What a colour changes of it.
pub(super) async fn colour(Segment(name): Segment) -> Result<Response, Error> {
    let digits = name.strip_suffix(".css").ok_or(Refusal::NotFound)?;
    let colour = Colour::parse(&format!("#{digits}")).map_err(|_| Refusal::NotFound)?;
    Ok(css(pages::colour_stylesheet(&colour)))
}

fn css(text: impl Into<Body>) -> Response {
    let mut response = reply::body(StatusCode::OK, "text/css; charset=utf-8", text);
    let for_good = HeaderValue::from_static("public, max-age=31536000, immutable");
    response.headers_mut().insert(header::CACHE_CONTROL, for_good);
    response
}

fn etag(text: &str) -> String {
    format!("\"{}\"", sha256(text.as_bytes()))
}

/// A public document with a validator (RFC 9110 section 8.8.3).
fn document_of(headers: &HeaderMap, kind: &'static str, content: impl Into<Body>, etag: &str) -> Response {
    let asked = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|v| v.to_str().ok());
    let known =
        asked.flat_map(|v| v.split(',')).map(|v| v.trim().trim_start_matches("W/")).any(|v| v == "*" || v == etag);
    let mut response = if known {
        let mut unchanged = reply::body(StatusCode::NOT_MODIFIED, kind, "");
        unchanged.headers_mut().remove(header::CONTENT_TYPE);
        unchanged
    } else {
        reply::body(StatusCode::OK, kind, content)
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(MAX_AGE));
    if let Ok(etag) = HeaderValue::try_from(etag) {
        headers.insert(header::ETAG, etag);
    }
    response
}

//! The HTTP surface: every route on this page, then one file for each endpoint.

pub mod error;
pub mod pages;
pub mod serve;

mod api;
mod authorize;
mod connections;
mod consent;
mod cookie;
mod credential;
mod discovery;
mod form;
mod health;
mod login;
mod reply;
mod segment;
mod token;
mod visitor;
mod words;

use axum::Router;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri, header};
use axum::response::Response;
use axum::routing::{get, post};

use crate::domain::refusal::Refusal;
use crate::error::Error;
use crate::flow::issuers;
use crate::host::{App, DEFAULT_ISSUER, Host};

/// Every route of an issuer.
pub fn router(host: Host) -> Router {
    Router::new()
        // Metadata and keys: RFC 8414 section 3, OpenID Connect Discovery section 4, RFC 7517, CIMD draft.
        .route("/.well-known/openid-configuration", get(discovery::metadata))
        .route("/.well-known/oauth-authorization-server", get(discovery::metadata))
        .route("/.well-known/jwks.json", get(discovery::jwks))
        .route("/jwks.json", get(discovery::jwks))
        .route("/agent-auth.json", get(discovery::cimd))
        // OpenID Connect and OAuth 2.0.
        .route("/authorize", get(authorize::get).post(authorize::post))
        .route("/authorize/decision", post(authorize::decision))
        .route("/token", post(token::post))
        // Pages for the user.
        .route("/", get(connections::home))
        .route("/login", get(login::get).post(login::post))
        .route("/logout", post(login::out))
        .route("/consent/{ticket}", get(consent::get).post(consent::post))
        .route("/connections", get(connections::get))
        .route("/connections/{id}/stop", get(connections::stop_page).post(connections::stop))
        .route("/connections/denials/{id}/revise", post(connections::revise))
        .route(pages::stylesheet_path(), get(discovery::stylesheet))
        // REST.
        .route("/api/v1/delegations", get(api::delegations::list))
        .route("/api/v1/delegations/{id}", get(api::delegations::get).delete(api::delegations::delete))
        // Operations.
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .with_state(host)
}

/// The issuer that a request is for.
impl FromRequestParts<Host> for App {
    type Rejection = Response;

    async fn from_request_parts(_: &mut Parts, host: &Host) -> Result<Self, Response> {
        match issuers::app(host, DEFAULT_ISSUER).await {
            Ok(Some(app)) => Ok(app),
            Ok(None) => Err(error::problem(host, Refusal::NotFound.into())),
            Err(error) => Err(error::problem(host, error)),
        }
    }
}

async fn not_found(app: App, uri: Uri, headers: HeaderMap) -> Response {
    nothing_here(&app, &uri, &headers, Refusal::NotFound)
}

async fn wrong_method(app: App, uri: Uri, headers: HeaderMap) -> Response {
    nothing_here(&app, &uri, &headers, Refusal::MethodNotAllowed)
}

/// A page for whoever asks for one, problem details for everyone else.
fn nothing_here(app: &App, uri: &Uri, headers: &HeaderMap, refusal: Refusal) -> Response {
    let wants_page =
        headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).is_some_and(|accept| accept.contains("text/html"));
    if wants_page && !uri.path().starts_with("/api/") {
        error::page(app, refusal.into())
    } else {
        error::problem(app, refusal.into())
    }
}

/// A page handler's outcome: what it made, or the error page.
fn page_or(app: &App, outcome: Result<Response, Error>) -> Response {
    outcome.unwrap_or_else(|error| error::page(app, error))
}

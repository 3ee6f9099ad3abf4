//! The HTTP surface: every route on this page, then one file for each endpoint.

pub mod error;
pub mod pages;
pub mod serve;

mod api;
mod authorize;
mod client_address;
mod connections;
mod consent;
mod cookie;
mod credential;
mod csrf;
mod discovery;
mod edge;
mod extract;
mod form;
mod health;
mod login;
mod reply;
mod session;
mod token;
mod wording;

use axum::response::Response;
use axum::routing::{get, post};
use axum::{Router, middleware};

use crate::domain::refusal::Refusal;
use crate::error::Error;
use crate::host::{App, Host};

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
        .layer(middleware::from_fn_with_state(host.clone(), edge::around))
        .with_state(host)
}

async fn not_found(_: App) -> Result<Response, Error> {
    Err(Refusal::NotFound.into())
}

async fn wrong_method(_: App) -> Result<Response, Error> {
    Err(Refusal::MethodNotAllowed.into())
}

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
mod cors;
mod credential;
mod csrf;
mod discovery;
mod edge;
mod end_session;
mod extract;
mod form;
mod health;
mod introspect;
mod login;
mod named_host;
mod note;
mod parties;
mod place;
mod reply;
mod revoke;
mod session;
mod token;
mod userinfo;
mod way_back;
mod wording;

use std::future::ready;

use axum::response::Response;
use axum::routing::{MethodRouter, delete, get, post};
use axum::{Router, middleware};

use crate::domain::refusal::Refusal;
use crate::error::Error;
use crate::flow::issuers::LOGO_PATH;
use crate::host::{App, Host};
use crate::meters;

/// Every route: where it is, and what is there.
fn routes() -> Vec<(Where, &'static str, MethodRouter<Host>)> {
    use Where::{Everywhere, Root};
    vec![
        // Metadata and keys: RFC 8414 section 3, OpenID Connect Discovery section 4, RFC 7517, CIMD -02 section 4.
        (Everywhere, "/.well-known/openid-configuration", get(discovery::metadata)),
        (Everywhere, "/.well-known/oauth-authorization-server", get(discovery::metadata)),
        (Everywhere, "/.well-known/jwks.json", get(discovery::jwks)),
        (Everywhere, "/jwks.json", get(discovery::jwks)),
        (Everywhere, "/agent-auth.json", get(discovery::cimd)),
        (Everywhere, LOGO_PATH, get(discovery::logo)),
        // OpenID Connect and OAuth 2.0.
        (Everywhere, "/authorize", get(authorize::get).post(authorize::post)),
        (Everywhere, "/authorize/decision", post(authorize::decision)),
        (Everywhere, "/token", post(token::post)),
        (Everywhere, "/userinfo", get(userinfo::get).post(userinfo::post)),
        (Everywhere, "/introspect", post(introspect::post)),
        (Everywhere, "/revoke", post(revoke::post)),
        (Everywhere, "/end_session", get(end_session::get).post(end_session::post)),
        (Everywhere, "/end_session/decision", post(end_session::decision)),
        // Pages for the user.
        (Everywhere, "/", get(connections::home)),
        (Everywhere, "/login", get(login::get).post(login::post)),
        (Everywhere, "/logout", post(login::out)),
        (Everywhere, "/consent/{ticket}", get(consent::get).post(consent::post)),
        (Everywhere, "/connections", get(connections::get)),
        (Everywhere, "/connections/{id}/stop", get(connections::stop_page).post(connections::stop)),
        (Everywhere, "/connections/sign-ins/{id}/end", post(connections::end_sign_in)),
        (Everywhere, "/connections/sessions/{id}/end", post(connections::end_session)),
        (Everywhere, "/connections/denials/{id}/revise", post(connections::revise)),
        (Root, pages::stylesheet_path(), get(discovery::stylesheet)),
        (Root, "/assets/colour/{name}", get(discovery::colour)),
        // REST.
        (Everywhere, "/api/v1/delegations", get(api::delegations::list).delete(api::delegations::delete_many)),
        (Everywhere, "/api/v1/delegations/{id}", get(api::delegations::get).delete(api::delegations::delete)),
        (Everywhere, "/api/v1/delegations/{id}/consents/{client_id}", delete(api::delegations::delete_consents)),
        (Everywhere, "/api/v1/deliveries", get(api::deliveries::list)),
        (Everywhere, "/api/v1/deliveries/{id}", get(api::deliveries::get)),
        (Everywhere, "/api/v1/deliveries/{id}/retry", post(api::deliveries::retry)),
        (Everywhere, "/api/v1/keys", get(api::keys::list)),
        (Everywhere, "/api/v1/keys/fetchers", get(api::keys::fetchers)),
        (Everywhere, "/api/v1/keys/prepare", post(api::keys::prepare)),
        (Everywhere, "/api/v1/keys/{kid}/activate", post(api::keys::activate)),
        (Everywhere, "/api/v1/keys/{kid}/retire", post(api::keys::retire)),
        (Everywhere, "/api/v1/keys/{kid}/revoke", post(api::keys::revoke)),
        (Everywhere, "/api/v1/services", get(api::services::list).post(api::services::post)),
        (Everywhere, "/api/v1/services/discover", post(api::services::discover)),
        (
            Everywhere,
            "/api/v1/services/{id}",
            get(api::services::get).patch(api::services::patch).delete(api::services::delete),
        ),
        (Everywhere, "/api/v1/services/{id}/refresh", post(api::services::refresh)),
        (Everywhere, "/api/v1/services/{id}/pin", post(api::services::pin).delete(api::services::unpin)),
        (Everywhere, "/api/v1/users", get(api::users::list).post(api::users::post)),
        (Everywhere, "/api/v1/users/{sub}", get(api::users::get).patch(api::users::patch).delete(api::users::delete)),
        (Everywhere, "/api/v1/clients", get(api::clients::list).post(api::clients::post)),
        (
            Everywhere,
            "/api/v1/clients/{client_id}",
            get(api::clients::get).patch(api::clients::patch).delete(api::clients::delete),
        ),
        (Everywhere, "/api/v1/openapi.json", get(api::openapi::get)),
        (Root, "/api/v1/issuers", get(api::issuers::list).post(api::issuers::post)),
        (Root, "/api/v1/issuers/{id}", get(api::issuers::get).patch(api::issuers::patch).delete(api::issuers::delete)),
        // Operations.
        (Root, "/healthz", get(health::alive)),
        (Root, "/readyz", get(health::ready)),
        (Root, "/metrics", get(health::metrics)),
    ]
}

/// Where a route is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    /// At the root, and under each path issuer.
    Everywhere,
    /// Only at the root.
    Root,
}

/// Every route's path, for tests that try all of them.
pub fn paths() -> Vec<(Where, &'static str)> {
    routes().into_iter().map(|(at, path, _)| (at, path)).collect()
}

/// What `/api/v1` is (OpenAPI 3.1), as JSON; its addresses are relative to wherever it is put.
///
/// # Panics
/// Never: the document holds texts and numbers.
pub fn openapi() -> String {
    api::openapi::document("/").to_pretty_json().expect("the document is JSON")
}

/// The server.
pub fn router(host: Host) -> Router {
    let routes = routes();
    let root = routes.iter().filter(|(at, ..)| *at == Where::Root);
    let at_root = root.filter_map(|(_, path, _)| path.split('{').next()).collect();
    let timings = meters::Requests::of(routes.iter().map(|(_, path, _)| *path));
    let edge = edge::Edge::new(host.clone(), at_root, timings);
    let inner = routes.into_iter().fold(Router::new(), |router, (_, path, methods)| {
        router.route(
            path,
            methods.layer(middleware::map_response(move |response| ready(edge::note_route(path, response)))),
        )
    });
    let inner = inner.fallback(not_found).method_not_allowed_fallback(wrong_method).with_state(host);
    // Around a router of its own, since a router's layers see a request only after its path has been looked up.
    Router::new().fallback_service(inner).layer(middleware::from_fn_with_state(edge, edge::around))
}

async fn not_found(_: App) -> Result<Response, Error> {
    Err(Refusal::NotFound.into())
}

async fn wrong_method(_: App) -> Result<Response, Error> {
    Err(Refusal::MethodNotAllowed.into())
}

//! What `/api/v1` is, for machines: made from the handlers and from the types that they read and write (OpenAPI 3.1).

use axum::http::StatusCode;
use axum::response::Response;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{OpenApi, Server};
use utoipa::{Modify, OpenApi as _};

use super::super::error::Problem;
use super::super::reply;
use super::{Refused, clients, delegations, deliveries, issuers, keys, services, users};
use crate::error::Error;
use crate::host::App;

#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "Avouch", description = "Administration, and what users allow their agents"),
    paths(
        delegations::list, delegations::get, delegations::delete, delegations::delete_consents, delegations::delete_many,
        deliveries::list, deliveries::get, deliveries::retry,
        issuers::list, issuers::get, issuers::post, issuers::patch, issuers::delete,
        keys::list, keys::fetchers, keys::prepare, keys::activate, keys::retire, keys::revoke,
        services::list, services::get, services::post, services::discover, services::refresh, services::pin, services::unpin,
        services::patch, services::delete,
        users::list, users::get, users::post, users::patch, users::delete,
        clients::list, clients::get, clients::post, clients::patch, clients::delete,
    ),
    components(schemas(Problem), responses(Refused)),
    security(("bearer" = [])),
    modifiers(&Bearer),
)]
struct Described;

/// The document, for the issuer at `base`.
pub(in crate::http) fn document(base: &str) -> OpenApi {
    let mut document = Described::openapi();
    document.servers = Some(vec![Server::new(base)]);
    document
}

/// Needs no token: it says nothing that the documentation does not.
pub(in crate::http) async fn get(app: App) -> Result<Response, Error> {
    Ok(reply::json(StatusCode::OK, &document(app.issuer.url.as_str())))
}

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(
            "The admin token of the issuer or of the root, or a user's access token with the scope delegations (RFC 6750)",
        ));
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme.build()));
    }
}

//! `/api/v1/clients`: the agents that an issuer knows, for its administrator.

use axum::body::Body;
use axum::extract::RawQuery;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::extract::Segment;
use super::super::form::Pairs;
use super::super::reply::private_json;
use super::{Change, List, Refused, StateItem, admin_only, and_one, change, known, limit};
use crate::domain::administered::AdministeredClient;
use crate::domain::display_name::DisplayName;
use crate::domain::ids::ClientId;
use crate::domain::logout_uri::LogoutUri;
use crate::domain::redirect_uri::RedirectUri;
use crate::domain::refusal::Refusal;
use crate::error::Error;
use crate::flow::administer;
use crate::flow::bearer::Caller;
use crate::host::App;

/// The clients of the issuer, by `client_id`.
#[utoipa::path(
    get, path = "/api/v1/clients", tag = "clients", operation_id = "list_clients",
    params(
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
        ("limit" = Option<u8>, Query, minimum = 1, maximum = 200, description = "Rows of a page; 50 unless said"),
    ),
    responses((status = 200, body = inline(List<ClientItem>)), (status = "default", response = Refused)),
)]
pub(in crate::http) async fn list(app: App, caller: Caller, RawQuery(query): RawQuery) -> Result<Response, Error> {
    admin_only(&caller)?;
    let query = Pairs::parse(query.unwrap_or_default().as_bytes());
    known(&query, &["cursor", "limit"])?;
    let (cursor, limit) = (query.single("cursor")?, limit(&query)?);
    let rows = administer::clients(&app, cursor.as_deref(), and_one(limit)).await?;
    let next = (rows.len() > limit).then(|| rows[limit - 1].client.client_id.as_str());
    let items: Vec<_> = rows.iter().take(limit).map(ClientItem::of).collect();
    Ok(private_json(StatusCode::OK, &List { items, next }))
}

/// One client.
#[utoipa::path(
    get, path = "/api/v1/clients/{client_id}", tag = "clients", operation_id = "get_client",
    params(("client_id" = String, Path)),
    responses((status = 200, body = ClientItem), (status = "default", response = Refused)),
)]
pub(in crate::http) async fn get(app: App, caller: Caller, Segment(client_id): Segment) -> Result<Response, Error> {
    admin_only(&caller)?;
    let client = administer::client(&app, &named(client_id)?).await?;
    Ok(private_json(StatusCode::OK, &ClientItem::of(&client)))
}

/// Disables or enables a client. What users gave a disabled one ends, at services as well; that holds until it is enabled again, whatever the
/// configuration declares, and what was withdrawn does not come back.
#[utoipa::path(
    patch, path = "/api/v1/clients/{client_id}", tag = "clients", operation_id = "change_client",
    params(("client_id" = String, Path)),
    request_body = Change,
    responses((status = 200, body = ClientItem), (status = "default", response = Refused)),
)]
pub(in crate::http) async fn patch(
    app: App,
    caller: Caller,
    Segment(client_id): Segment,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    admin_only(&caller)?;
    let client = administer::change_client(&app, &named(client_id)?, change(&headers, body).await?).await?;
    Ok(private_json(StatusCode::OK, &ClientItem::of(&client)))
}

/// Disables a client. What is on record of it is kept, and it can be enabled again.
#[utoipa::path(
    delete, path = "/api/v1/clients/{client_id}", tag = "clients", operation_id = "disable_client",
    params(("client_id" = String, Path)),
    responses((status = 200, body = ClientItem), (status = "default", response = Refused)),
)]
pub(in crate::http) async fn delete(app: App, caller: Caller, Segment(client_id): Segment) -> Result<Response, Error> {
    admin_only(&caller)?;
    let client = administer::change_client(&app, &named(client_id)?, Some(true)).await?;
    Ok(private_json(StatusCode::OK, &ClientItem::of(&client)))
}

fn named(client_id: String) -> Result<ClientId, Refusal> {
    ClientId::try_from(client_id).map_err(|_| Refusal::NotFound)
}

#[derive(Serialize, ToSchema)]
#[schema(as = Client)]
struct ClientItem<'a> {
    client_id: &'a str,
    client_name: Option<&'a str>,
    token_endpoint_auth_method: &'static str,
    redirect_uris: Vec<&'a str>,
    grant_types: &'a [String],
    backchannel_logout_uri: Option<&'a str>,
    post_logout_redirect_uris: Vec<&'a str>,
    /// For which services it may ask at most: `*` for any.
    audiences: &'a [String],
    first_party: bool,
    #[serde(flatten)]
    state: StateItem,
}

fn uris(uris: &[RedirectUri]) -> Vec<&str> {
    uris.iter().map(RedirectUri::as_str).collect()
}

impl<'a> ClientItem<'a> {
    fn of(administered: &'a AdministeredClient) -> Self {
        let client = &administered.client;
        Self {
            client_id: client.client_id.as_str(),
            client_name: client.metadata.client_name.as_ref().map(DisplayName::as_str),
            token_endpoint_auth_method: client.metadata.token_endpoint_auth_method.as_str(),
            redirect_uris: uris(&client.metadata.redirect_uris),
            grant_types: &client.metadata.grant_types,
            backchannel_logout_uri: client.metadata.backchannel_logout_uri.as_ref().map(LogoutUri::as_str),
            post_logout_redirect_uris: uris(&client.metadata.post_logout_redirect_uris),
            audiences: &client.policy.audiences,
            first_party: client.policy.first_party,
            state: StateItem::of(&administered.state),
        }
    }
}

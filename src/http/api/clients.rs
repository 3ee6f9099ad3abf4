//! `/api/v1/clients`: the agents that an issuer knows, for its administrator.

use axum::body::Body;
use axum::extract::RawQuery;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::Object;

use super::super::extract::Segment;
use super::super::form::Pairs;
use super::super::reply::private_json;
use super::{List, Refused, StateItem, added, admin_only, and_one, disabled, known, limit, members};
use crate::domain::administered::AdministeredClient;
use crate::domain::display_name::DisplayName;
use crate::domain::ids::ClientId;
use crate::domain::logout_uri::LogoutUri;
use crate::domain::redirect_uri::RedirectUri;
use crate::domain::refusal::Refusal;
use crate::error::Error;
use crate::flow::bearer::Caller;
use crate::flow::{administer, register};
use crate::host::App;
use crate::secret::Secret;

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

/// Adds a client. One that authenticates by a secret gets one here, unless the hash of one is given: the answer is the only one that holds it.
#[utoipa::path(
    post, path = "/api/v1/clients", tag = "clients", operation_id = "add_client",
    request_body = NewClient,
    responses((status = 201, body = ClientWithSecret), (status = "default", response = Refused)),
)]
pub(in crate::http) async fn post(app: App, caller: Caller, headers: HeaderMap, body: Body) -> Result<Response, Error> {
    admin_only(&caller)?;
    let (client, secret) = register::add_client(&app, members(&headers, body).await?).await?;
    Ok(added(&app, "clients", client.client.client_id.as_str(), &ClientWithSecret::of(&client, secret.as_ref())))
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

/// Changes what it names and nothing else; null takes something away. What the configuration declares is changed there, disabling aside. What users gave a disabled one ends, at services as well; that holds until it is enabled again, whatever the
/// configuration declares, and what was withdrawn does not come back.
#[utoipa::path(
    patch, path = "/api/v1/clients/{client_id}", tag = "clients", operation_id = "change_client",
    params(("client_id" = String, Path)),
    request_body = ClientChange,
    responses((status = 200, body = ClientWithSecret), (status = "default", response = Refused)),
)]
pub(in crate::http) async fn patch(
    app: App,
    caller: Caller,
    Segment(client_id): Segment,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    admin_only(&caller)?;
    let id = named(client_id)?;
    let (client, secret) = register::change_client(&app, &id, members(&headers, body).await?).await?;
    Ok(private_json(StatusCode::OK, &ClientWithSecret::of(&client, secret.as_ref())))
}

/// Disables a client. What is on record of it is kept, and it can be enabled again.
#[utoipa::path(
    delete, path = "/api/v1/clients/{client_id}", tag = "clients", operation_id = "disable_client",
    params(("client_id" = String, Path)),
    responses((status = 200, body = ClientItem), (status = "default", response = Refused)),
)]
pub(in crate::http) async fn delete(app: App, caller: Caller, Segment(client_id): Segment) -> Result<Response, Error> {
    admin_only(&caller)?;
    let (client, _) = register::change_client(&app, &named(client_id)?, disabled()).await?;
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
    /// Whether a code is bound to a verifier of the client's.
    require_pkce: bool,
    #[serde(flatten)]
    state: StateItem,
}

/// A client, and the secret that it has just got.
#[derive(Serialize, ToSchema)]
struct ClientWithSecret<'a> {
    #[serde(flatten)]
    client: ClientItem<'a>,
    /// Absent where it got none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, read_only)]
    client_secret: Option<&'a str>,
}

impl<'a> ClientWithSecret<'a> {
    fn of(client: &'a AdministeredClient, secret: Option<&'a Secret>) -> Self {
        Self { client: ClientItem::of(client), client_secret: secret.map(Secret::expose) }
    }
}

/// What a client says of itself (RFC 7591 section 2), and what it is allowed.
#[derive(ToSchema)]
#[expect(dead_code, reason = "stands for its members, which `flow::register` reads")]
struct NewClient {
    /// 1 to 255 visible ASCII characters; no URL.
    client_id: String,
    client_name: Option<String>,
    /// `client_secret_basic`, `client_secret_post`, `private_key_jwt` or `none`; left out, it follows from what is given.
    token_endpoint_auth_method: Option<String>,
    /// In the place of a secret that is made here: SHA-256 of yours, in base64url.
    #[schema(write_only)]
    client_secret_hash: Option<String>,
    /// Its public keys, for `private_key_jwt`.
    jwks: Option<Object>,
    redirect_uris: Option<Vec<String>>,
    /// `authorization_code` unless said.
    grant_types: Option<Vec<String>>,
    /// `ES256` unless said, or `RS256`.
    id_token_signed_response_alg: Option<String>,
    backchannel_logout_uri: Option<String>,
    backchannel_logout_session_required: Option<bool>,
    post_logout_redirect_uris: Option<Vec<String>>,
    /// For which services it may ask at most: `*` for any.
    audiences: Option<Vec<String>>,
    first_party: Option<bool>,
    require_pkce: Option<bool>,
}

/// The same, but for the `client_id`, and whether the client is disabled.
#[derive(ToSchema)]
#[expect(dead_code, reason = "stands for its members, which `flow::register` reads")]
struct ClientChange {
    client_name: Option<String>,
    token_endpoint_auth_method: Option<String>,
    #[schema(write_only)]
    client_secret_hash: Option<String>,
    /// Whether it gets another secret; the one before is worth nothing any more.
    new_secret: Option<bool>,
    jwks: Option<Object>,
    redirect_uris: Option<Vec<String>>,
    grant_types: Option<Vec<String>>,
    id_token_signed_response_alg: Option<String>,
    backchannel_logout_uri: Option<String>,
    backchannel_logout_session_required: Option<bool>,
    post_logout_redirect_uris: Option<Vec<String>>,
    audiences: Option<Vec<String>>,
    first_party: Option<bool>,
    require_pkce: Option<bool>,
    disabled: Option<bool>,
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
            require_pkce: client.policy.require_pkce,
            state: StateItem::of(&administered.state),
        }
    }
}

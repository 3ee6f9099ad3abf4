//! `/api/v1/issuers`: issuers by path, for the root's administrator alone.

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::super::extract::Segment;
use super::super::form::Pairs;
use super::super::reply::private_json;
use super::{List, Refused, and_one, json, known, limit};
use crate::domain::display_name::DisplayName;
use crate::domain::issuer::{Colour, IssuerId, IssuerRecord, Logo};
use crate::domain::refusal::Refusal;
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::flow::bearer::Caller;
use crate::flow::issuers_admin::{self, Change, Looks, Patch};
use crate::flow::logo;
use crate::host::Host;

/// Most bytes of a body: a logo in base64, and the rest.
const MAX_BODY: usize = logo::MAX_BYTES / 3 * 4 + 64 * 1024;

/// The issuers of this server, by id. Root token only, as everything about issuers.
#[utoipa::path(
    get, path = "/api/v1/issuers", tag = "issuers", operation_id = "list_issuers",
    params(
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
        ("limit" = Option<u8>, Query, minimum = 1, maximum = 200, description = "Rows of a page; 50 unless said"),
    ),
    responses((status = 200, body = inline(List<IssuerItem>)), (status = "default", response = Refused)),
)]
pub(in crate::http) async fn list(
    State(host): State<Host>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, Error> {
    root_only(&caller)?;
    let query = Pairs::parse(query.unwrap_or_default().as_bytes());
    known(&query, &["cursor", "limit"])?;
    let (cursor, limit) = (query.single("cursor")?, limit(&query)?);
    let rows = issuers_admin::list(&host, cursor.as_deref(), and_one(limit)).await?;
    let next = (rows.len() > limit).then(|| rows[limit - 1].id.as_str());
    let items: Vec<_> = rows.iter().take(limit).map(IssuerItem::of).collect();
    Ok(private_json(StatusCode::OK, &List { items, next }))
}

/// One issuer.
#[utoipa::path(
    get, path = "/api/v1/issuers/{id}", tag = "issuers", operation_id = "get_issuer",
    params(("id" = String, Path)),
    responses((status = 200, body = IssuerItem), (status = "default", response = Refused)),
)]
pub(in crate::http) async fn get(
    State(host): State<Host>,
    caller: Caller,
    Segment(id): Segment,
) -> Result<Response, Error> {
    root_only(&caller)?;
    let row = issuers_admin::find(&host, &id).await?;
    Ok(private_json(StatusCode::OK, &IssuerItem::of(&row)))
}

/// Adds an issuer. The answer is the only one that holds its admin token.
#[utoipa::path(
    post, path = "/api/v1/issuers", tag = "issuers", operation_id = "add_issuer",
    request_body = NewIssuer,
    responses((status = 201, body = AddedIssuer), (status = "default", response = Refused)),
)]
pub(in crate::http) async fn post(
    State(host): State<Host>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    root_only(&caller)?;
    let new: NewIssuer = json(&headers, body, MAX_BODY).await?;
    let id = IssuerId::parse(&new.id).map_err(|e| Refusal::Malformed("id", e.0))?;
    let looks = Looks {
        name: name(&new.name)?,
        colour: new.colour.as_deref().map(colour).transpose()?,
        logo: match new.logo {
            Some(picture) => Some(drawn(picture).await?),
            None => None,
        },
    };
    let (row, token) = issuers_admin::add(&host, &id, &looks).await?;
    let item = AddedIssuer { issuer: IssuerItem::of(&row), admin_token: token.expose() };
    let mut response = private_json(StatusCode::CREATED, &item);
    if let Ok(location) = HeaderValue::try_from(format!("/api/v1/issuers/{id}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// Changes what it names and nothing else; `null` takes a colour or a logo away.
#[utoipa::path(
    patch, path = "/api/v1/issuers/{id}", tag = "issuers", operation_id = "change_issuer",
    params(("id" = String, Path)),
    request_body = IssuerPatch,
    responses((status = 200, body = IssuerItem), (status = "default", response = Refused)),
)]
pub(in crate::http) async fn patch(
    State(host): State<Host>,
    caller: Caller,
    Segment(id): Segment,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    root_only(&caller)?;
    let patch: IssuerPatch = json(&headers, body, MAX_BODY).await?;
    let change = Change {
        name: patch.name.as_deref().map(name).transpose()?,
        colour: match patch.colour {
            Patch::Keep => Patch::Keep,
            Patch::Remove => Patch::Remove,
            Patch::Set(text) => Patch::Set(colour(&text)?),
        },
        logo: match patch.logo {
            Patch::Keep => Patch::Keep,
            Patch::Remove => Patch::Remove,
            Patch::Set(picture) => Patch::Set(drawn(picture).await?),
        },
        disabled: patch.disabled,
    };
    let row = issuers_admin::change(&host, &id, &change).await?;
    Ok(private_json(StatusCode::OK, &IssuerItem::of(&row)))
}

/// Disables an issuer: what was agreed to and signed there is kept, and it can be enabled again.
#[utoipa::path(
    delete, path = "/api/v1/issuers/{id}", tag = "issuers", operation_id = "disable_issuer",
    params(("id" = String, Path)),
    responses((status = 200, body = IssuerItem), (status = "default", response = Refused)),
)]
pub(in crate::http) async fn delete(
    State(host): State<Host>,
    caller: Caller,
    Segment(id): Segment,
) -> Result<Response, Error> {
    root_only(&caller)?;
    let change = Change { disabled: Some(true), ..Change::default() };
    let row = issuers_admin::change(&host, &id, &change).await?;
    Ok(private_json(StatusCode::OK, &IssuerItem::of(&row)))
}

fn root_only(caller: &Caller) -> Result<(), Refusal> {
    if matches!(caller, Caller::Root) { Ok(()) } else { Err(Refusal::RootOnly) }
}

fn name(text: &str) -> Result<DisplayName, Refusal> {
    DisplayName::parse(text).map_err(|e| Refusal::Malformed("name", e.0))
}

fn colour(text: &str) -> Result<Colour, Refusal> {
    Colour::parse(text).map_err(|e| Refusal::Malformed("colour", e.0))
}

async fn drawn(picture: String) -> Result<Logo, Error> {
    let bytes = STANDARD.decode(picture).map_err(|_| Refusal::Malformed("logo", "must be base64"))?;
    let drawn = tokio::task::spawn_blocking(move || logo::redraw(&bytes)).await;
    let drawn = drawn.map_err(|_| Error::invariant("drawing a picture does not panic"))?;
    Ok(drawn.map_err(|e| Refusal::Malformed("logo", e.0))?)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewIssuer {
    id: String,
    name: String,
    #[serde(default)]
    colour: Option<String>,
    /// A PNG or JPEG in base64.
    #[serde(default)]
    logo: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct IssuerPatch {
    #[serde(default)]
    name: Option<String>,
    #[serde(default, deserialize_with = "patch_of")]
    #[schema(value_type = Option<String>)]
    colour: Patch<String>,
    #[serde(default, deserialize_with = "patch_of")]
    #[schema(value_type = Option<String>)]
    logo: Patch<String>,
    #[serde(default)]
    disabled: Option<bool>,
}

/// A member that is there: `null` takes away.
fn patch_of<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Patch<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.map_or(Patch::Remove, Patch::Set))
}

#[derive(Serialize, ToSchema)]
#[schema(as = Issuer)]
struct IssuerItem<'a> {
    id: &'a str,
    issuer: &'a str,
    name: &'a str,
    colour: Option<&'a str>,
    /// Whether it has one.
    logo: bool,
    /// `active` or `disabled`.
    status: &'static str,
    /// Whether the configuration declares it.
    declared: bool,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    disabled_at: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct AddedIssuer<'a> {
    #[serde(flatten)]
    issuer: IssuerItem<'a>,
    admin_token: &'a str,
}

impl<'a> IssuerItem<'a> {
    fn of(row: &'a IssuerRecord) -> Self {
        Self {
            id: &row.id,
            issuer: &row.url,
            name: &row.name,
            colour: row.colour.as_ref().map(Colour::as_str),
            logo: row.logo_hash.is_some(),
            status: if row.disabled_at.is_some() { "disabled" } else { "active" },
            declared: row.is_declared(),
            created_at: row.created_at.rfc3339(),
            disabled_at: row.disabled_at.map(Timestamp::rfc3339),
        }
    }
}

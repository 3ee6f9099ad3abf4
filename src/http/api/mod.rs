//! `/api/v1`: REST with bearer tokens, one file for each resource.

pub(super) mod clients;
pub(super) mod delegations;
pub(super) mod deliveries;
pub(super) mod issuers;
pub(super) mod keys;
pub(super) mod openapi;
pub(super) mod services;
pub(super) mod users;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::openapi::{Object, ObjectBuilder, Type};
use utoipa::{ToResponse, ToSchema};

use super::error::Problem;
use super::form::{Pairs, whole};
use crate::domain::Vocabulary;
use crate::domain::administered::State;
use crate::domain::issuer::Origin;
use crate::domain::refusal::Refusal;
use crate::flow::administer;
use crate::flow::bearer::Caller;

/// Rows of a page, unless `limit` says less or more.
const USUAL: usize = 50;
/// Most rows of a page.
const MAX_PAGE: usize = 200;

/// The shape of every list.
#[derive(Serialize, ToSchema)]
struct List<'a, T> {
    items: Vec<T>,
    /// `cursor` of the next page; `null` on the last.
    next: Option<&'a str>,
}

/// What may change of a user, client or service.
#[derive(Deserialize, ToSchema)]
#[schema(as = StateChange)]
#[serde(deny_unknown_fields)]
struct Change {
    /// Left out, it stays as it is.
    #[serde(default)]
    disabled: Option<bool>,
}

/// Reads that.
async fn change(headers: &HeaderMap, body: Body) -> Result<administer::Change, Refusal> {
    const MAX: usize = 1024;
    json::<Change>(headers, body, MAX).await.map(|change| change.disabled)
}

/// How a user, client or service stands.
#[derive(Serialize, ToSchema)]
struct StateItem {
    /// `active` or `disabled`.
    status: &'static str,
    /// Whether the configuration declares it, or did last.
    declared: bool,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    disabled_at: Option<String>,
    /// `config`: it disappeared from the configuration, and comes back with it. `admin`: an administrator enables it again.
    disabled_by: Option<&'static str>,
}

impl StateItem {
    fn of(state: &State) -> Self {
        Self {
            status: state.word(),
            declared: state.is_declared,
            created_at: state.created_at.rfc3339(),
            disabled_at: state.disabled.map(|(at, _)| at.rfc3339()),
            disabled_by: state.disabled_by().map(Origin::as_str),
        }
    }
}

/// What every operation answers when it refuses.
#[derive(ToResponse)]
#[response(
    description = "Refused, and nothing changed: problem details with a stable `code` (RFC 9457)",
    content_type = "application/problem+json"
)]
struct Refused(#[expect(dead_code, reason = "stands for its type")] Problem<'static>);

/// The schema of one word of a vocabulary.
fn word_of<V: Vocabulary>() -> Object {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(V::WORDS.iter().copied())).build()
}

/// How many rows a page shall have.
fn limit(query: &Pairs) -> Result<usize, Refusal> {
    match query.single("limit")? {
        None => Ok(USUAL),
        Some(text) => Some(text)
            .filter(|text| text.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|text| text.parse().ok())
            .filter(|n| (1..=MAX_PAGE).contains(n))
            .ok_or(Refusal::BadQuery("limit must be 1 to 200".into())),
    }
}

/// Where a page of a list goes on that goes by our keys.
fn cursor(query: &Pairs) -> Result<Option<String>, Refusal> {
    let cursor = query.single("cursor")?;
    if cursor.as_ref().is_some_and(|c| c.len() != 32 || !c.bytes().all(|b| b.is_ascii_hexdigit())) {
        return Err(Refusal::BadQuery("cursor is not the next of a list".into()));
    }
    Ok(cursor)
}

/// What to ask the database for: one more row tells whether there is a next page.
fn and_one(limit: usize) -> i64 {
    i64::try_from(limit + 1).unwrap_or(i64::MAX)
}

/// Refuses a filter that nobody knows: ignored, it would answer with more than was asked for.
fn known(query: &Pairs, filters: &[&str]) -> Result<(), Refusal> {
    match query.unknown(filters) {
        Some(unknown) => Err(Refusal::BadQuery(format!("there is no filter {unknown}"))),
        None => Ok(()),
    }
}

fn admin_only(caller: &Caller) -> Result<(), Refusal> {
    match caller {
        Caller::Root | Caller::Admin => Ok(()),
        Caller::User(_) => Err(Refusal::AdminOnly),
    }
}

/// Reads a JSON body of at most `max` bytes.
async fn json<T: DeserializeOwned>(headers: &HeaderMap, body: Body, max: usize) -> Result<T, Refusal> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        return Err(Refusal::NotJson);
    }
    let bytes = whole(headers, body, max).await?;
    // Members by their places would be taken for members by their names.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(Refusal::JsonMalformed("it is a list, where an object is expected".to_owned()));
    }
    serde_json::from_slice(&bytes).map_err(|e| Refusal::JsonMalformed(e.to_string()))
}

/// The same where there need not be one.
async fn json_or_nothing<T: DeserializeOwned + Default>(
    headers: &HeaderMap,
    body: Body,
    max: usize,
) -> Result<T, Refusal> {
    if headers.contains_key(header::CONTENT_TYPE) {
        return json(headers, body, max).await;
    }
    match whole(headers, body, 0).await {
        Ok(_) => Ok(T::default()),
        Err(Refusal::BodyTooLarge) => Err(Refusal::NotJson),
        Err(refusal) => Err(refusal),
    }
}

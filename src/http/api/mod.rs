//! `/api/v1`: REST with bearer tokens, one file for each resource.

pub(super) mod clients;
pub(super) mod delegations;
pub(super) mod deliveries;
pub(super) mod issuers;
pub(super) mod keys;
pub(super) mod openapi;
pub(super) mod services;
pub(super) mod users;

use std::fmt;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::de::{DeserializeOwned, Deserializer, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use utoipa::openapi::{Object, ObjectBuilder, Type};
use utoipa::{ToResponse, ToSchema};

use super::error::Problem;
use super::form::{Pairs, whole};
use super::reply::private_json;
use crate::domain::Vocabulary;
use crate::domain::administered::{Standing, State};
use crate::domain::members::quote;
use crate::domain::refusal::Refusal;
use crate::domain::time::Timestamp;
use crate::flow::bearer::Caller;
use crate::flow::register::Members;
use crate::host::App;

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

/// Reads what is said of a user, client or service that is added or changed.
async fn members(headers: &HeaderMap, body: Body) -> Result<Members, Refusal> {
    const MAX: usize = 64 * 1024;
    let Once(members) = json(headers, body, MAX).await?;
    Ok(members)
}

/// Members of which each stands there once: who else reads the body might take the other one (RFC 8259 section 4).
struct Once(Members);

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Once;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Once, A::Error> {
                let mut members = Members::new();
                while let Some((name, value)) = access.next_entry::<String, serde_json::Value>()? {
                    if members.contains_key(&name) {
                        return Err(A::Error::custom(format_args!("duplicate field {}", quote(&name))));
                    }
                    members.insert(name, value);
                }
                Ok(Once(members))
            }
        }
        deserializer.deserialize_map(Each)
    }
}

/// That it is disabled, said as a change.
fn disabled() -> Members {
    [("disabled".to_owned(), true.into())].into_iter().collect()
}

/// The answer to what was added, at its own address.
fn added(app: &App, path: &str, name: &str, item: &impl Serialize) -> Response {
    let mut response = private_json(StatusCode::CREATED, item);
    // A space would be a plus in a form; there is none in any of these names.
    let location: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
    if let Ok(location) = HeaderValue::try_from(app.issuer.url.at(&format!("/api/v1/{path}/{location}"))) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// How a user, client or service stands.
#[derive(Serialize, ToSchema)]
struct StateItem {
    /// `active`; `disabled` where `disabled_at` or `undeclared_at` says so; `withdrawing` where neither does any more, and what stood under it is
    /// still being withdrawn: it is active as soon as that is done.
    #[schema(schema_with = word_of::<Standing>)]
    status: &'static str,
    /// Whether the configuration declares it.
    declared: bool,
    #[schema(format = DateTime)]
    created_at: String,
    /// Since when an administrator has it disabled, who alone enables it again.
    #[schema(format = DateTime)]
    disabled_at: Option<String>,
    /// Since when the configuration declares it no longer; it comes back with that alone.
    #[schema(format = DateTime)]
    undeclared_at: Option<String>,
}

impl StateItem {
    fn of(state: &State) -> Self {
        Self {
            status: state.standing().as_str(),
            declared: state.is_declared(),
            created_at: state.created_at.rfc3339(),
            disabled_at: state.stopped_at.map(Timestamp::rfc3339),
            undeclared_at: state.undeclared_at.map(Timestamp::rfc3339),
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

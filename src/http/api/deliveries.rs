//! `/api/v1/deliveries`: notices on their way and those that have ended, for the issuer's administrator.

use axum::extract::RawQuery;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::extract::Segment;
use super::super::form::Pairs;
use super::super::reply::private_json;
use super::delegations::DeliveryItem;
use super::{List, Refused, admin_only, and_one, cursor, known, limit, word_of};
use crate::domain::notice::{Attempt, Deliveries, Delivery, DeliveryState};
use crate::domain::refusal::Refusal;
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::flow::bearer::Caller;
use crate::flow::deliveries::{self, Told};
use crate::host::App;

/// The notices of the issuer, the oldest first.
#[utoipa::path(
    get, path = "/api/v1/deliveries", tag = "deliveries", operation_id = "list_deliveries",
    params(
        ("state" = Option<String>, Query, description = "`queued`, `delivered`, `refused`, `given_up`, `unproven` or `cancelled`"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
        ("limit" = Option<u8>, Query, minimum = 1, maximum = 200, description = "Rows of a page; 50 unless said"),
    ),
    responses((status = 200, body = inline(List<NoticeItem>)), (status = "default", response = Refused)),
)]
pub(in crate::http) async fn list(app: App, caller: Caller, RawQuery(query): RawQuery) -> Result<Response, Error> {
    admin_only(&caller)?;
    let query = Pairs::parse(query.unwrap_or_default().as_bytes());
    known(&query, &["state", "cursor", "limit"])?;
    let state = match query.single("state")? {
        None => None,
        Some(word) => Some(DeliveryState::parse(&word).ok_or(Refusal::BadQuery("there is no such state".into()))?),
    };
    let (cursor, limit) = (cursor(&query)?, limit(&query)?);
    let filter = Deliveries { state, after: cursor.as_deref().unwrap_or_default(), limit: and_one(limit) };
    let rows = deliveries::list(&app, filter).await?;
    let next = (rows.len() > limit).then(|| rows[limit - 1].id.as_str());
    let items: Vec<_> = rows.iter().take(limit).map(NoticeItem::of).collect();
    Ok(private_json(StatusCode::OK, &List { items, next }))
}

/// One notice, with the attempts at it.
#[utoipa::path(
    get, path = "/api/v1/deliveries/{id}", tag = "deliveries", operation_id = "get_delivery",
    params(("id" = String, Path)),
    responses((status = 200, body = WholeNotice), (status = "default", response = Refused)),
)]
pub(in crate::http) async fn get(app: App, caller: Caller, Segment(id): Segment) -> Result<Response, Error> {
    admin_only(&caller)?;
    Ok(private_json(StatusCode::OK, &WholeNotice::of(&deliveries::find(&app, &id).await?)))
}

/// Lets a notice be tried now; one that was refused, given up or unproven begins its schedule anew.
#[utoipa::path(
    post, path = "/api/v1/deliveries/{id}/retry", tag = "deliveries", operation_id = "retry_delivery",
    params(("id" = String, Path)),
    responses((status = 202, body = WholeNotice), (status = "default", response = Refused)),
)]
pub(in crate::http) async fn retry(app: App, caller: Caller, Segment(id): Segment) -> Result<Response, Error> {
    admin_only(&caller)?;
    Ok(private_json(StatusCode::ACCEPTED, &WholeNotice::of(&deliveries::retry(&app, &id).await?)))
}

#[derive(Serialize, ToSchema)]
#[schema(as = Notice)]
struct NoticeItem<'a> {
    #[serde(flatten)]
    delivery: DeliveryItem<'a>,
    /// None where a client is told that a user signed out; `aud` is its `client_id` then.
    delegation_id: Option<&'a str>,
    /// The session that has ended, then.
    sid: Option<&'a str>,
    sub: &'a str,
    aud: &'a str,
    #[schema(format = DateTime)]
    created_at: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = NoticeWithAttempts)]
struct WholeNotice<'a> {
    #[serde(flatten)]
    notice: NoticeItem<'a>,
    tried: Vec<AttemptItem<'a>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Attempt)]
struct AttemptItem<'a> {
    #[schema(format = DateTime)]
    at: String,
    /// From 1, and from 1 again after a retry of one that had ended.
    number: i64,
    jti: &'a str,
    kid: &'a str,
    endpoint: &'a str,
    /// The status of the answer.
    status: Option<i64>,
    /// Why there was none.
    error: Option<&'a str>,
    /// Milliseconds until the answer, or until that was given up.
    latency_ms: i64,
    /// The first 1,024 bytes of the answer, in the words of whoever sent it; what is not seen is an escape.
    answer: &'a str,
    /// How it left the notice.
    #[schema(schema_with = word_of::<DeliveryState>)]
    state: DeliveryState,
    /// Whether that counted: not where the worker had been away for so long that another one tried too.
    held: bool,
}

impl<'a> NoticeItem<'a> {
    fn of(delivery: &'a Delivery) -> Self {
        Self {
            delivery: DeliveryItem::of(delivery),
            delegation_id: delivery.delegation_id.as_deref(),
            sid: delivery.sid.as_deref(),
            sub: delivery.sub.as_str(),
            aud: &delivery.aud,
            created_at: delivery.created_at.rfc3339(),
        }
    }
}

impl<'a> WholeNotice<'a> {
    fn of(told: &'a Told) -> Self {
        let tried = told.attempts.iter().map(|(at, attempt)| AttemptItem::of(*at, attempt)).collect();
        Self { notice: NoticeItem::of(&told.delivery), tried }
    }
}

impl<'a> AttemptItem<'a> {
    fn of(at: Timestamp, attempt: &'a Attempt) -> Self {
        Self {
            at: at.rfc3339(),
            number: attempt.number,
            jti: attempt.jti.as_str(),
            kid: attempt.kid.as_str(),
            endpoint: &attempt.endpoint,
            status: attempt.status,
            error: attempt.error.as_deref(),
            latency_ms: attempt.latency,
            answer: &attempt.answer,
            state: attempt.state,
            held: attempt.held,
        }
    }
}

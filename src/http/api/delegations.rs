//! `/api/v1/delegations`: list, look, withdraw.

use axum::extract::RawQuery;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};

use super::super::form::Pairs;
use super::super::segment::Segment;
use super::super::{error, reply, words};
use crate::domain::consent::Mode;
use crate::domain::delegation::{Delegation, Status};
use crate::domain::refusal::Refusal;
use crate::error::Error;
use crate::flow::connections::{Connection, Delivery, Filter, connection, list as page};
use crate::flow::withdraw::withdraw;
use crate::host::App;

/// Rows of a page, unless `limit` says less or more.
const USUAL: i64 = 50;
/// Most rows of a page.
const MAX_PAGE: i64 = 200;

pub(in crate::http) async fn list(app: App, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let outcome = async {
        let caller = super::caller(&app, &headers).await?;
        let query = Pairs::parse(query.unwrap_or_default().as_bytes());
        if let Some(unknown) = query.unknown(&["sub", "aud", "client_id", "status", "cursor", "limit"]) {
            return Err(Refusal::BadQuery(format!("there is no filter {unknown}")).into());
        }
        let (sub, aud, client_id, cursor) =
            (query.single("sub")?, query.single("aud")?, query.single("client_id")?, query.single("cursor")?);
        let status = match query.single("status")? {
            None => None,
            Some(name) => Some(
                Status::parse(&name)
                    .ok_or(Refusal::BadQuery("status must be active, withdrawing or withdrawn".into()))?,
            ),
        };
        let limit = match query.single("limit")? {
            None => USUAL,
            Some(text) => Some(text)
                .filter(|text| text.bytes().all(|b| b.is_ascii_digit()))
                .and_then(|text| text.parse().ok())
                .filter(|n| (1..=MAX_PAGE).contains(n))
                .ok_or(Refusal::BadQuery("limit must be 1 to 200".into()))?,
        };
        if cursor.as_ref().is_some_and(|c| c.len() != 32 || !c.bytes().all(|b| b.is_ascii_hexdigit())) {
            return Err(Refusal::BadQuery("cursor is not the next of a list".into()).into());
        }
        let filter = Filter {
            account_id: None,
            sub: sub.as_deref(),
            aud: aud.as_deref(),
            client_id: client_id.as_deref(),
            status,
            after: cursor.as_deref(),
            limit: limit + 1,
        };
        let mut rows = page(&app, &caller, filter).await?;
        let more = rows.len() > usize::try_from(limit).unwrap_or(usize::MAX);
        rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        let next = rows.last().filter(|_| more).map(|d| d.id.clone());
        Ok(json!({"items": rows.iter().map(brief).collect::<Vec<_>>(), "next": next}))
    };
    respond(&app, StatusCode::OK, outcome.await)
}

pub(in crate::http) async fn get(app: App, Segment(id): Segment, headers: HeaderMap) -> Response {
    let outcome = async {
        let caller = super::caller(&app, &headers).await?;
        Ok(whole(&connection(&app, &caller, &id).await?))
    };
    respond(&app, StatusCode::OK, outcome.await)
}

/// Withdraws. 202, for the service is told afterwards.
pub(in crate::http) async fn delete(app: App, Segment(id): Segment, headers: HeaderMap) -> Response {
    let outcome = async {
        let caller = super::caller(&app, &headers).await?;
        let (delegation, deliveries) = withdraw(&app, &caller, &id).await?;
        let mut body = brief(&delegation);
        body["deliveries"] = deliveries.iter().map(delivery).collect();
        Ok(body)
    };
    respond(&app, StatusCode::ACCEPTED, outcome.await)
}

fn respond(app: &App, status: StatusCode, outcome: Result<Value, Error>) -> Response {
    match outcome {
        Ok(body) => {
            let mut response = reply::json(status, &body);
            reply::no_store(&mut response);
            response
        }
        Err(error) => error::problem(app, error),
    }
}

fn brief(delegation: &Delegation) -> Value {
    json!({
        "id": delegation.id,
        "iss": delegation.iss,
        "sub": delegation.sub,
        "aud": delegation.aud,
        "status": delegation.status().as_str(),
        "created_at": words::rfc3339(delegation.created_at),
        "last_used_at": delegation.last_used_at.map(words::rfc3339),
        "mint_count": delegation.mint_count,
        "ended_at": delegation.ended_at.map(words::rfc3339),
    })
}

fn whole(connection: &Connection) -> Value {
    let mut body = brief(&connection.delegation);
    let consents = connection.consents.iter().map(|(client, consent)| {
        json!({
            "id": consent.id,
            "client_id": client.client_id,
            "mode": consent.mode.as_str(),
            "until": if let Mode::Until(at) = consent.mode { Some(words::rfc3339(at)) } else { None },
            "scope": consent.scope.to_string(),
            "resource": consent.resources,
            "created_at": words::rfc3339(consent.created_at),
            "last_used_at": consent.last_used_at.map(words::rfc3339),
            "ended_at": consent.ended_at.map(words::rfc3339),
        })
    });
    body["consents"] = consents.collect();
    body["deliveries"] = connection.deliveries.iter().map(delivery).collect();
    body
}

fn delivery(delivery: &Delivery) -> Value {
    json!({
        "id": delivery.id,
        "format": delivery.format,
        "endpoint": delivery.endpoint,
        "state": delivery.state,
        "attempts": delivery.attempts,
        "due_at": words::rfc3339(delivery.due_at),
        "ended_at": delivery.ended_at.map(words::rfc3339),
        "last_status": delivery.last_status,
        "last_error": delivery.last_error,
    })
}

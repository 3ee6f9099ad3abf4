//! One attempt at one notice: signed now, posted, settled (auth.md v0.1, "Revocation"; wire facts 1.6).

use std::time::Duration;

use url::Url;

use crate::domain::claims::{LOGOUT, LogoutToken};
use crate::domain::journal::Event;
use crate::domain::notice::{Attempt, Delivery, DeliveryState};
use crate::domain::retry::{Answer, Next, next};
use crate::error::Error;
use crate::host::App;
use crate::net::{Method, NetError, Request};
use crate::store::{Entry, Settled};

/// Time for the whole exchange with a service.
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// Seconds a worker holds a notice: longer than an attempt can take.
pub const LEASE: i64 = 10;
/// Most bytes of an answer that are read; none of them matter.
const MAX_ANSWER: usize = 16 * 1024;

/// Leases what is due, for `worker`.
///
/// # Errors
/// Faults.
pub async fn claim(app: &App, worker: &str, limit: i64) -> Result<Vec<Delivery>, Error> {
    let now = app.now();
    // Most of the time nothing is due, and to find that out takes no transaction.
    if app.store.read().await?.next_due(now).await?.is_none_or(|due| due > now) {
        return Ok(Vec::new());
    }
    let mut tx = app.store.begin().await?;
    let claimed = tx.claim(worker, now, LEASE, limit).await?;
    tx.commit().await?;
    Ok(claimed)
}

/// Makes one attempt at a leased notice and settles it. The token is signed here and now: fresh `jti` and `iat`, current key, so that
/// neither a rotation nor a week of waiting makes it stale, and no receiver takes it for a replay.
///
/// # Errors
/// Faults; the lease then runs out and another attempt follows.
pub async fn attempt(app: &App, delivery: &Delivery, worker: &str) -> Result<(), Error> {
    let jti = app.rng.jti();
    let claims = LogoutToken::revoked(&delivery.iss, &delivery.sub, &delivery.aud, jti.clone(), app.now());
    let ring = &app.issuer.ring;
    let token = ring.active.sign(LOGOUT, &claims)?;
    let sent = post(app, delivery, token).await;
    let now = app.now();
    let (answer, status, error) = match &sent {
        Ok((status, retry_after)) => (Answer::Status(*status, *retry_after), Some(i64::from(*status)), None),
        Err(error) => (Answer::None, None, Some(*error)),
    };
    let (state, due_at) = match next(delivery.attempts, answer, now, delivery.give_up_at, app.rng.fraction()) {
        Next::Delivered => (DeliveryState::Delivered, now),
        Next::Again(at) => (DeliveryState::Queued, at),
        Next::Refused => (DeliveryState::Refused, now),
        Next::GivenUp => (DeliveryState::GivenUp, now),
    };
    let mut tx = app.store.begin().await?;
    let settled = Settled { state, due_at, status, error };
    let held = tx.settle(&delivery.id, worker, &settled, now).await?;
    // An attempt whose lease ran out was made all the same, and is told; its outcome is the next worker's to decide.
    let event = Event::DeliveryAttempt(Attempt {
        delivery_id: delivery.id.clone(),
        number: delivery.attempts,
        jti,
        kid: ring.active.kid().to_owned(),
        endpoint: delivery.endpoint.clone(),
        status,
        error: error.map(str::to_owned),
        state,
        due_at,
        held,
    });
    tx.record(Entry { delegation_id: Some(&delivery.delegation_id), ..Entry::new(app.id(), now, event) }).await?;
    tx.commit().await?;
    tracing::info!(
        delivery = delivery.id,
        attempt = delivery.attempts,
        status,
        error,
        state = state.as_str(),
        "told a service of a withdrawal"
    );
    Ok(())
}

/// Posts a token in its format. Answers with the status and the seconds of a `Retry-After`.
async fn post(app: &App, delivery: &Delivery, token: String) -> Result<(u16, Option<i64>), &'static str> {
    let url = Url::parse(&delivery.endpoint).map_err(|_| "the endpoint is no URL")?;
    let headers =
        vec![("content-type", delivery.format.content_type().to_owned()), ("accept", "application/json".to_owned())];
    let request = Request {
        method: Method::Post,
        url,
        headers,
        body: token.into_bytes(),
        timeout: TIMEOUT,
        max_body: MAX_ANSWER,
    };
    match app.net.send(request).await {
        Ok(response) => Ok((response.status, response.header("retry-after").and_then(|v| v.trim().parse().ok()))),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "a notice found no answer");
            Err(match error {
                NetError::NotAllowed(_) => "its address is not allowed",
                NetError::Timeout => "no answer in time",
                NetError::TooLarge { .. } => "its answer was too large",
                NetError::Unresolvable(_) => "its name does not resolve",
                NetError::Connect(_) => "it cannot be reached",
                _ => "the exchange broke off",
            })
        }
    }
}

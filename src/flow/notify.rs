//! One attempt at one notice: signed now, posted, settled (auth.md v0.1, "Revocation").

use std::time::Duration;

use url::Url;

use crate::domain::claims::{LOGOUT, LogoutToken};
use crate::domain::journal::Event;
use crate::domain::notice::{Attempt, Delivery, DeliveryState};
use crate::domain::retry::{Answer, Next, next};
use crate::domain::time::Seconds;
use crate::error::Error;
use crate::flow::issuers;
use crate::host::{App, Host};
use crate::meters;
use crate::net::{Method, NetError, Request};
use crate::store::{Entry, Settled};

/// Time for the whole exchange with a service.
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// Seconds a worker holds the notices of a host.
pub const LEASE: Seconds = Seconds(10);
/// Seconds after which no further attempt is begun under a lease: one that takes as long as it may still ends under it.
const LEASE_MARGIN: Seconds = Seconds(3);
/// Most notices of one host that are leased together.
const RUN: i64 = 16;
/// Most bytes of an answer's body that are read; none of them matter.
const MAX_ANSWER: usize = 16 * 1024;

/// Where a worker's last claim ended: the next one goes on there, so that all hosts have their turn.
#[derive(Debug, Default)]
pub struct Cursor(String);

/// Leases what is due, for `worker`: of at most `hosts` hosts, each one's notices together.
///
/// # Errors
/// Faults.
pub async fn claim(
    host: &Host,
    worker: &str,
    hosts: i64,
    Cursor(after): &mut Cursor,
) -> Result<Vec<Vec<Delivery>>, Error> {
    let now = host.now();
    // Most of the time nothing is due, and to find that out takes no transaction.
    if host.database.read().await?.next_due(now).await?.is_none_or(|due| due > now) {
        return Ok(Vec::new());
    }
    let mut tx = host.database.begin().await?;
    let mut claimed = by_host(&tx.claim(worker, now, LEASE, (hosts, RUN), after).await?);
    let left = hosts - i64::try_from(claimed.len()).unwrap_or(hosts);
    if left > 0 && !after.is_empty() {
        // Round again, from the first.
        claimed.extend(by_host(&tx.claim(worker, now, LEASE, (left, RUN), "").await?));
    }
    tx.commit().await?;
    *after = claimed.last().map(|notices| notices[0].host.clone()).unwrap_or_default();
    Ok(claimed)
}

fn by_host(notices: &[Delivery]) -> Vec<Vec<Delivery>> {
    notices.chunk_by(|a, b| a.host == b.host).map(<[Delivery]>::to_vec).collect()
}

/// Tells one host, notice by notice over one connection, the oldest first. Stops at the first that it does not take, and when the lease
/// would not last for another attempt; what is left is given back.
///
/// # Errors
/// Faults; the lease then runs out and other attempts follow.
pub async fn tell(host: &Host, notices: &[Delivery], worker: &str) -> Result<(), Error> {
    let begun = host.now();
    let mut speaker: Option<App> = None;
    for (n, delivery) in notices.iter().enumerate() {
        let app = match speaker.take().filter(|app| *app.issuer.id == delivery.issuer_id) {
            Some(app) => Ok(app),
            // What a user was promised is sent also for an issuer that was disabled since.
            None => issuers::owing(host, &delivery.issuer_id).await,
        };
        let outcome = match app {
            Ok(app) => attempt(speaker.insert(app), delivery, worker).await,
            Err(error) => Err(error),
        };
        let go_on = matches!(outcome, Ok(true)) && host.now() - begun <= LEASE_MARGIN;
        let rest: Vec<&str> = notices[n + 1..].iter().map(|delivery| delivery.id.as_str()).collect();
        if !go_on && !rest.is_empty() {
            let mut tx = host.database.begin().await?;
            tx.release(&rest, worker).await?;
            tx.commit().await?;
        }
        if !go_on {
            return outcome.map(drop);
        }
    }
    Ok(())
}

/// Makes one attempt at a leased notice and settles it. The token is signed here and now: fresh `jti` and `iat`, current key, so that
/// neither a rotation nor a week of waiting makes it stale, and no receiver takes it for a replay.
///
/// Says whether the service has it.
///
/// # Errors
/// Faults; the lease then runs out and another attempt follows.
async fn attempt(app: &App, delivery: &Delivery, worker: &str) -> Result<bool, Error> {
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
        kid: ring.active.kid().clone(),
        endpoint: delivery.endpoint.clone(),
        status,
        error: error.map(str::to_owned),
        state,
        due_at,
        held,
    });
    tx.record(Entry { delegation_id: Some(&delivery.delegation_id), ..Entry::new(app.id(), now, event) }).await?;
    tx.commit().await?;
    meters::told(delivery.format, state);
    Ok(state == DeliveryState::Delivered)
}

/// Posts a token in its format. Answers with the status and the seconds of a `Retry-After`.
async fn post(app: &App, delivery: &Delivery, token: String) -> Result<(u16, Option<Seconds>), &'static str> {
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
    match app.net.tell(request).await {
        Ok(response) => Ok((response.status, response.retry_after(app.now()))),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "a notice found no answer");
            Err(match error {
                NetError::NotAllowed(_) => "its address is not allowed",
                NetError::Timeout => "no answer in time",
                NetError::Unresolvable(_) => "its name does not resolve",
                NetError::Connect(_) => "it cannot be reached",
                _ => "the exchange broke off",
            })
        }
    }
}

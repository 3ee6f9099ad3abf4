//! One attempt at one notice: signed now, posted, settled (auth.md v0.1, "Revocation").

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use url::Url;

use crate::domain::answer::{Verdict, judge};
use crate::domain::display_name::beginning;
use crate::domain::ids::{ClientId, Jti, Kid, authority};
use crate::domain::notice::{Attempt, Delivery, DeliveryState, Format, MAX_KEPT};
use crate::domain::retry::{Next, Tried, longest_pauses, next};
use crate::domain::rotation::SigningAlg;
use crate::domain::service_policy::NoticeEndpoint;
use crate::domain::time::Seconds;
use crate::error::Error;
use crate::flow::lanes::Place;
use crate::flow::message::{self, Message};
use crate::flow::{issuers, keyring};
use crate::host::{App, Host};
use crate::meters;
use crate::net::{Method, NetError, Request};
use crate::store::{Hosts, Settlement, Tx};

/// Time for the whole exchange with a service.
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// Seconds a worker holds the notices of a host.
pub const LEASE: Seconds = Seconds(10);
/// Seconds after which no further attempt is begun under a lease: one that takes as long as it may still ends under it.
const LEASE_MARGIN: Seconds = Seconds(3);
/// Most notices of one host that are leased together.
const RUN: usize = 16;
/// Most notices that are leased by one claim, so that it stays short: others write meanwhile.
const CLAIM: usize = 384;
/// Most attempts that are made while what came of as many is written down. A crash then costs a service a repetition of them.
const AHEAD: usize = 4;
/// Most bytes of an answer's body that are read.
const MAX_ANSWER: usize = 16 * 1024;

/// What is said of a notice that could not even be sent.
const NOT_SIGNED: &str = "it could not be signed here";

/// What is said of a service that hangs.
const NO_ANSWER: &str = "no answer in time";

/// Where a worker's last claim ended: the next one goes on there, so that all hosts have their turn.
#[derive(Debug, Default)]
pub struct Cursor {
    host: String,
    /// Whether it got as much as it asked for, so that there may be more.
    was_full: bool,
}

/// Leases what is due, for `worker`: of at most `most` hosts, `but` these, each one's notices together.
///
/// # Errors
/// Faults.
pub async fn claim(
    host: &Host,
    worker: &str,
    most: usize,
    cursor: &mut Cursor,
    but: &[String],
) -> Result<Vec<Vec<Delivery>>, Error> {
    let now = host.now();
    // Most of the time nothing is due, and to find that out takes no transaction.
    if !cursor.was_full && host.database.read().await?.next_due(now, LEASE).await?.is_none_or(|due| due > now) {
        return Ok(Vec::new());
    }
    let after = &cursor.host;
    let mut tx = host.database.begin().await?;
    let mut claimed = by_host(&tx.claim(worker, now, LEASE, at_most(most), Hosts::But(but, after)).await?);
    let left = most.saturating_sub(claimed.len());
    if left > 0 && !after.is_empty() {
        // Round again, from the first.
        claimed.extend(by_host(&tx.claim(worker, now, LEASE, at_most(left), Hosts::But(but, "")).await?));
    }
    tx.commit().await?;
    cursor.host = claimed.last().map(|notices| notices[0].host.clone()).unwrap_or_default();
    cursor.was_full = claimed.len() == most;
    Ok(claimed)
}

/// The same for `most` of these hosts.
///
/// # Errors
/// Faults.
pub async fn claim_of(host: &Host, worker: &str, hosts: &[String], most: usize) -> Result<Vec<Vec<Delivery>>, Error> {
    let mut tx = host.database.begin().await?;
    let claimed = tx.claim(worker, host.now(), LEASE, at_most(most), Hosts::Only(hosts)).await?;
    tx.commit().await?;
    Ok(by_host(&claimed))
}

/// So many hosts, and of each so many notices that the claim stays short.
fn at_most(hosts: usize) -> (i64, i64) {
    let run = (CLAIM / hosts.max(1)).clamp(1, RUN);
    (i64::try_from(hosts).unwrap_or(i64::MAX), i64::try_from(run).unwrap_or(i64::MAX))
}

/// Lets be due what only a wrong clock put off for so long.
///
/// # Errors
/// Faults.
pub async fn pull_forward(host: &Host) -> Result<(), Error> {
    let pauses = longest_pauses();
    if !host.database.read().await?.is_put_off(host.now(), &pauses).await? {
        return Ok(());
    }
    let mut tx = host.database.begin().await?;
    let pulled = tx.pull_forward(host.now(), &pauses).await?;
    tx.commit().await?;
    if pulled > 0 {
        tracing::warn!(notices = pulled, "were put off by a clock that was ahead, and are due now");
    }
    Ok(())
}

fn by_host(notices: &[Delivery]) -> Vec<Vec<Delivery>> {
    notices.chunk_by(|a, b| a.host == b.host).map(<[Delivery]>::to_vec).collect()
}

/// Tells one host, notice by notice over one connection, the oldest first. Stops at the first that is to be tried again, and when the lease
/// would not last for another attempt; what is left is given back.
///
/// # Errors
/// Faults; the lease then runs out and other attempts follow.
pub async fn tell(host: &Host, notices: &[Delivery], worker: &str, place: &mut Place) -> Result<(), Error> {
    let (made, to_write) = mpsc::channel(AHEAD);
    let ((tried, told), written) =
        tokio::join!(try_each(host, notices, worker, place, made), write_down(host, to_write));
    // By now all that was made is known: given back before that, it would be made again.
    give_back(host, &notices[tried..], worker).await?;
    told.and(written)
}

/// Makes attempts as long as the host is fit for the next one. Says how many notices were tried.
async fn try_each(
    host: &Host,
    notices: &[Delivery],
    worker: &str,
    place: &mut Place,
    to_write: mpsc::Sender<Made>,
) -> (usize, Result<(), Error>) {
    let begun = host.now();
    let mut speaker = None;
    for (n, delivery) in notices.iter().enumerate() {
        let fit = match try_once(host, &mut speaker, delivery, worker, place).await {
            Ok(Some(made)) => {
                let is_over = made.is_over();
                // Nobody takes it where the last ones could not be written down.
                to_write.send(made).await.is_ok() && is_over
            }
            Ok(None) => true,
            Err(error) => return (n + 1, Err(error)),
        };
        if !fit || host.now() - begun > LEASE_MARGIN {
            return (n + 1, Ok(()));
        }
    }
    (notices.len(), Ok(()))
}

async fn give_back(host: &Host, untried: &[Delivery], worker: &str) -> Result<(), Error> {
    if untried.is_empty() {
        return Ok(());
    }
    let ids: Vec<&str> = untried.iter().map(|delivery| delivery.id.as_str()).collect();
    let mut tx = host.database.begin().await?;
    tx.release(&ids, worker).await?;
    Ok(tx.commit().await?)
}

/// Signs one notice and makes an attempt at it, or puts it off: the fault of one issuer costs the others of this host nothing.
async fn try_once(
    host: &Host,
    speaker: &mut Option<Speaker>,
    delivery: &Delivery,
    worker: &str,
    place: &mut Place,
) -> Result<Option<Made>, Error> {
    let found = match speaker.take().filter(|speaker| speaker.speaks_for(delivery)) {
        Some(known) => Ok(known),
        None => Speaker::of(host, delivery).await,
    };
    let signed = match found {
        Ok(found) => {
            let speaker = speaker.insert(found);
            sign(speaker, delivery).await.map(|signed| (speaker, signed))
        }
        Err(error) => Err(error),
    };
    match signed {
        Ok((speaker, signed)) => Ok(Some(attempt(speaker, delivery, signed, worker, place).await)),
        Err(error) => put_off(host, delivery, worker, error).await.map(|()| None),
    }
}

/// An issuer that tells a service, and where that takes notices now.
struct Speaker {
    app: App,
    aud: String,
    format: Format,
    receiver: Option<NoticeEndpoint>,
    alg: SigningAlg,
}

impl Speaker {
    async fn of(host: &Host, delivery: &Delivery) -> Result<Self, Error> {
        // What a user was promised is sent also for an issuer that was disabled since.
        let app = issuers::owing(host, &delivery.issuer_id).await?;
        let (receiver, alg) = match delivery.format {
            Format::BackchannelLogout => of_client(&mut app.store.read().await?, &delivery.aud).await?,
            format => {
                // As it was last known: what is removed is told all the same.
                let policy = app.store.service_policy(&delivery.aud).await?;
                (policy.as_ref().and_then(|policy| policy.receiver(format)).cloned(), policy.map(|p| p.signing_alg))
            }
        };
        let (aud, format) = (delivery.aud.clone(), delivery.format);
        Ok(Self { app, aud, format, receiver, alg: alg.unwrap_or(SigningAlg::Es256) })
    }

    fn speaks_for(&self, delivery: &Delivery) -> bool {
        *self.app.issuer.id == delivery.issuer_id && self.aud == delivery.aud && self.format == delivery.format
    }
}

/// Where a client is told of sign-outs, and what its tokens are signed with.
async fn of_client(tx: &mut Tx, client_id: &str) -> Result<(Option<NoticeEndpoint>, Option<SigningAlg>), Error> {
    let Ok(client_id) = ClientId::parse(client_id) else { return Ok((None, None)) };
    let Some(key) = tx.client_key(&client_id).await? else { return Ok((None, None)) };
    let Some(client) = tx.client_by_key(&key).await? else { return Ok((None, None)) };
    let receiver = client.metadata.backchannel_logout_uri.map(|uri| NoticeEndpoint {
        format: Format::BackchannelLogout,
        endpoint: uri.into(),
        event: None,
        unproven: false,
    });
    Ok((receiver, Some(client.metadata.id_token_signed_response_alg)))
}

/// A notice that is ready to be posted.
struct Signed {
    endpoint: String,
    unproven: bool,
    message: Message,
    jti: Jti,
    kid: Kid,
}

/// Signs a notice here and now: fresh `jti` and `iat`, current key, so that neither a rotation nor a week of waiting makes it stale, and no
/// receiver takes it for a replay. It goes where the service takes notices now; to one that is not declared any more, where it took them
/// last.
async fn sign(speaker: &Speaker, delivery: &Delivery) -> Result<Signed, Error> {
    let app = &speaker.app;
    let endpoint = speaker.receiver.as_ref().map_or(&delivery.endpoint, |receiver| &receiver.endpoint);
    let event = speaker.receiver.as_ref().and_then(|receiver| receiver.event.as_deref());
    let unproven = speaker.receiver.as_ref().is_some_and(|receiver| receiver.unproven);
    let jti = app.rng.jti();
    let key = match app.issuer.ring.signer(speaker.alg) {
        Some(key) if app.store.key_signs(key.kid()).await? => key.clone(),
        _ => keyring::signer(app, &mut app.store.read().await?, speaker.alg).await?,
    };
    let message = message::sign(app, &key, delivery, (endpoint, event), jti.clone()).await?;
    Ok(Signed { endpoint: endpoint.clone(), unproven, message, jti, kid: key.kid().clone() })
}

/// Lets a notice that nobody could sign wait for its next turn, by the schedule of those that find no answer.
async fn put_off(host: &Host, delivery: &Delivery, worker: &str, error: Error) -> Result<(), Error> {
    {
        let error = &error as &dyn std::error::Error;
        tracing::error!(error, issuer = delivery.issuer_id, delivery = delivery.id, "a notice could not be signed");
    }
    let now = host.now();
    let tried =
        Tried { number: delivery.attempts, verdict: Verdict::Failed, retry_after: None, before: delivery.last_status };
    let (state, due_at) = match next(tried, now, delivery.give_up_at, || host.rng.fraction()) {
        Next::Again(at) => (DeliveryState::Queued, at),
        _ => (DeliveryState::GivenUp, now),
    };
    let mut tx = host.database.begin().await?;
    tx.put_off(&delivery.id, worker, (state, due_at, now), NOT_SIGNED).await?;
    Ok(tx.commit().await?)
}

/// An attempt that was made, and nobody knows of yet.
struct Made {
    format: Format,
    settlement: Settlement,
}

impl Made {
    /// Whether the host is fit to be told more: not where this notice is to be tried again.
    fn is_over(&self) -> bool {
        !matches!(self.settlement.attempt.state, DeliveryState::Queued | DeliveryState::GivenUp)
    }
}

/// Writes down what came of attempts, all that were made meanwhile at once, until no more are made.
async fn write_down(host: &Host, mut made: mpsc::Receiver<Made>) -> Result<(), Error> {
    let mut some = Vec::with_capacity(AHEAD);
    while made.recv_many(&mut some, AHEAD).await > 0 {
        let (outcomes, settlements): (Vec<_>, Vec<_>) =
            some.drain(..).map(|Made { format, settlement }| ((format, settlement.attempt.state), settlement)).unzip();
        host.database.settle(settlements).await?;
        for (format, state) in outcomes {
            meters::told(format, state);
        }
    }
    Ok(())
}

/// Makes one attempt at a leased notice.
async fn attempt(
    speaker: &Speaker,
    delivery: &Delivery,
    Signed { endpoint, unproven, message, jti, kid }: Signed,
    worker: &str,
    place: &mut Place,
) -> Made {
    let app = &speaker.app;
    let url = Url::parse(&endpoint).ok();
    let host = url.as_ref().map_or_else(|| delivery.host.clone(), authority);
    let begun = Instant::now();
    let sent = match url {
        Some(url) => place.wait(post(app, url, message)).await.unwrap_or(Err(NO_ANSWER)),
        None => Err("the endpoint is no URL"),
    };
    let latency = i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX);
    place.note(&host, sent.as_ref().is_err_and(|error| *error == NO_ANSWER));
    let now = app.now();
    let (number, before) = (delivery.attempts, delivery.last_status);
    let (tried, status, error, kept) = match sent {
        Ok(Told { status, retry_after, body }) => {
            let verdict = judge(delivery.format, unproven, status, &body);
            let tried = Tried { number, verdict, retry_after, before };
            (tried, Some(i64::from(status)), None, beginning(&body, MAX_KEPT))
        }
        Err(error) => {
            (Tried { number, verdict: Verdict::Failed, retry_after: None, before }, None, Some(error), String::new())
        }
    };
    let (state, due_at) = match next(tried, now, delivery.give_up_at, || app.rng.fraction()) {
        Next::Delivered => (DeliveryState::Delivered, now),
        Next::Unproven => (DeliveryState::Unproven, now),
        Next::Again(at) => (DeliveryState::Queued, at),
        Next::Refused => (DeliveryState::Refused, now),
        Next::GivenUp => (DeliveryState::GivenUp, now),
    };
    let attempt = Attempt {
        delivery_id: delivery.id.clone(),
        number: delivery.attempts,
        jti,
        kid,
        endpoint,
        status,
        error: error.map(str::to_owned),
        latency,
        answer: kept,
        state,
        due_at,
        held: false,
    };
    let (worker, delegation_id) = (worker.to_owned(), delivery.delegation_id.clone());
    let (issuer, entry_id) = (app.issuer.id.clone(), app.id());
    let settlement = Settlement { issuer, entry_id, worker, at: now, delegation_id, host, attempt };
    Made { format: delivery.format, settlement }
}

/// What a service answered.
struct Told {
    status: u16,
    /// The span of a `Retry-After`.
    retry_after: Option<Seconds>,
    /// The beginning of the body.
    body: Vec<u8>,
}

/// Posts a notice.
async fn post(app: &App, url: Url, Message { headers, body }: Message) -> Result<Told, &'static str> {
    let request = Request { method: Method::Post, url, headers, body, timeout: TIMEOUT, max_body: MAX_ANSWER };
    match app.net.tell(request).await {
        Ok(response) => {
            Ok(Told { status: response.status, retry_after: response.retry_after(app.now()), body: response.body })
        }
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "a notice found no answer");
            Err(match error {
                NetError::NotAllowed(_) => "its address is not allowed",
                NetError::Timeout => NO_ANSWER,
                NetError::Unresolvable(_) => "its name does not resolve",
                NetError::Connect(_) => "it cannot be reached",
                _ => "the exchange broke off",
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_of_many_hosts_takes_less_of_each() {
        let claims = [1, 24, 32, 128, 1000].map(at_most);
        assert_eq!(claims, [(1, 16), (24, 16), (32, 12), (128, 3), (1000, 1)]);
    }
}

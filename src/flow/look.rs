//! Looks at services that nobody declared, and writes down what is understood of them: rows, so that every server sees the same.
//!
//! Somebody looks when a service is named for the first time, when a user is about to be asked and what is known is not fresh, and, for those
//! that users have dealings with, from time to time. A mint under what a user agreed to never waits for a look.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::domain::ids::{Audience, ClientKey};
use crate::domain::journal::Event;
use crate::domain::refusal::Refusal;
use crate::domain::service::{KnownService, Service, Source};
use crate::domain::time::{Seconds, Timestamp};
use crate::domain::understood::{Understood, Verdict, is_slash_apart};
use crate::error::Error;
use crate::flow::discover::{Found, discover};
use crate::flow::issuers;
use crate::host::{App, Host};
use crate::store::{Discovery, DueLook, Entry};

/// Most services that a client may name in a minute that nobody here had heard of.
const MAX_NEW: i64 = 10;
/// The minute.
const NEW_PER: Seconds = Seconds(60);
/// Services kept that one client has named and nobody uses.
const MAX_UNUSED: i64 = 100;
/// Between two looks that nobody asked for, at least.
const LOOK_AGAIN: Seconds = Seconds(3600);
/// How soon somebody looks again who missed something, and asks a user.
const MISSED_FOR: Seconds = Seconds(300);
/// How long a document may be missing of several, before what the others say counts alone.
const MISSING_FOR_GOOD: Seconds = Seconds(86_400);
/// How long a look may take, after which another server takes it for lost.
const LOST: Seconds = Seconds(600);
/// How long nobody looks for an issuer that is disabled.
const DISABLED: Seconds = Seconds(86_400);
/// How often a server looks for what is due.
const POLL_INTERVAL: Duration = Duration::from_secs(30);
/// Looks that nobody asked for, at a time.
const AT_ONCE: i64 = 16;

/// Looks at a service that a client names and nobody here has heard of. Client, subject and ceiling have been judged. Answers with the
/// service's own spelling, which may differ by a slash at the end.
///
/// # Errors
/// [`Refusal::AudienceMisspelt`] for another spelling of one that is known; [`Refusal::AudienceNotAllowed`] for one of a service that was
/// declared once; [`Refusal::TooManyServices`], [`Refusal::Busy`];
/// [`Refusal::AudienceIsResource`]; faults.
pub async fn first(app: &App, client: &ClientKey, asked: &Audience) -> Result<Audience, Error> {
    {
        let mut tx = app.store.read().await?;
        if let Some((known, source)) = tx.service_spelling(asked).await? {
            let spelling = Audience::parse(&known).map_err(|_| Error::invariant("a service's audience parses"))?;
            if !matches!(source, Source::Declared | Source::Added) && is_slash_apart(&known, asked.as_str()) {
                return Ok(spelling);
            }
            return Err(Refusal::AudienceMisspelt(known).into());
        }
        if tx.is_disabled(asked).await? {
            return Err(Refusal::AudienceNotAllowed.into());
        }
        if tx.services_named_since(client, app.now() - NEW_PER).await? >= MAX_NEW {
            return Err(Refusal::TooManyServices.into());
        }
    }
    let turn = app.looks.take(client.as_str()).ok_or(Refusal::Busy)?;
    let found = discover(&app.documents, asked, app.now(), false).await;
    drop(turn);
    let known = keep(app, Some(client), asked, &found).await?;
    match found.understood.guarded_by() {
        Some(server) => Err(Refusal::AudienceIsResource(server.to_owned()).into()),
        None => Ok(known),
    }
}

/// Looks once more at a service about which a user is to be asked, if what is known of it is not fresh. Says whether that changed anything.
///
/// # Errors
/// [`Refusal::AudienceIsResource`]; faults.
pub async fn before_asking(app: &App, client: &ClientKey, audience: &Audience) -> Result<bool, Error> {
    let Some(known) = app.store.read().await?.discovery(audience.as_str()).await? else { return Ok(false) };
    let is_fresh = (known.looked_at..known.fresh_until).contains(&app.now());
    let turn = if is_fresh { None } else { app.looks.take(client.as_str()) };
    // What was understood before is good enough where too many are looked at.
    let Some(turn) = turn else {
        return match known.understood.guarded_by() {
            Some(server) => Err(Refusal::AudienceIsResource(server.to_owned()).into()),
            None => Ok(false),
        };
    };
    let before = app.store.read().await?.known_service(audience.as_str()).await?;
    let found = discover(&app.documents, audience, app.now(), false).await;
    drop(turn);
    keep(app, Some(client), audience, &found).await?;
    if let Some(server) = found.understood.guarded_by() {
        return Err(Refusal::AudienceIsResource(server.to_owned()).into());
    }
    let after = app.store.read().await?.known_service(audience.as_str()).await?;
    let version = |known: Option<KnownService>| known.map(|known| known.service.version);
    Ok(version(before) != version(after))
}

/// Looks again at once, for an operator.
///
/// # Errors
/// [`Refusal::Busy`]; faults.
pub async fn anew(app: &App, audience: &Audience) -> Result<(), Error> {
    let _turn = app.looks.take(&format!("operator of {}", app.issuer.id)).ok_or(Refusal::Busy)?;
    let found = discover(&app.documents, audience, app.now(), true).await;
    keep(app, None, audience, &found).await.map(drop)
}

/// Writes down what was found. A service that an operator answers for stays as it is, and so does one that proved itself before and does not
/// now: whoever can make a document disappear shall not thereby make another service of it.
async fn keep(app: &App, client: Option<&ClientKey>, asked: &Audience, found: &Found) -> Result<Audience, Error> {
    let now = app.now();
    let understood = &found.understood;
    let alias = understood.issuer.as_deref().filter(|_| understood.is_alias());
    let mut tx = app.store.begin().await?;
    // Users have agreed to the spelling that it had.
    let stands =
        |known: &KnownService| known.service.source == Source::Discovered || known.service.source.is_operators();
    let alias = if alias.is_some() && tx.known_service(asked.as_str()).await?.as_ref().is_some_and(stands) {
        None
    } else {
        alias.and_then(|issuer| Audience::parse(issuer).ok())
    };
    let audience = alias.unwrap_or_else(|| asked.clone());
    let service = Service::discovered(audience.clone(), understood);
    let before = tx.lock_service(audience.as_str()).await?;
    if before.as_ref().is_some_and(|known| known.disabled || known.service.source.is_operators()) {
        tx.looked_in_vain(asked.as_str(), now, now + LOOK_AGAIN).await?;
        tx.commit().await?;
        return Ok(audience);
    }
    let stands = before.filter(|known| known.service.source == Source::Discovered);
    let earlier = tx.discovery(audience.as_str()).await?;
    let mut row = Discovery {
        understood: understood.clone(),
        looked_at: now,
        fresh_until: found.fresh_until,
        due_at: found.fresh_until.max(now + LOOK_AGAIN),
        missed_at: None,
    };
    match (&stands, earlier) {
        (Some(_), Some(earlier)) if is_missed(&service, understood, &earlier, now) => {
            row.missed_at = earlier.missed_at.or(Some(now));
            row.fresh_until = now + MISSED_FOR;
            row.due_at = now + LOOK_AGAIN;
            row.understood = earlier.understood;
        }
        (_, earlier) => {
            let changed = tx.apply_discovered(&app.id(), &service, now).await?;
            let fields = earlier.map(|earlier| understood.differs_in(&earlier.understood));
            let differs = changed || fields.as_ref().is_some_and(|fields| !fields.is_empty());
            if let Some(event) = event(&service, stands.as_ref(), fields).filter(|_| differs) {
                tx.record(Entry { client, ..Entry::new(app.id(), now, event) }).await?;
            }
        }
    }
    tx.put_discovery(audience.as_str(), client, &row).await?;
    let mut over = match client {
        Some(client) => tx.unused_services(client, MAX_UNUSED).await?,
        None => Vec::new(),
    };
    tx.commit().await?;
    if audience != *asked {
        // It may have been looked at before it had a document, under a spelling that is none.
        over.push(asked.as_str().to_owned());
    }
    // One at a time: whoever mints locks several services in an order of its own.
    for forgotten in over {
        let mut tx = app.store.begin().await?;
        tx.forget_service(&forgotten).await?;
        tx.commit().await?;
    }
    Ok(audience)
}

/// Whether a look says nothing against what was understood before: where nothing proves anything, for as long as that lasts; where a
/// document is not there that counted, for a day, in which it may come back.
fn is_missed(service: &Service, understood: &Understood, earlier: &Discovery, now: Timestamp) -> bool {
    let verdict = |url: &str| understood.documents.iter().find(|d| d.document == url).map(|d| d.verdict);
    let counted = earlier.understood.documents.iter().filter(|d| matches!(d.verdict, Verdict::Proves | Verdict::Read));
    let lacks_one = counted.map(|d| verdict(&d.document)).any(|found| found == Some(Verdict::Missing));
    let lasts = earlier.missed_at.is_some_and(|since| now - since >= MISSING_FOR_GOOD);
    service.source == Source::Unknown || (lacks_one && !lasts)
}

/// What there is to tell of a service that was written down.
fn event(service: &Service, stood: Option<&KnownService>, fields: Option<Vec<String>>) -> Option<Event> {
    let aud = service.audience.as_str().to_owned();
    let after = service.shown.clone().unwrap_or_default();
    match (stood, service.source) {
        (Some(stood), _) => {
            let before = stood.service.shown.clone().unwrap_or_default();
            Some(Event::ServiceChanged { aud, before, after, fields: fields.unwrap_or_default() })
        }
        (None, Source::Discovered) => Some(Event::ServiceDiscovered { aud, shown: after }),
        (None, _) => None,
    }
}

/// Looks again from time to time, until `stop` turns true. A look that is under way then is lost, and another server's or a later one.
pub async fn run(host: Host, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        let looked = host.while_database_answers(Box::pin(again(&host))).await.and_then(|done| done);
        if let Err(error) = looked {
            tracing::error!(error = &error as &dyn std::error::Error, "looking at services again failed");
        }
        tokio::select! {
            () = tokio::time::sleep(POLL_INTERVAL) => {}
            _ = stop.changed() => {}
        }
    }
}

/// Looks again at what users have dealings with and is due for it, at whichever issuer, and forgets what nobody uses.
///
/// # Errors
/// Faults.
pub async fn again(host: &Host) -> Result<(), Error> {
    loop {
        let due = host.database.read().await?.due_looks(host.now(), AT_ONCE).await?;
        let mut under_way = JoinSet::new();
        for look in due {
            let lost_at = host.now() + LOST;
            if put_off(host, &look, lost_at).await? {
                let (host, look) = (host.clone(), DueLook { due_at: lost_at, ..look });
                under_way.spawn(async move { once_more(&host, &look).await });
            }
        }
        if under_way.is_empty() {
            return Ok(());
        }
        for done in under_way.join_all().await {
            done?;
        }
    }
}

/// `false` when somebody else was first.
async fn put_off(host: &Host, look: &DueLook, until: Timestamp) -> Result<bool, Error> {
    let mut tx = host.database.begin().await?;
    let put_off = tx.put_off_look(look, until).await?;
    tx.commit().await?;
    Ok(put_off)
}

async fn once_more(host: &Host, look: &DueLook) -> Result<(), Error> {
    // Nobody can be asked and nothing is minted at an issuer that is disabled.
    let Some(app) = issuers::app(host, &look.issuer_id).await? else {
        return put_off(host, look, host.now() + DISABLED).await.map(drop);
    };
    let mut tx = app.store.begin().await?;
    let known = tx.known_service(&look.audience).await?;
    let stands_by_itself = known.is_some_and(|known| !known.disabled && !known.service.source.is_operators());
    if stands_by_itself && look.is_used {
        drop(tx);
        let audience = Audience::parse(&look.audience).map_err(|_| Error::invariant("a service's audience parses"))?;
        let found = discover(&app.documents, &audience, app.now(), false).await;
        return keep(&app, None, &audience, &found).await.map(drop);
    }
    if stands_by_itself {
        tx.forget_service(&look.audience).await?;
    } else {
        tx.stop_looking(&look.audience, Timestamp::MAX).await?;
    }
    tx.commit().await?;
    Ok(())
}

//! A key that somebody else may have: it signs nowhere from the moment the transaction ends, another one takes over, and what may have to
//! be told to services is written down.

use serde::Serialize;

use crate::domain::claims::ASSERTION_LIFETIME;
use crate::domain::delegation::Selection;
use crate::domain::ids::{ClientId, Jti, Kid, Subject};
use crate::domain::journal::{Event, Why};
use crate::domain::refusal::Refusal;
use crate::domain::rotation::{self, Early, Key, KeyState, SigningAlg};
use crate::domain::time::{Seconds, Timestamp};
use crate::error::Error;
use crate::flow::keyring::Made;
use crate::flow::rotate::{self, Reason};
use crate::flow::{issuers, keyring, withdraw_many};
use crate::host::Host;
use crate::store::Entry;

/// Rows that are read at a time.
const AT_ONCE: i64 = 200;
/// By how much another server's clock may be ahead: what it wrote down under the key may bear a later time than the revocation.
const SKEW: Seconds = Seconds(60);
/// Most assertions that a report lists.
const MAX_LISTED: usize = 1000;

/// What an operator asks for.
#[derive(Clone, Debug)]
pub struct Order {
    /// The key.
    pub kid: Kid,
    /// Why.
    pub reason: Reason,
    /// Also ends the delegations that were used since then.
    pub withdraw_since: Option<Timestamp>,
    /// Says what would happen, and changes nothing.
    pub dry_run: bool,
}

/// What happened, or would: fit for a ticket.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// The issuer.
    pub issuer: String,
    /// Where its key set is.
    pub jwks_uri: String,
    /// The key.
    pub kid: Kid,
    /// What it signs with.
    pub alg: SigningAlg,
    /// Where it stood before.
    pub state_before: KeyState,
    /// When it was revoked.
    pub revoked_at: String,
    /// Why.
    pub reason: String,
    /// The key that signs now; none where the revoked one did not sign.
    pub successor: Option<Successor>,
    /// How many assertions by it were alive at that time.
    pub alive: usize,
    /// The first thousand of them.
    pub assertions: Vec<Alive>,
    /// The services that they are for.
    pub services: Vec<String>,
    /// Since when delegations are withdrawn that were used.
    pub withdraw_since: Option<String>,
    /// How many delegations that is.
    pub withdrawn: u64,
    /// How many of them could not be: the log says why.
    pub not_withdrawn: u64,
}

/// The key that takes over.
#[derive(Clone, Debug, Serialize)]
pub struct Successor {
    /// The key; none in a dry run that would have to make one.
    pub kid: Option<Kid>,
    /// Since when it is published; none: it is made for this.
    pub published_since: Option<String>,
}

/// An assertion that a service may still take.
#[derive(Clone, Debug, Serialize)]
pub struct Alive {
    /// Its identifier.
    pub jti: Jti,
    /// The service.
    pub aud: String,
    /// The user, as the service knows them.
    pub sub: Subject,
    /// The client that it was minted for.
    pub client: ClientId,
    /// When it expires.
    pub exp: String,
}

/// Revokes a key. `progress` hears how many delegations have been withdrawn, of how many at most. One that was revoked already is left as
/// it is, and what was to be withdrawn goes on: so a run that was cut short is simply started again.
///
/// # Errors
/// [`Refusal::NotFound`]; [`Refusal::KeyState`] when it was removed before; faults.
pub async fn run(
    host: &Host,
    issuer_id: &str,
    order: &Order,
    mut progress: impl FnMut(u64, u64),
) -> Result<Report, Error> {
    let found = rotate::list(host, issuer_id).await?;
    let keys: Vec<Key> = found.into_iter().map(|listed| listed.key).collect();
    let key = keys.iter().find(|key| key.kid == order.kid).ok_or(Refusal::NotFound)?;
    if key.state == KeyState::Removed {
        return Err(Refusal::KeyState("it was removed before: nothing that it signed is taken any more").into());
    }
    let app = issuers::owing(host, issuer_id).await?;
    let pending = rotation::successor(&keys, key);
    let mut report = Report {
        dry_run: order.dry_run,
        issuer: app.issuer.url.as_str().to_owned(),
        jwks_uri: app.issuer.url.at("/.well-known/jwks.json"),
        kid: key.kid.clone(),
        alg: key.alg,
        state_before: key.state,
        revoked_at: key.ended_at.unwrap_or(host.now()).rfc3339(),
        reason: order.reason.as_str().to_owned(),
        successor: (key.state == KeyState::Active).then(|| Successor {
            kid: pending.map(|pending| pending.kid.clone()),
            published_since: pending.map(|pending| pending.created_at.rfc3339()),
        }),
        alive: 0,
        assertions: Vec::new(),
        services: Vec::new(),
        withdraw_since: order.withdraw_since.map(Timestamp::rfc3339),
        withdrawn: 0,
        not_withdrawn: 0,
    };
    let mut revoked_at = key.ended_at.unwrap_or(host.now());
    if !order.dry_run && key.state != KeyState::Revoked {
        let (at, successor) = revoke(host, issuer_id, order).await?;
        revoked_at = at;
        report.revoked_at = at.rfc3339();
        report.successor = successor;
    }
    list_alive(host, issuer_id, &key.kid, revoked_at, &mut report).await?;
    if let Some(since) = order.withdraw_since {
        let used = Selection { used_since: Some(since), ..Selection::default() };
        let all = withdraw_many::count(host, issuer_id, &used).await?;
        report.withdrawn = all;
        if !order.dry_run {
            let done = withdraw_many::run(host, issuer_id, &used, Why::Admin, |done| progress(done, all)).await?;
            (report.withdrawn, report.not_withdrawn) = (done.withdrawn, done.failed);
        }
    }
    Ok(report)
}

/// The transaction: from its end on the key signs nowhere, for every mint compares its state.
async fn revoke(host: &Host, issuer_id: &str, order: &Order) -> Result<(Timestamp, Option<Successor>), Error> {
    // Made before anybody waits for it, and only where one is needed: a device that is ill shall not keep a key from being revoked that
    // another one follows.
    let found = host.database.of(issuer_id.into()).read().await?.keys(rotate::MAX_KEYS).await?;
    let key = found.iter().find(|key| key.kid == order.kid).ok_or(Refusal::NotFound)?;
    let spare = if key.state == KeyState::Active && rotation::successor(&found, key).is_none() {
        Some(rotate::generate(host, issuer_id, key.alg).await?)
    } else {
        None
    };
    let (mut tx, keys) = rotate::begin(host, issuer_id).await?;
    let now = host.now();
    let key = keys.iter().find(|key| key.kid == order.kid).ok_or(Refusal::NotFound)?;
    if let (KeyState::Revoked, Some(at)) = (key.state, key.ended_at) {
        // Somebody else was first.
        drop(tx);
        discard(host, issuer_id, spare).await;
        return Ok((at, None));
    }
    let ended = (key.kid.clone(), keyring::remains(&mut tx, &host.sealing.keys(), &key.kid).await?);
    if !tx.end_key(key, KeyState::Revoked, Some(order.reason.as_str()), now).await? {
        return Err(Error::invariant("whoever holds the issuer moves its keys alone"));
    }
    let event = Event::KeyRevoked { kid: key.kid.clone(), reason: order.reason.as_str().to_owned() };
    tx.record(Entry::new(host.id(), now, event)).await?;
    let (mut successor, mut spare) = (None, spare);
    if key.state == KeyState::Active {
        let revoked = Key { state: KeyState::Revoked, ..key.clone() };
        let (kid, usable, since) = if let Some(pending) = rotation::successor(&keys, key) {
            (pending.kid.clone(), host.rotation.usable_at(pending) <= now, Some(pending.created_at.rfc3339()))
        } else {
            let made = spare.take().ok_or(Refusal::KeyState("its keys have moved meanwhile: try again"))?;
            rotate::add(&mut tx, host, issuer_id, &made).await?;
            (made.0.kid().clone(), false, None)
        };
        let early = (!usable).then_some(Early::Emergency);
        rotate::take_over(&mut tx, host, &kid, Some(&revoked), (early, Some(&order.reason))).await?;
        successor = Some(Successor { kid: Some(kid), published_since: since });
    }
    tx.commit().await?;
    issuers::refresh(host).await?;
    discard(host, issuer_id, spare).await;
    rotate::destroy(host, issuer_id, ended).await;
    Ok((now, successor))
}

async fn discard(host: &Host, issuer_id: &str, spare: Option<Made>) {
    if let Some(spare) = spare {
        rotate::discard(host, issuer_id, &spare).await;
    }
}

async fn list_alive(host: &Host, issuer_id: &str, kid: &Kid, at: Timestamp, report: &mut Report) -> Result<(), Error> {
    let store = host.database.of(issuer_id.into());
    let mut after = None;
    let mut services = std::collections::BTreeSet::new();
    loop {
        let page = store
            .read()
            .await?
            .assertions_between((at - ASSERTION_LIFETIME, at + SKEW), after.as_deref(), AT_ONCE)
            .await?;
        let Some(last) = page.last() else { break };
        after = Some(last.id.clone());
        for row in page.into_iter().filter(|row| row.assertion.kid == *kid && row.assertion.exp > at) {
            services.insert(row.assertion.aud.clone());
            report.alive += 1;
            if report.assertions.len() < MAX_LISTED {
                report.assertions.push(Alive {
                    jti: row.jti,
                    aud: row.assertion.aud,
                    sub: row.assertion.sub,
                    client: row.client,
                    exp: row.assertion.exp.rfc3339(),
                });
            }
        }
    }
    report.services = services.into_iter().collect();
    Ok(())
}

impl Report {
    /// For people, in Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        use std::fmt::Write as _;
        let mut text = String::new();
        let mut say = |line: String| {
            let _ = writeln!(text, "{line}");
        };
        let title = if self.dry_run { "What revoking a signing key would do" } else { "A signing key was revoked" };
        say(format!("# {title}\n"));
        say(format!("- Issuer: {}", self.issuer));
        say(format!("- Key: `{}` ({}), {} until then", self.kid, self.alg.as_str(), self.state_before.as_str()));
        let when = if self.dry_run { "Looked at" } else { "Revoked" };
        say(format!("- {when}: {}", self.revoked_at));
        say(format!("- Reason: {}", self.reason));
        say(match &self.successor {
            None => "- It was not the key that signs; that goes on.".to_owned(),
            Some(Successor { kid: Some(kid), published_since: Some(since) }) => {
                format!("- Signs instead: `{kid}`, which is published since {since}")
            }
            Some(Successor { kid: Some(kid), .. }) => {
                format!("- Signs instead: `{kid}`, made for this; services see it when they fetch the key set again")
            }
            Some(Successor { kid: None, .. }) => "- Signs instead: a key that is made for this".to_owned(),
        });
        say(format!("- Assertions by it that were alive: {}", self.alive));
        if let Some(since) = &self.withdraw_since {
            let did = if self.dry_run { "that would be withdrawn" } else { "withdrawn" };
            say(format!("- Delegations {did}, used since {since}: {}", self.withdrawn));
            if self.not_withdrawn > 0 {
                say(format!(
                    "- **Delegations that could not be withdrawn** (the log says why): {}",
                    self.not_withdrawn
                ));
            }
        }
        say(format!(
            "\n## What to tell services\n\n> The key `{}` of {} is revoked since {}. Please fetch {} again now, refuse whatever is signed by that\n\
             > key from then on, and end what was given for assertions by it that you do not recognise. A key set that was fetched before may\n\
             > be kept for 5 minutes by what it says of itself; services that keep it longer accept the key for as long.\n",
            self.kid, self.issuer, self.revoked_at, self.jwks_uri
        ));
        if !self.services.is_empty() {
            say("Services with assertions that were alive:\n".to_owned());
            for service in &self.services {
                say(format!("- {service}"));
            }
        }
        if !self.assertions.is_empty() {
            say("\n## Assertions that were alive\n\n| jti | service | user | client | expires |\n| --- | --- | --- | --- | --- |".to_owned());
            for Alive { jti, aud, sub, client, exp } in &self.assertions {
                say(format!("| `{jti}` | {aud} | `{sub}` | `{client}` | {exp} |"));
            }
            if self.alive > self.assertions.len() {
                say(format!("\nAnd {} more, in the journal.", self.alive - self.assertions.len()));
            }
        }
        text
    }
}

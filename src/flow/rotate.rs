//! Keys that move: by themselves when their time has come, or because an operator says so. Each move is one transaction, which holds the
//! issuer's row, so that of two servers one moves and the other finds it done.

use crate::domain::ids::Kid;
use crate::domain::journal::Event;
use crate::domain::refusal::Refusal;
use crate::domain::rotation::{self, Early, GRACE, Key, KeyState, SigningAlg};
use crate::domain::time::{Seconds, Timestamp};
use crate::error::Error;
use crate::flow::fetches;
use crate::flow::keyring::{self, Made, Sealed};
use crate::host::Host;
use crate::jose::{self, SigningKey};
use crate::meters;
use crate::store::{Entry, Tx};

/// Keys that are looked at in one go, of one issuer or of all.
pub(super) const MAX_KEYS: i64 = 100;

const PENDING_ALREADY: Refusal = Refusal::KeyState("there is a pending key already: activate or retire it first");

/// Why a guard is passed over, in an operator's words.
#[derive(Clone, Debug)]
pub struct Reason(String);

impl Reason {
    /// Parses it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        if text.is_empty() {
            return Err("a reason is needed: it stands in the journal");
        }
        if text.chars().count() > 500 {
            return Err("it is longer than 500 characters");
        }
        crate::domain::display_name::check_shown(text).map_err(|e| e.0)?;
        Ok(Self(text.to_owned()))
    }

    /// The words.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A key of an issuer, and what comes next for it.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The key.
    pub key: Key,
    /// From when on it may sign, or leave the key set, without force.
    pub allowed_at: Option<Timestamp>,
    /// What happens by itself, and when.
    pub next: Option<(rotation::Step, Timestamp)>,
    /// How many of those that fetched a key set in the last week have this key, and how many there are.
    pub seen_by: (usize, usize),
}

/// The keys of an issuer: those at work, and the last that have ended.
///
/// # Errors
/// Faults.
pub async fn list(host: &Host, issuer_id: &str) -> Result<Vec<Listed>, Error> {
    let keys = host.database.of(issuer_id.into()).read().await?.keys(MAX_KEYS).await?;
    let fetchers = fetches::lately(host, issuer_id).await?;
    let listed = keys.iter().map(|key| Listed {
        key: key.clone(),
        allowed_at: match key.state {
            KeyState::Pending => Some(host.rotation.usable_at(key)),
            KeyState::Retiring => rotation::removable_at(key),
            _ => None,
        },
        next: host.rotation.next(key, rotation::successor(&keys, key)),
        seen_by: fetchers.have_seen(&key.kid),
    });
    Ok(listed.collect())
}

/// Publishes a new key, which does not sign yet.
///
/// # Errors
/// [`Refusal::KeyState`] when one is pending already; faults.
pub async fn prepare(host: &Host, issuer_id: &str, alg: SigningAlg) -> Result<Kid, Error> {
    let made = generate(host, issuer_id, alg).await?;
    let (mut tx, keys) = begin(host, issuer_id).await?;
    if keys.iter().any(|key| key.state == KeyState::Pending && key.alg == alg) {
        drop(tx);
        discard(host, issuer_id, &made).await;
        return Err(PENDING_ALREADY.into());
    }
    add(&mut tx, host, issuer_id, &made).await?;
    tx.commit().await?;
    Ok(made.0.kid().clone())
}

/// Publishes a private key that was made elsewhere, PEM or JWK, under the name that its verifiers know it by: `kid`, or that of the JWK. It
/// signs when it is activated.
///
/// # Errors
/// [`Refusal::Malformed`] for what is no key that signs here; [`Refusal::KeyState`] when one is pending already, or was ever called so
/// here; faults.
pub async fn import(host: &Host, issuer_id: &str, text: &str, kid: Option<&Kid>) -> Result<Kid, Error> {
    let imported = jose::import(text).map_err(|e| Refusal::TextMalformed("key", e.0))?;
    // Also where it is given another name: what a lab's key signed may be anywhere.
    if [kid, imported.kid.as_ref()].into_iter().flatten().any(Kid::is_of_lab) {
        return Err(Refusal::TextMalformed("key", "it is a lab's, by its kid: such keys are for tests").into());
    }
    adopt(host, issuer_id, &imported, kid).await
}

/// The same for a lab's own issuer, which publishes a lab's key, and no server's.
///
/// # Errors
/// As [`import`]; also when it is no lab's.
pub async fn import_of_lab(host: &Host, issuer_id: &str, text: &str) -> Result<Kid, Error> {
    let imported = jose::import(text).map_err(|e| Refusal::TextMalformed("key", e.0))?;
    if !imported.kid.as_ref().is_some_and(Kid::is_of_lab) {
        return Err(Refusal::TextMalformed("key", "it is no lab's, by its kid").into());
    }
    adopt(host, issuer_id, &imported, None).await
}

async fn adopt(host: &Host, issuer_id: &str, imported: &jose::Imported, kid: Option<&Kid>) -> Result<Kid, Error> {
    let kid = kid.or(imported.kid.as_ref());
    if kid.is_some_and(|kid| !rotation::is_kid(kid.as_str())) {
        return Err(Refusal::Malformed("kid", "must be 1 to 100 of a-z, A-Z, 0-9, - and _").into());
    }
    let sealing = host.sealing.keys();
    let by = sealing.first();
    let (key, text) = SigningKey::adopt(imported, kid, by, issuer_id, &host.rng)?;
    let sealed = Sealed { text, by: by.id().clone() };
    let (mut tx, keys) = begin(host, issuer_id).await?;
    if keys.iter().any(|known| known.kid == *key.kid()) {
        return Err(Refusal::KeyState("there is a key of that name already, or was").into());
    }
    if keys.iter().any(|known| known.state == KeyState::Pending && known.alg == key.alg()) {
        return Err(PENDING_ALREADY.into());
    }
    let made = (key, sealed);
    add(&mut tx, host, issuer_id, &made).await?;
    tx.commit().await?;
    Ok(made.0.kid().clone())
}

/// The public keys of an issuer as it publishes them, or one that it ever had, as JSON.
///
/// # Errors
/// [`Refusal::NotFound`]; faults.
pub async fn export(host: &Host, issuer_id: &str, kid: Option<&Kid>) -> Result<String, Error> {
    let mut tx = host.database.of(issuer_id.into()).read().await?;
    match kid {
        Some(kid) => tx.public_key(kid).await?.ok_or(Refusal::NotFound.into()),
        None => Ok(keyring::load(host, issuer_id, &tx.published_keys().await?).await?.jwks.to_string()),
    }
}

/// Lets a pending key sign, and the one before retire.
///
/// # Errors
/// [`Refusal::NotFound`]; [`Refusal::KeyState`] when it is not pending; [`Refusal::KeyNotYet`] before everybody can have seen it, unless
/// there is a reason not to wait; faults.
pub async fn activate(host: &Host, issuer_id: &str, kid: &Kid, force: Option<&Reason>) -> Result<(), Error> {
    let (mut tx, keys) = begin(host, issuer_id).await?;
    let key = find(&keys, kid)?;
    if key.state != KeyState::Pending {
        return Err(Refusal::KeyState("only a pending key can be activated").into());
    }
    let at = host.rotation.usable_at(key);
    let early = host.now() < at;
    if early && force.is_none() {
        return Err(Refusal::KeyNotYet { what: "it may sign", at }.into());
    }
    let after = active(&keys, key.alg).cloned();
    let early = early.then_some(Early::Forced);
    take_over(&mut tx, host, &key.kid, after.as_ref(), (early, force)).await?;
    tx.commit().await?;
    Ok(())
}

/// Takes a key out of the key set that signs no more: a pending one, which has signed nothing, or a retiring one.
///
/// # Errors
/// [`Refusal::NotFound`]; [`Refusal::KeyState`] when it signs, or has ended; [`Refusal::KeyNotYet`] while something that it signed may be
/// alive, unless there is a reason not to wait; faults.
pub async fn retire(host: &Host, issuer_id: &str, kid: &Kid, force: Option<&Reason>) -> Result<(), Error> {
    let (mut tx, keys) = begin(host, issuer_id).await?;
    let key = find(&keys, kid)?;
    match key.state {
        KeyState::Pending => {}
        KeyState::Retiring => {
            let at = rotation::removable_at(key).ok_or(Error::invariant("a retiring key has retired"))?;
            if host.now() < at && force.is_none() {
                return Err(Refusal::KeyNotYet { what: "it may leave the key set", at }.into());
            }
        }
        KeyState::Active => {
            return Err(Refusal::KeyState("it signs: it retires when another is activated").into());
        }
        KeyState::Removed | KeyState::Revoked => {
            return Err(Refusal::KeyState("it has left the key set already").into());
        }
    }
    let ended = remove(&mut tx, host, key, force).await?;
    tx.commit().await?;
    destroy(host, issuer_id, ended).await;
    Ok(())
}

/// Makes the first key of an algorithm, if there is none yet. Nothing was ever signed with it, so nobody misses it in a key set.
///
/// # Errors
/// Faults.
pub async fn ensure(host: &Host, issuer_id: &str, alg: SigningAlg) -> Result<(), Error> {
    let has = |keys: &[Key]| active(keys, alg).is_some();
    if has(&host.database.of(issuer_id.into()).read().await?.keys(MAX_KEYS).await?) {
        return Ok(());
    }
    let made = generate(host, issuer_id, alg).await?;
    let (mut tx, keys) = begin(host, issuer_id).await?;
    let pending = keys.iter().find(|key| key.state == KeyState::Pending && key.alg == alg);
    if has(&keys) {
        drop(tx);
        discard(host, issuer_id, &made).await;
        return Ok(());
    }
    if pending.is_none() {
        add(&mut tx, host, issuer_id, &made).await?;
    }
    let kid = pending.map_or(made.0.kid(), |pending| &pending.kid);
    take_over(&mut tx, host, kid, None, (Some(Early::First), None)).await?;
    tx.commit().await?;
    if pending.is_some() {
        discard(host, issuer_id, &made).await;
    }
    Ok(())
}

/// What one step of a rotation did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotated {
    /// A new key is published.
    Prepared(Kid),
    /// A key signs.
    Activated(Kid),
}

/// The next step of a rotation: publishes a key where none is pending, else lets that sign. With a reason, both at once.
///
/// # Errors
/// As [`activate`].
pub async fn rotate(host: &Host, issuer_id: &str, alg: SigningAlg, force: Option<&Reason>) -> Result<Rotated, Error> {
    let keys = host.database.of(issuer_id.into()).read().await?.keys(MAX_KEYS).await?;
    let pending = keys.iter().find(|key| key.state == KeyState::Pending && key.alg == alg);
    let kid = if let Some(pending) = pending {
        pending.kid.clone()
    } else {
        let kid = prepare(host, issuer_id, alg).await?;
        if force.is_none() {
            return Ok(Rotated::Prepared(kid));
        }
        kid
    };
    activate(host, issuer_id, &kid, force).await?;
    Ok(Rotated::Activated(kid))
}

/// Does what is due, of all issuers. What fails of one is logged and tried again at the next look; it keeps none of the others waiting.
///
/// # Errors
/// Faults of the look itself.
pub async fn run(host: &Host) -> Result<(), Error> {
    let (now, rotation) = (host.now(), &host.rotation);
    let mut tx = host.database.read().await?;
    let removable = tx.keys_to_remove(now - rotation::kept_for(), MAX_KEYS).await?;
    let (mut to_prepare, mut to_activate) = (Vec::new(), Vec::new());
    if let Some(interval) = rotation.interval {
        to_prepare = tx.keys_to_rotate(None, now - interval + rotation.lead(), MAX_KEYS).await?;
        to_activate = tx.keys_to_rotate(Some(now - rotation.lead()), now - interval, MAX_KEYS).await?;
    }
    drop(tx);
    for (issuer_id, alg) in to_activate {
        noted(&issuer_id, activate_due(host, &issuer_id, alg).await);
    }
    for (issuer_id, alg) in to_prepare {
        let made = prepare(host, &issuer_id, alg).await.map(drop);
        let out = matches!(&made, Err(Error::Fault(fault)) if fault.is_outage());
        noted(&issuer_id, made);
        // A device that does not answer takes a minute each time.
        if out {
            break;
        }
    }
    for (issuer_id, _) in removable {
        noted(&issuer_id, remove_due(host, &issuer_id).await);
    }
    Ok(())
}

fn noted(issuer_id: &str, outcome: Result<(), Error>) {
    match outcome {
        // Another server was first.
        Ok(()) | Err(Error::Refused(_)) => {}
        Err(error) => {
            meters::rotation_failed();
            tracing::error!(issuer = issuer_id, error = &error as &dyn std::error::Error, "a key could not be rotated");
        }
    }
}

async fn activate_due(host: &Host, issuer_id: &str, alg: SigningAlg) -> Result<(), Error> {
    let (mut tx, keys) = begin(host, issuer_id).await?;
    let now = host.now();
    let due = active(&keys, alg).and_then(|active| {
        let pending = rotation::successor(&keys, active)?;
        let (_, at) = host.rotation.next(active, Some(pending))?;
        (at <= now).then_some((active, pending))
    });
    if let Some((active, pending)) = due {
        take_over(&mut tx, host, &pending.kid, Some(active), (None, None)).await?;
        tx.commit().await?;
    }
    Ok(())
}

async fn remove_due(host: &Host, issuer_id: &str) -> Result<(), Error> {
    let (mut tx, keys) = begin(host, issuer_id).await?;
    let (now, mut ended) = (host.now(), Vec::new());
    for key in keys.iter().filter(|key| rotation::removable_at(key).is_some_and(|at| at <= now)) {
        if key.state == KeyState::Retiring {
            ended.push(remove(&mut tx, host, key, None).await?);
        }
    }
    tx.commit().await?;
    for key in ended {
        destroy(host, issuer_id, key).await;
    }
    Ok(())
}

/// By how much the most overdue rotation of all issuers is late.
///
/// # Errors
/// Faults.
pub async fn find_overdue(host: &Host) -> Result<Option<Seconds>, Error> {
    Ok(overdue(host, host.database.read().await?.first_to_rotate().await?))
}

/// The same, given what the oldest age counts from.
#[must_use]
pub fn overdue(host: &Host, first: Option<Timestamp>) -> Option<Seconds> {
    let late = host.now() - host.rotation.activate_at(first?)?;
    (late > GRACE).then_some(late)
}

/// A transaction that holds the issuer, and its keys as they are now.
pub(super) async fn begin(host: &Host, issuer_id: &str) -> Result<(Tx, Vec<Key>), Error> {
    let mut tx = host.database.of(issuer_id.into()).begin().await?;
    tx.touch_issuer().await?;
    let keys = tx.keys(MAX_KEYS).await?;
    Ok((tx, keys))
}

fn find<'a>(keys: &'a [Key], kid: &Kid) -> Result<&'a Key, Refusal> {
    keys.iter().find(|key| key.kid == *kid).ok_or(Refusal::NotFound)
}

fn active(keys: &[Key], alg: SigningAlg) -> Option<&Key> {
    keys.iter().find(|key| key.state == KeyState::Active && key.alg == alg)
}

pub(super) async fn generate(host: &Host, issuer_id: &str, alg: SigningAlg) -> Result<Made, Error> {
    keyring::make(&host.sealing.keys(), issuer_id, alg, &host.rng).await
}

/// Lets go of a key that was made and is not needed.
pub(super) async fn discard(host: &Host, issuer_id: &str, (key, sealed): &Made) {
    keyring::destroy(&host.sealing.keys(), issuer_id, key.kid(), sealed).await;
}

/// A key that has ended, and what is still to be destroyed of it once that is durable.
pub(super) type Ended = (Kid, Option<Sealed>);

pub(super) async fn destroy(host: &Host, issuer_id: &str, (kid, sealed): Ended) {
    if let Some(sealed) = sealed {
        keyring::destroy(&host.sealing.keys(), issuer_id, &kid, &sealed).await;
    }
}

pub(super) async fn add(tx: &mut Tx, host: &Host, issuer_id: &str, (key, sealed): &Made) -> Result<(), Error> {
    let (kid, alg, now) = (key.kid(), key.alg(), host.now());
    if !keyring::add(tx, &host.sealing.keys(), issuer_id, (key, sealed), (&host.rng, now)).await? {
        return Err(Error::invariant("a new key is new, and no other one is pending"));
    }
    let event = Event::KeyPrepared { kid: kid.clone(), alg };
    tx.record(Entry::new(host.id(), now, event)).await?;
    Ok(())
}

pub(super) async fn take_over(
    tx: &mut Tx,
    host: &Host,
    kid: &Kid,
    after: Option<&Key>,
    (early, reason): (Option<Early>, Option<&Reason>),
) -> Result<(), Error> {
    let now = host.now();
    if let Some(after) = after
        && after.state == KeyState::Active
        && !tx.retire_key(&after.kid, now).await?
    {
        return Err(Error::invariant("whoever holds the issuer moves its keys alone"));
    }
    if !tx.activate_key(kid, host.rotation.rotates_from(now, host.rng.fraction()), now).await? {
        return Err(Error::invariant("whoever holds the issuer moves its keys alone"));
    }
    let event = Event::KeyActivated {
        kid: kid.clone(),
        after: after.map(|key| key.kid.clone()),
        early,
        reason: reason.map(|reason| reason.as_str().to_owned()),
    };
    tx.record(Entry::new(host.id(), now, event)).await?;
    Ok(())
}

async fn remove(tx: &mut Tx, host: &Host, key: &Key, force: Option<&Reason>) -> Result<Ended, Error> {
    let (now, reason) = (host.now(), force.map(Reason::as_str));
    let remains = keyring::remains(tx, &host.sealing.keys(), &key.kid).await?;
    if !tx.end_key(key, KeyState::Removed, reason, now).await? {
        return Err(Error::invariant("whoever holds the issuer moves its keys alone"));
    }
    let event = Event::KeyRemoved { kid: key.kid.clone(), reason: reason.map(str::to_owned) };
    tx.record(Entry::new(host.id(), now, event)).await?;
    Ok((key.kid.clone(), remains))
}

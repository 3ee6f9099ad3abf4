//! An issuer's keys: from rows to a ring, and signatures that are looked at before they leave.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jose_jwk::Jwk;

use crate::domain::claims::{ID_JAG, IdJag};
use crate::domain::ids::{Kid, SealingKeyId};
use crate::domain::journal::Event;
use crate::domain::rotation::{Early, KeyState, Rotation, SigningAlg};
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::flow::sealing;
use crate::host::{App, Host};
use crate::jose::{JoseError, Keyring, SealingKeys, SigningKey};
use crate::rng::Rng;
use crate::store::{Entry, KeyRow, NewKey, Tx};

/// Keys that do not open.
#[derive(Debug, thiserror::Error)]
#[error("{of}: {cause}")]
pub struct Unopened {
    of: String,
    cause: JoseError,
}

impl From<Unopened> for Error {
    #[track_caller]
    fn from(unopened: Unopened) -> Self {
        unopened.cause.into()
    }
}

const NOT_HERE: JoseError = JoseError("that sealing key is not here");

/// Puts the ring together from the published rows of an issuer.
///
/// # Errors
/// When no key is active, or one does not open.
pub fn open(sealing: &SealingKeys, issuer_id: &str, rows: &[KeyRow]) -> Result<Keyring, Unopened> {
    let failed = |row: &KeyRow, cause| Unopened {
        of: format!("{} of issuer {issuer_id}, sealed by the sealing key {}", row.key.kid, row.sealed_by),
        cause,
    };
    let mut active = Vec::new();
    for row in rows.iter().filter(|row| row.key.state == KeyState::Active) {
        let by = sealing.get(&row.sealed_by).ok_or_else(|| failed(row, NOT_HERE))?;
        let public = public(row).map_err(|cause| failed(row, cause))?;
        let (by, sealed) = ((&**by, sealing.device()), (row.sealed.as_str(), &public));
        let key = SigningKey::open(row.key.alg, by, issuer_id, &row.key.kid, sealed);
        active.push(key.map_err(|cause| failed(row, cause))?);
    }
    let jwks: Result<Vec<Jwk>, _> = rows.iter().map(public).collect();
    let ring = jwks.and_then(|jwks| Keyring::new(active, jwks));
    ring.map_err(|cause| Unopened { of: format!("issuer {issuer_id}"), cause })
}

fn public(row: &KeyRow) -> Result<Jwk, JoseError> {
    serde_json::from_str(&row.public_jwk).map_err(|_| JoseError("a published key is not JSON"))
}

/// The same for a process, which looks for a sealing key that is not here, and says which key does not open.
///
/// # Errors
/// Faults, as [`open`].
pub async fn load(host: &Host, issuer_id: &str, rows: &[KeyRow]) -> Result<Keyring, Error> {
    let mut opened = open(&host.sealing.keys(), issuer_id, rows);
    if opened.as_ref().is_err_and(|unopened| unopened.cause == NOT_HERE) {
        sealing::follow(host).await?;
        opened = open(&host.sealing.keys(), issuer_id, rows);
    }
    host.sealing.opened(issuer_id, opened.as_ref().err().map(|unopened| unopened.of.as_str()));
    Ok(opened.inspect_err(|unopened| tracing::error!("signing keys cannot be used: {unopened}"))?)
}

/// A private half, sealed.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// The text.
    pub text: String,
    /// By which sealing key.
    pub by: SealingKeyId,
}

impl Sealed {
    /// The same sealed by what the database says in the caller's transaction: the sealing key may have been changed since.
    ///
    /// # Errors
    /// Faults.
    async fn settled(
        &self,
        tx: &mut Tx,
        sealing: &SealingKeys,
        (issuer_id, kid): (&str, &Kid),
        rng: &Rng,
    ) -> Result<Self, Error> {
        let by = tx.current_sealing_key().await?.ok_or(Error::invariant("a database names its sealing key"))?;
        if by == self.by {
            return Ok(self.clone());
        }
        let (Some(from), Some(to)) = (sealing.get(&self.by), sealing.get(&by)) else { return Err(NOT_HERE.into()) };
        Ok(Self { text: SigningKey::reseal([from, to], issuer_id, kid, &self.text, rng)?, by })
    }
}

/// Publishes a key that does not sign yet. `false` when there is such a key already, or another one is pending.
///
/// # Errors
/// Faults.
pub async fn add(
    tx: &mut Tx,
    sealing: &SealingKeys,
    issuer_id: &str,
    (key, sealed): (&SigningKey, &Sealed),
    (rng, now): (&Rng, Timestamp),
) -> Result<bool, Error> {
    let (kid, alg, public_jwk) = (key.kid(), key.alg(), json(key)?);
    let sealed = sealed.settled(tx, sealing, (issuer_id, kid), rng).await?;
    let new = NewKey { kid, alg, public_jwk: &public_jwk, sealed: &sealed.text, sealed_by: &sealed.by };
    Ok(tx.add_pending_key(&new, now).await?)
}

/// A key that was just made, and what is to be kept of it.
pub type Made = (SigningKey, Sealed);

/// Makes a key, in the device where there is one. Before any transaction: RSA takes a good part of a second, and a device its own time.
///
/// # Errors
/// Faults.
pub async fn make(sealing: &SealingKeys, issuer_id: &str, alg: SigningAlg, rng: &Rng) -> Result<Made, Error> {
    let by = sealing.first().clone();
    let id = by.id().clone();
    let (key, text) = if let Some(device) = sealing.device() {
        SigningKey::generate_in(device, alg, &by, issuer_id, rng).await?
    } else {
        let (issuer_id, rng) = (issuer_id.to_owned(), rng.clone());
        let made = tokio::task::spawn_blocking(move || SigningKey::generate(alg, &by, &issuer_id, &rng));
        made.await.map_err(|_| Error::invariant("making a key does not panic"))??
    };
    Ok((key, Sealed { text, by: id }))
}

/// Destroys what a device has of a key that has ended, or was not needed. What it does not do an operator has to: the key is named.
pub async fn destroy(sealing: &SealingKeys, issuer_id: &str, kid: &Kid, sealed: &Sealed) {
    let Some(device) = sealing.device() else { return };
    let destroyed = match sealing.get(&sealed.by) {
        Some(by) => SigningKey::destroy((by, Some(device)), issuer_id, kid, &sealed.text).await,
        None => Err(NOT_HERE),
    };
    if let Err(error) = destroyed {
        tracing::error!(issuer = issuer_id, kid = kid.as_str(), %error, "a key that has ended is still in the PKCS #11 device");
    }
}

/// What is kept of a key in a device, to be destroyed once it has ended; nothing where there is no device.
///
/// # Errors
/// Faults.
pub async fn remains(tx: &mut Tx, sealing: &SealingKeys, kid: &Kid) -> Result<Option<Sealed>, Error> {
    if sealing.device().is_none() {
        return Ok(None);
    }
    let row = tx.published_keys().await?.into_iter().find(|row| row.key.kid == *kid);
    Ok(row.map(|row| Sealed { text: row.sealed, by: row.sealed_by }))
}

/// Adds the first key of an issuer. Nobody has seen its JWKS yet, so it may sign at once.
///
/// # Errors
/// Faults.
pub async fn add_first(
    tx: &mut Tx,
    sealing: &SealingKeys,
    issuer_id: &str,
    (key, sealed): &Made,
    (rng, rotation, now): (&Rng, &Rotation, Timestamp),
) -> Result<(), Error> {
    let added = add(tx, sealing, issuer_id, (key, sealed), (rng, now)).await?;
    if !added || !tx.activate_key(key.kid(), rotation.rotates_from(now, rng.fraction()), now).await? {
        return Err(Error::invariant("a new issuer has no key"));
    }
    let event = Event::KeyActivated { kid: key.kid().clone(), after: None, early: Some(Early::First), reason: None };
    tx.record(Entry::new(rng.id(now), now, event)).await?;
    Ok(())
}

/// The key that signs with an algorithm, in the caller's transaction: not one that another server has retired or revoked meanwhile.
///
/// # Errors
/// Faults, among them that there is none.
pub async fn signer(app: &App, tx: &mut Tx, alg: SigningAlg) -> Result<Arc<SigningKey>, Error> {
    if let Some(key) = app.issuer.ring.signer(alg)
        && tx.key_signs(key.kid()).await?
    {
        return Ok(key.clone());
    }
    let ring = load(&app.host, &app.issuer.id, &tx.published_keys().await?).await?;
    ring.signer(alg).cloned().ok_or(Error::invariant("whatever needs a key of an algorithm has one"))
}

/// The public half of a key, as it is stored.
///
/// # Errors
/// Never: a JWK is JSON.
fn json(key: &SigningKey) -> Result<String, Error> {
    serde_json::to_string(key.public_jwk()).map_err(|_| Error::invariant("a JWK is JSON"))
}

/// Signs an assertion, and looks at what came out before it leaves (SPIRE's habit): a token that does not say what was decided is a
/// fault, never a token.
///
/// # Errors
/// A fault of ours.
pub async fn sign_assertion(app: &App, key: &SigningKey, claims: &IdJag) -> Result<String, Error> {
    let token = key.sign(ID_JAG, claims).await?;
    let payload = token.split('.').nth(1).and_then(|payload| URL_SAFE_NO_PAD.decode(payload).ok());
    let signed: Option<IdJag> = payload.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    match signed {
        Some(signed) if signed == *claims => {
            signed.check(app.issuer.url.as_str(), app.now()).map_err(Error::invariant)?;
            Ok(token)
        }
        _ => Err(Error::invariant("a signed assertion says what was decided")),
    }
}

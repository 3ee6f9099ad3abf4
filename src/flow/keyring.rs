//! An issuer's keys: from rows to a ring, and signatures that are looked at before they leave.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jose_jwk::Jwk;

use crate::domain::claims::{ID_JAG, IdJag};
use crate::domain::journal::Event;
use crate::domain::rotation::{Early, KeyState, Rotation, SigningAlg};
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::host::App;
use crate::jose::{JoseError, Keyring, SealingKey, SigningKey};
use crate::rng::Rng;
use crate::store::{Entry, KeyRow, NewKey, Tx};

/// Puts the ring together from the published rows of an issuer.
///
/// # Errors
/// When no key is active, or the sealing key does not open one.
pub fn open(sealing: &SealingKey, issuer_id: &str, rows: &[KeyRow]) -> Result<Keyring, JoseError> {
    let active = rows.iter().filter(|row| row.key.state == KeyState::Active);
    let active = active.map(|row| SigningKey::open(row.key.alg, sealing, issuer_id, &row.key.kid, &row.sealed));
    let active = active.collect::<Result<_, _>>()?;
    let jwks: Result<Vec<Jwk>, _> = rows.iter().map(|row| serde_json::from_str(&row.public_jwk)).collect();
    Keyring::new(active, jwks.map_err(|_| JoseError("a published key is not JSON"))?)
}

/// Makes the first key of an issuer. Nobody has seen its JWKS yet, so it may sign at once.
///
/// # Errors
/// Faults.
pub async fn add_first(
    tx: &mut Tx,
    sealing: &SealingKey,
    issuer_id: &str,
    rng: &Rng,
    rotation: &Rotation,
    now: Timestamp,
) -> Result<(), Error> {
    let alg = SigningAlg::Es256;
    let (key, sealed) = SigningKey::generate(alg, sealing, issuer_id, rng)?;
    let public_jwk = json(&key)?;
    let new = NewKey { kid: key.kid(), alg, public_jwk: &public_jwk, sealed: &sealed };
    let added = tx.add_pending_key(&new, now).await?;
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
    let ring = open(&app.sealing, &app.issuer.id, &tx.published_keys().await?)?;
    ring.signer(alg).cloned().ok_or(Error::invariant("whatever needs a key of an algorithm has one"))
}

/// The public half of a key, as it is stored.
///
/// # Errors
/// Never: a JWK is JSON.
pub fn json(key: &SigningKey) -> Result<String, Error> {
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

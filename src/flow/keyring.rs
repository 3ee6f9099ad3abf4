//! An issuer's keys: from rows to a ring, and signatures that are looked at before they leave.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::domain::claims::{ID_JAG, IdJag};
use crate::domain::rotation::KeyState;
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::host::App;
use crate::jose::{JoseError, Keyring, SealingKey, SigningKey};
use crate::rng::Rng;
use crate::store::{KeyRow, Tx};

/// Puts the ring together from the published rows of an issuer.
///
/// # Errors
/// When no key is active, or the sealing key does not open it.
pub fn open(sealing: &SealingKey, issuer_id: &str, rows: &[KeyRow]) -> Result<Keyring, JoseError> {
    let active = rows.iter().find(|row| row.state == KeyState::Active).ok_or(JoseError("there is no active key"))?;
    let active = SigningKey::open(sealing, issuer_id, &active.kid, &active.sealed)?;
    let jwks: Result<Vec<Value>, _> = rows.iter().map(|row| serde_json::from_str(&row.public_jwk)).collect();
    Keyring::new(active, &jwks.map_err(|_| JoseError("a published key is not JSON"))?)
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
    now: Timestamp,
) -> Result<(), Error> {
    let (key, sealed) = SigningKey::generate(sealing, issuer_id, rng)?;
    tx.add_active_key(key.kid(), &key.public_jwk().to_string(), &sealed, now).await?;
    Ok(())
}

/// Signs an assertion, and looks at what came out before it leaves (SPIRE's habit): a token that does not say what was decided is a
/// fault, never a token.
///
/// # Errors
/// A fault of ours.
pub fn sign_assertion(app: &App, ring: &Keyring, claims: &IdJag) -> Result<String, Error> {
    let token = ring.active.sign(ID_JAG, claims)?;
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

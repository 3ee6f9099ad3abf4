//! An issuer's keys at work: those that sign, and the set that is published.

use std::sync::Arc;

use jose_jwk::{Jwk, JwkSet};

use super::{JoseError, PublicKey, SigningKey};
use crate::domain::ids::Kid;
use crate::domain::rotation::SigningAlg;
use crate::secret::sha256;

/// The keys that sign, one of each algorithm, and every key that is published. Replaced as a whole when the rows change.
#[derive(Clone, Debug)]
pub struct Keyring {
    /// Signs ES256: every issuer has one.
    pub active: Arc<SigningKey>,
    /// Signs RS256, where something of the issuer needs that.
    rs256: Option<Arc<SigningKey>>,
    /// By `kid`, for verifying what we signed.
    pub published: Vec<(Kid, Arc<PublicKey>)>,
    /// The document at `/.well-known/jwks.json`.
    pub jwks: Arc<str>,
    /// The validator of that document (RFC 9110 section 8.8.3), computed once: everyone fetches it.
    pub etag: Arc<str>,
}

impl Keyring {
    /// Puts a ring together from the active keys and the published JWKs, those of the active ones among them.
    ///
    /// # Errors
    /// When nothing signs ES256, or a JWK of ours does not parse.
    pub fn new(active: Vec<SigningKey>, jwks: Vec<Jwk>) -> Result<Self, JoseError> {
        let mut published = Vec::with_capacity(jwks.len());
        for jwk in &jwks {
            let kid = jwk.prm.kid.clone().ok_or(JoseError("a published key has no kid"))?;
            let value = serde_json::to_value(jwk).map_err(|_| JoseError("a published key is not JSON"))?;
            let key = PublicKey::from_jwk(&value).ok_or(JoseError("a published key does not parse"))?;
            published.push((kid.into(), Arc::new(key)));
        }
        let jwks =
            serde_json::to_string(&JwkSet { keys: jwks }).map_err(|_| JoseError("a published key is not JSON"))?;
        let etag = format!("\"{}\"", sha256(jwks.as_bytes()));
        let (mut es256, mut rs256) = (None, None);
        for key in active {
            match key.alg() {
                SigningAlg::Es256 => es256 = Some(Arc::new(key)),
                SigningAlg::Rs256 => rs256 = Some(Arc::new(key)),
            }
        }
        let active = es256.ok_or(JoseError("there is no active key"))?;
        Ok(Self { active, rs256, published, jwks: jwks.into(), etag: etag.into() })
    }

    /// The key that signs with an algorithm.
    pub fn signer(&self, alg: SigningAlg) -> Option<&Arc<SigningKey>> {
        match alg {
            SigningAlg::Es256 => Some(&self.active),
            SigningAlg::Rs256 => self.rs256.as_ref(),
        }
    }
}

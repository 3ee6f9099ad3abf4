//! A lab's issuer: who it says it is, and every key that a test needs of it, good ones and others, all made of one.

use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::domain::ids::{IdError, IssuerUrl, LAB_DOMAIN};
use crate::domain::rotation::SigningAlg;
pub use crate::jose::LabKey;

use crate::jose::JoseError;
use crate::rng::Rng;

/// An issuer of a lab. Its keys sign for tests and nothing else; no server of ours takes them.
pub struct LabIssuer {
    /// Its identifier.
    pub url: IssuerUrl,
    /// Signs what is good.
    pub key: LabKey,
    /// Published beside it: the one that follows.
    pub next: LabKey,
    /// Was published, and is no more.
    pub removed: LabKey,
    /// Nobody's.
    pub stranger: LabKey,
    /// Held by the client, for proofs of possession.
    pub holder: LabKey,
    rs256: OnceLock<LabKey>,
}

impl LabIssuer {
    /// An issuer whose keys are all made of one; RSA is made when it is first asked for, unless the one is RSA.
    ///
    /// # Errors
    /// When the library refuses.
    pub fn new(url: IssuerUrl, key: LabKey) -> Result<Self, JoseError> {
        let derive = |name| key.derive(name);
        let (next, removed) = (derive("next")?, derive("removed")?);
        let (stranger, holder) = (derive("stranger")?, derive("holder")?);
        Ok(Self { url, key, next, removed, stranger, holder, rs256: OnceLock::new() })
    }

    /// The same with an RSA key that is there already.
    #[must_use]
    pub fn with_rs256(self, key: LabKey) -> Self {
        Self { rs256: OnceLock::from(key), ..self }
    }

    /// Where nobody can fetch anything.
    ///
    /// # Errors
    /// Never: it is an identifier.
    pub fn default_url() -> Result<IssuerUrl, IdError> {
        IssuerUrl::parse(&format!("https://{LAB_DOMAIN}"))
    }

    /// The key that signs with an algorithm.
    ///
    /// # Errors
    /// When an RSA key cannot be made.
    pub fn signer(&self, alg: SigningAlg) -> Result<&LabKey, JoseError> {
        if self.key.alg() == alg {
            return Ok(&self.key);
        }
        if alg == SigningAlg::Es256 {
            return Ok(&self.next);
        }
        if let Some(key) = self.rs256.get() {
            return Ok(key);
        }
        let made = LabKey::generate(alg, &Rng::Os)?;
        Ok(self.rs256.get_or_init(|| made))
    }

    /// The set that it publishes. Two keys of one kind, so that a token which names none fits neither.
    #[must_use]
    pub fn jwks(&self) -> Value {
        let keys = [Some(&self.key), Some(&self.next), self.rs256.get()];
        json!({"keys": keys.into_iter().flatten().map(LabKey::public_jwk).collect::<Vec<_>>()})
    }
}

impl std::fmt::Debug for LabIssuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "<lab issuer {}>", self.url)
    }
}

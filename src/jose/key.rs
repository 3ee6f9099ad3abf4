//! Our signing keys. Bytes leave them only sealed.

use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::{Value, json};

use super::{JoseError, PublicKey, SealingKey};
use crate::domain::ids::Kid;
use crate::rng::Rng;
use crate::secret::sha256;

/// An ES256 key that signs. Parsed once; `kid` is its RFC 7638 thumbprint.
pub struct SigningKey {
    kid: Kid,
    pair: EcdsaKeyPair,
}

impl SigningKey {
    /// Makes a key, and its sealed form for the database.
    ///
    /// # Errors
    /// When the library refuses.
    pub fn generate(sealing: &SealingKey, issuer_id: &str, rng: &Rng) -> Result<(Self, String), JoseError> {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map_err(|_| JoseError("a signing key could not be made"))?;
        let key = Self::parse(document.as_ref())?;
        let sealed = sealing.seal(document.as_ref(), &context(issuer_id, &key.kid), rng)?;
        Ok((key, sealed))
    }

    /// Opens a key from the database.
    ///
    /// # Errors
    /// When it was sealed by another key, for another row, or is none.
    pub fn open(sealing: &SealingKey, issuer_id: &str, kid: &Kid, sealed: &str) -> Result<Self, JoseError> {
        let key = Self::parse(&sealing.open(sealed, &context(issuer_id, kid))?)?;
        if key.kid == *kid { Ok(key) } else { Err(JoseError("a sealed key is not the one its row names")) }
    }

    fn parse(pkcs8: &[u8]) -> Result<Self, JoseError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8)
            .map_err(|_| JoseError("a sealed key is no P-256 key"))?;
        Ok(Self { kid: thumbprint(&pair), pair })
    }

    /// Its name in header and JWKS.
    pub fn kid(&self) -> &Kid {
        &self.kid
    }

    /// The public half as it is published (RFC 7517 section 4).
    pub fn public_jwk(&self) -> Value {
        let (x, y) = coordinates(&self.pair);
        json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "alg": "ES256", "use": "sig", "kid": self.kid})
    }

    /// Signs `claims` as a compact JWS (RFC 7515 section 7.1) with `typ`, `alg` and `kid` in its header.
    ///
    /// # Errors
    /// When the claims are no JSON or the library refuses; both are faults of ours.
    pub fn sign(&self, typ: &str, claims: &impl Serialize) -> Result<String, JoseError> {
        let header = format!(r#"{{"typ":"{typ}","alg":"ES256","kid":"{}"}}"#, self.kid);
        let payload = serde_json::to_vec(claims).map_err(|_| JoseError("claims are not JSON"))?;
        let mut token = String::with_capacity(header.len() * 4 / 3 + payload.len() * 4 / 3 + 96);
        URL_SAFE_NO_PAD.encode_string(header, &mut token);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(payload, &mut token);
        let signature =
            self.pair.sign(&SystemRandom::new(), token.as_bytes()).map_err(|_| JoseError("signing failed"))?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.as_ref(), &mut token);
        Ok(token)
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "<signing key {}>", self.kid)
    }
}

fn coordinates(pair: &EcdsaKeyPair) -> (String, String) {
    // SEC 1: 0x04, then x and y, 32 bytes each.
    let point = pair.public_key().as_ref();
    (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..65]))
}

/// RFC 7638 section 3: the required members in lexicographic order, hashed.
fn thumbprint(pair: &EcdsaKeyPair) -> Kid {
    let (x, y) = coordinates(pair);
    sha256(format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#).as_bytes()).into()
}

/// What a sealed key is bound to.
fn context(issuer_id: &str, kid: &Kid) -> String {
    format!("{issuer_id} {kid}")
}

/// The key that signs, and every key that is published. Replaced as a whole when the rows change.
#[derive(Clone, Debug)]
pub struct Keyring {
    /// Signs.
    pub active: Arc<SigningKey>,
    /// By `kid`, for verifying what we signed.
    pub published: Vec<(Kid, Arc<PublicKey>)>,
    /// The document at `/.well-known/jwks.json`.
    pub jwks: Arc<str>,
    /// The validator of that document (RFC 9110 section 8.8.3), computed once: everyone fetches it.
    pub etag: Arc<str>,
}

impl Keyring {
    /// Puts a ring together from the active key and the published JWKs, the active one among them.
    ///
    /// # Errors
    /// When a JWK of ours does not parse.
    pub fn new(active: SigningKey, jwks: &[Value]) -> Result<Self, JoseError> {
        let mut published = Vec::with_capacity(jwks.len());
        for jwk in jwks {
            let kid = jwk["kid"].as_str().ok_or(JoseError("a published key has no kid"))?;
            let key = PublicKey::from_jwk(jwk).ok_or(JoseError("a published key does not parse"))?;
            published.push((kid.into(), Arc::new(key)));
        }
        let jwks = json!({ "keys": jwks }).to_string();
        let etag = format!("\"{}\"", sha256(jwks.as_bytes()));
        Ok(Self { active: Arc::new(active), published, jwks: jwks.into(), etag: etag.into() })
    }
}

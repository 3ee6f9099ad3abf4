//! Public keys of others, from a JWK Set (RFC 7517).

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use serde::Deserialize as _;
use serde_json::Value;

use crate::domain::ids::Kid;
use crate::domain::public_jwks::{MAX_KEYS, holds_private_key};
use crate::domain::public_key;

/// A key that verifies. The algorithm belongs to the key, never to the token.
#[derive(Debug)]
pub enum PublicKey {
    /// P-256; the point was checked to lie on the curve.
    Es256(Box<ParsedPublicKey>),
    /// RSA of at least 2048 bits: modulus and exponent.
    Rs256(Box<[u8]>, Box<[u8]>),
}

impl PublicKey {
    /// Reads a JWK. `None` for what cannot verify a signature here: another type or curve, a private or symmetric key, another
    /// `use` or `alg`, a weak modulus, a point off the curve.
    #[must_use]
    pub fn from_jwk(jwk: &Value) -> Option<Self> {
        if jwk.as_object().is_none_or(holds_private_key) {
            return None;
        }
        let Jwk { common, algorithm } = Jwk::deserialize(jwk).ok()?;
        if common.public_key_use.is_some_and(|used| used != PublicKeyUse::Signature)
            || common.key_operations.is_some_and(|operations| !operations.contains(&KeyOperations::Verify))
        {
            return None;
        }
        let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
        match (&algorithm, common.key_algorithm) {
            (AlgorithmParameters::EllipticCurve(key), None | Some(KeyAlgorithm::ES256))
                if key.curve == EllipticCurve::P256 =>
            {
                let point = public_key::p256_point(&bytes(&key.x)?, &bytes(&key.y)?).ok()?;
                let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).ok()?;
                Some(Self::Es256(Box::new(key)))
            }
            (AlgorithmParameters::RSA(key), None | Some(KeyAlgorithm::RS256)) => {
                let (n, e) = public_key::rsa_numbers(&bytes(&key.n)?, &bytes(&key.e)?).ok()?;
                Some(Self::Rs256(n, e))
            }
            _ => None,
        }
    }

    /// The one algorithm of this key.
    pub fn alg(&self) -> &'static str {
        match self {
            Self::Es256(_) => "ES256",
            Self::Rs256(..) => "RS256",
        }
    }

    /// Whether `signature` is this key's over `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Es256(key) => key.verify_sig(message, signature).is_ok(),
            Self::Rs256(n, e) => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
            }
        }
    }
}

/// A set: keys by `kid`.
#[derive(Debug, Default)]
pub struct Jwks(Vec<(Option<Kid>, PublicKey)>);

impl Jwks {
    /// Reads a set, each key by itself: what we cannot use is passed over, so that one new kind of key does not silence the others.
    #[must_use]
    pub fn parse(document: &Value) -> Self {
        let keys = document.get("keys").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let read = |jwk: &Value| {
            let kid = jwk.get("kid").and_then(Value::as_str).map(Kid::from);
            PublicKey::from_jwk(jwk).map(|key| (kid, key))
        };
        Self(keys.iter().take(MAX_KEYS).filter_map(read).collect())
    }

    /// Whether nothing in it verifies anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key a header names; a header without `kid` only finds the only key of its algorithm.
    #[must_use]
    pub fn find(&self, kid: Option<&Kid>, alg: &str) -> Option<&PublicKey> {
        let mut fitting = self.0.iter().filter(|(k, key)| key.alg() == alg && (kid.is_none() || k.as_ref() == kid));
        match (fitting.next(), fitting.next()) {
            (Some((_, key)), None) => Some(key),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_that_verify_nothing() {
        // RFC 7517 appendix A.1.
        let ec = json!({"kty": "EC", "crv": "P-256", "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
            "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM", "use": "sig", "kid": "1"});
        assert!(PublicKey::from_jwk(&ec).is_some());
        let changed = |name: &str, value: Value| {
            let mut key = ec.clone();
            key[name] = value;
            key
        };
        for (name, value) in [
            ("d", json!("870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE")),
            ("use", json!("enc")),
            ("alg", json!("HS256")),
            ("kty", json!("oct")),
            ("crv", json!("P-384")),
            ("y", json!("5Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM")),
            ("x", json!("AAAA")),
            ("key_ops", json!(["sign"])),
        ] {
            assert!(PublicKey::from_jwk(&changed(name, value)).is_none(), "{name}");
        }
        let short = URL_SAFE_NO_PAD.encode([0xff; 128]);
        assert!(PublicKey::from_jwk(&json!({"kty": "RSA", "n": short, "e": "AQAB"})).is_none());
    }

    #[test]
    fn an_unknown_key_type_does_not_silence_the_set() {
        let set = Jwks::parse(&json!({"keys": [{"kty": "AKP", "alg": "ML-DSA-44", "pub": "x"},
            {"kty": "EC", "crv": "P-256", "kid": "1", "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
            "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}));
        assert!(set.find(Some(&"1".into()), "ES256").is_some());
        assert!(set.find(None, "ES256").is_some());
        assert!(set.find(Some(&"2".into()), "ES256").is_none());
        assert!(set.find(Some(&"1".into()), "RS256").is_none());
    }
}

//! Key sets that somebody registers with us: public keys only, and nothing in them that contradicts itself.

use std::collections::BTreeSet;

use jose_jwk::jose_jwa::{Algorithm, Signing};
use jose_jwk::{Class, EcCurves, Jwk, Key, Operations};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ids::{IdError, Kid};
use super::public_key;

/// Most keys of a set: enough for any rotation, few enough to try.
pub const MAX_KEYS: usize = 32;

/// A JWK Set (RFC 7517 section 5) as it was given, judged. What is not known here (a kind of key, a curve, an algorithm) is passed over,
/// as section 5 asks, so that something new does not silence the others; what is known has to be right.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub struct PublicJwks {
    set: Value,
    has_usable_key: bool,
}

impl PublicJwks {
    /// Reads a set.
    ///
    /// # Errors
    /// When it is none, or one of its keys is not public, is weak, or contradicts itself.
    pub fn parse(set: Value) -> Result<Self, IdError> {
        let keys = set.get("keys").and_then(Value::as_array).filter(|keys| (1..=MAX_KEYS).contains(&keys.len()));
        let keys = keys.ok_or(IdError("it must be an object whose member keys is a list of 1 to 32 keys"))?;
        let mut names = BTreeSet::new();
        let mut has_usable_key = false;
        for key in keys {
            let members = key.as_object().ok_or(IdError("each of its keys must be an object"))?;
            if holds_private_key(members) {
                return Err(IdError(
                    "it holds a private or symmetric key: give the public part only, and replace that key",
                ));
            }
            if !members.get("kty").is_some_and(Value::is_string) {
                return Err(IdError("each of its keys must say its kty"));
            }
            if key["kid"].as_str().is_some_and(|kid| Kid::from(kid).is_of_lab()) {
                return Err(IdError("one of its keys is a lab's, by its kid: such keys are for tests"));
            }
            if is_usable(key)? {
                has_usable_key = true;
                // Whoever names its key by a name that two of its kind have names none (RFC 7517 section 4.5).
                if !names.insert((key["kty"].as_str(), key["kid"].as_str())) {
                    return Err(IdError("each of several keys of one kty must have a kid of its own"));
                }
            }
        }
        Ok(Self { set, has_usable_key })
    }

    /// The set as JSON.
    #[must_use]
    pub fn as_json(&self) -> &Value {
        &self.set
    }

    /// Whether it holds a key of a kind that can verify an assertion here: EC on P-256, or RSA of at least 2048 bits.
    #[must_use]
    pub fn has_usable_key(&self) -> bool {
        self.has_usable_key
    }
}

/// Whether a JWK holds what must not be published (RFC 7518 sections 6.2.2, 6.3.2 and 6.4.1; RFC 8037 section 2).
#[must_use]
pub fn holds_private_key(jwk: &Map<String, Value>) -> bool {
    const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
    PRIVATE.iter().any(|name| jwk.contains_key(*name)) || jwk.get("kty").is_some_and(|kty| kty == "oct")
}

/// Whether a key verifies signatures here, strictly read.
fn is_usable(key: &Value) -> Result<bool, IdError> {
    let known = match key["kty"].as_str() {
        Some("EC") => key["crv"] == "P-256",
        Some("RSA") => true,
        _ => false,
    };
    if !known {
        return Ok(false);
    }
    let jwk: Jwk = match Jwk::deserialize(key) {
        Ok(jwk) => jwk,
        // An algorithm, a use or an operation that has no name here yet.
        Err(_) if !is_registered(key) => return Ok(false),
        Err(_) => return Err(IdError("a member of one of its keys is missing, or not what RFC 7517 and RFC 7518 say")),
    };
    let ours = match &jwk.key {
        Key::Ec(ec) if ec.crv == EcCurves::P256 => Signing::Es256,
        Key::Rsa(_) => Signing::Rs256,
        _ => return Ok(false),
    };
    let is_rsa = ours == Signing::Rs256;
    let signs = match jwk.prm.alg {
        None => None,
        Some(Algorithm::Signing(named)) if (is_rsa && is_rsa_alg(named)) || named == ours => Some(named),
        Some(Algorithm::Signing(_)) => return Err(IdError("the alg of one of its keys is not one of its kty and crv")),
        // One to encrypt with.
        Some(_) => return Ok(false),
    };
    if jwk.prm.cls == Some(Class::Encryption) {
        return if signs.is_some() {
            Err(IdError("one of its keys has a use that contradicts its alg"))
        } else {
            Ok(false)
        };
    }
    if jwk.prm.ops.as_ref().is_some_and(|operations| !operations.contains(&Operations::Verify)) {
        return if jwk.prm.cls.is_some() {
            Err(IdError("one of its keys has a use that contradicts its key_ops"))
        } else {
            Ok(false)
        };
    }
    match &jwk.key {
        Key::Ec(ec) => public_key::p256_point(&ec.x, &ec.y).map(drop)?,
        Key::Rsa(rsa) => public_key::rsa_numbers(&rsa.n, &rsa.e).map(drop)?,
        _ => {}
    }
    Ok(signs.is_none_or(|named| named == ours))
}

fn is_rsa_alg(alg: Signing) -> bool {
    use Signing::{Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
    [Ps256, Ps384, Ps512, Rs256, Rs384, Rs512].contains(&alg)
}

/// Whether the words that say what a key is for are all registered ones (RFC 7517 sections 4.2 to 4.4), so that something else is wrong.
fn is_registered(key: &Value) -> bool {
    fn knows<T: for<'de> Deserialize<'de>>(word: Option<&Value>) -> bool {
        word.is_none_or(|word| !word.is_string() && !word.is_array() || T::deserialize(word).is_ok())
    }
    knows::<Algorithm>(key.get("alg"))
        && knows::<Class>(key.get("use"))
        && knows::<BTreeSet<Operations>>(key.get("key_ops"))
}

impl TryFrom<Value> for PublicJwks {
    type Error = IdError;

    fn try_from(set: Value) -> Result<Self, IdError> {
        Self::parse(set)
    }
}

impl From<PublicJwks> for Value {
    fn from(set: PublicJwks) -> Self {
        set.set
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// RFC 7517 appendix A.1.
    fn ec() -> Value {
        json!({"kty": "EC", "crv": "P-256", "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
            "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM", "kid": "1"})
    }

    fn rsa() -> Value {
        json!({"kty": "RSA", "n": format!("_{}w", "_".repeat(340)), "e": "AQAB", "kid": "2"})
    }

    fn with(mut key: Value, members: &Value) -> Value {
        key.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        key
    }

    #[test]
    fn public_keys_only() {
        let okp = json!({"kty": "OKP", "crv": "Ed25519", "x": "eA"});
        for (keys, usable) in [
            (json!([ec()]), true),
            (json!([rsa()]), true),
            (json!([ec(), rsa()]), true),
            (json!([ec(), with(rsa(), &json!({"kid": "1"}))]), true),
            (json!([okp]), false),
            (json!([okp, ec()]), true),
            (json!([{"kty": "AKP", "alg": "ML-DSA-44", "pub": "x"}, ec()]), true),
            (json!([with(ec(), &json!({"crv": "P-384"}))]), false),
            (json!([with(ec(), &json!({"crv": "brainpoolP256r1"})), rsa()]), true),
            (json!([with(ec(), &json!({"use": "enc"}))]), false),
            (json!([with(ec(), &json!({"use": "sig", "alg": "ES256", "key_ops": ["verify"]}))]), true),
            (json!([with(ec(), &json!({"alg": "ECDH-ES"}))]), false),
            (json!([with(ec(), &json!({"alg": "ESP256"}))]), false),
            (json!([with(ec(), &json!({"use": "tls"}))]), false),
            (json!([with(rsa(), &json!({"alg": "PS256"}))]), false),
            (json!([with(rsa(), &json!({"alg": "RSA-OAEP", "use": "enc"})), ec()]), true),
            (json!([with(rsa(), &json!({"key_ops": ["wrapKey"]}))]), false),
            (json!([{"kty": "RSA", "n": rsa()["n"], "e": "AQAB"}]), true),
        ] {
            let set = json!({"keys": keys});
            let read = PublicJwks::parse(set.clone()).unwrap_or_else(|e| panic!("{keys}: {e}"));
            assert_eq!((read.has_usable_key(), read.as_json()), (usable, &set), "{keys}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_set() {
        for name in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
            let problem =
                PublicJwks::parse(json!({"keys": [ec(), with(ec(), &json!({name: "hunter2"}))]})).unwrap_err();
            assert!(problem.0.contains("private or symmetric"), "{name}");
        }
        let without_kid = || json!({"kty": "RSA", "n": rsa()["n"], "e": "AQAB"});
        let short = "_".repeat(340);
        for (set, expected) in [
            (json!({"keys": [{"kty": "oct"}]}), "private or symmetric"),
            (json!({"keys": []}), "1 to 32 keys"),
            (json!({"keys": vec![ec(); 33]}), "1 to 32 keys"),
            (json!({"keys": "x"}), "1 to 32 keys"),
            (json!([ec()]), "1 to 32 keys"),
            (json!("x"), "1 to 32 keys"),
            (json!({"keys": ["x"]}), "must be an object"),
            (json!({"keys": [{"kid": "1"}]}), "kty"),
            (json!({"keys": [with(ec(), &json!({"x": "eA"}))]}), "32 bytes each"),
            (json!({"keys": [with(ec(), &json!({"x": ""}))]}), "32 bytes each"),
            (json!({"keys": [with(ec(), &json!({"x": null}))]}), "missing"),
            (json!({"keys": [with(ec(), &json!({"y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM="}))]}), "missing"),
            (json!({"keys": [with(ec(), &json!({"y": ec()["x"]}))]}), "not on the curve"),
            (json!({"keys": [rsa(), with(ec(), &json!({"alg": "RS256"}))]}), "alg"),
            (json!({"keys": [with(ec(), &json!({"alg": "ES384"}))]}), "alg"),
            (json!({"keys": [with(ec(), &json!({"alg": "HS256"}))]}), "alg"),
            (json!({"keys": [with(rsa(), &json!({"alg": "ES256"}))]}), "alg"),
            (json!({"keys": [with(ec(), &json!({"use": "enc", "alg": "ES256"}))]}), "contradicts its alg"),
            (
                json!({"keys": [with(ec(), &json!({"use": "sig", "key_ops": ["deriveKey"]}))]}),
                "contradicts its key_ops",
            ),
            (json!({"keys": [with(ec(), &json!({"use": 1}))]}), "missing"),
            (json!({"keys": [with(rsa(), &json!({"n": short}))]}), "shorter than 2048 bits"),
            (json!({"keys": [with(rsa(), &json!({"e": "AQ"}))]}), "no RSA key"),
            (json!({"keys": [rsa(), with(ec(), &json!({"kid": "lab-1"}))]}), "a lab's"),
            (json!({"keys": [{"kty": "AKP", "kid": "lab-1"}]}), "a lab's"),
            (json!({"keys": [ec(), ec()]}), "a kid of its own"),
            (
                json!({"keys": [with(ec(), &json!({"kid": null})), with(ec(), &json!({"kid": null}))]}),
                "a kid of its own",
            ),
            (json!({"keys": [without_kid(), without_kid()]}), "a kid of its own"),
        ] {
            let problem = PublicJwks::parse(set.clone()).map(|_| "accepted").unwrap_err();
            assert!(problem.0.contains(expected), "{set}: {problem}");
        }
    }
}

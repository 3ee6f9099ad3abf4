//! What somebody's key set may hold: public keys only. Whether one of them verifies a signature is for `jose` to say.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ids::IdError;

/// Most keys of a set: enough for any rotation, few enough to try.
pub const MAX_KEYS: usize = 32;

/// Base64url characters of a modulus of 2048 bits, which RFC 7518 section 3.3 asks of RS256.
const SHORTEST_MODULUS: usize = 342;

/// A JWK Set (RFC 7517 section 5) as it was given, of which the shape was judged. Kinds of key that are not known here are passed over
/// (section 5 again), so that a new one does not silence the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub struct PublicJwks(Value);

impl PublicJwks {
    /// Reads a set.
    ///
    /// # Errors
    /// When it is none, or holds a key that is not public.
    pub fn parse(set: Value) -> Result<Self, IdError> {
        let keys = set.get("keys").and_then(Value::as_array).filter(|keys| (1..=MAX_KEYS).contains(&keys.len()));
        let keys = keys.ok_or(IdError("it must be an object whose member keys is a list of 1 to 32 keys"))?;
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
        }
        Ok(Self(set))
    }

    /// The set as JSON.
    #[must_use]
    pub fn as_json(&self) -> &Value {
        &self.0
    }

    /// Whether it holds a key of a kind that can verify an assertion here: EC on P-256, or RSA of at least 2048 bits.
    #[must_use]
    pub fn has_usable_key(&self) -> bool {
        self.0["keys"].as_array().is_some_and(|keys| keys.iter().any(is_usable))
    }
}

/// Whether a JWK holds what must not be published (RFC 7518 sections 6.2.2, 6.3.2 and 6.4.1; RFC 8037 section 2).
#[must_use]
pub fn holds_private_key(jwk: &Map<String, Value>) -> bool {
    const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
    PRIVATE.iter().any(|name| jwk.contains_key(*name)) || jwk.get("kty").is_some_and(|kty| kty == "oct")
}

fn is_usable(jwk: &Value) -> bool {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str).unwrap_or_default();
    match text("kty") {
        "EC" => text("crv") == "P-256" && !text("x").is_empty() && !text("y").is_empty(),
        "RSA" => text("n").len() >= SHORTEST_MODULUS && !text("e").is_empty(),
        _ => false,
    }
}

impl TryFrom<Value> for PublicJwks {
    type Error = IdError;

    fn try_from(set: Value) -> Result<Self, IdError> {
        Self::parse(set)
    }
}

impl From<PublicJwks> for Value {
    fn from(set: PublicJwks) -> Self {
        set.0
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn public_keys_only() {
        let ec = json!({"kty": "EC", "crv": "P-256", "x": "eA", "y": "eQ", "kid": "1"});
        let with = |name: &str, value: Value| {
            let mut key = ec.clone();
            key[name] = value;
            key
        };
        let rsa = |n: usize| json!({"kty": "RSA", "n": "A".repeat(n), "e": "AQAB"});
        for (keys, usable) in [
            (json!([ec]), true),
            (json!([rsa(342)]), true),
            (json!([rsa(341)]), false),
            (json!([{"kty": "OKP", "crv": "Ed25519", "x": "eA"}]), false),
            (json!([{"kty": "OKP", "crv": "Ed25519", "x": "eA"}, ec]), true),
            (json!([with("crv", json!("P-384"))]), false),
            (json!([with("x", json!(""))]), false),
        ] {
            let set = json!({"keys": keys});
            let read = PublicJwks::parse(set.clone()).unwrap();
            assert_eq!((read.has_usable_key(), read.as_json()), (usable, &set), "{keys}");
        }
        for name in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
            let problem = PublicJwks::parse(json!({"keys": [ec, with(name, json!("hunter2"))]})).unwrap_err();
            assert!(problem.0.contains("private or symmetric"), "{name}");
        }
        for (set, expected) in [
            (json!({"keys": [{"kty": "oct"}]}), "private or symmetric"),
            (json!({"keys": []}), "1 to 32 keys"),
            (json!({"keys": vec![ec.clone(); 33]}), "1 to 32 keys"),
            (json!({"keys": "x"}), "1 to 32 keys"),
            (json!([ec]), "1 to 32 keys"),
            (json!("x"), "1 to 32 keys"),
            (json!({"keys": ["x"]}), "must be an object"),
            (json!({"keys": [{"kid": "1"}]}), "kty"),
        ] {
            let problem = PublicJwks::parse(set.clone()).map(|_| "accepted").unwrap_err();
            assert!(problem.0.contains(expected), "{set}: {problem}");
        }
    }
}

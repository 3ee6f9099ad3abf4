//! From a token somebody sent to claims one may believe.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};

use super::PublicKey;
use crate::domain::ids::Kid;

/// Longest token that is looked at, in bytes.
pub const MAX_TOKEN: usize = 16 * 1024;

/// What is wrong with a token or key; the sentence is fit for an error description.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JoseError(pub &'static str);

impl JoseError {
    /// What a device that signs says when it is not at its best.
    pub(super) const DEVICE: Self = Self("the PKCS #11 device does not answer as it should");

    /// Whether it may be over a moment later.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        *self == Self::DEVICE
    }
}

/// The header members we read. The rest is ignored (RFC 7515 section 4), among it every `jku`, `jwk` and `x5u` that would let a token
/// choose its own key; a repeated member is refused.
#[derive(Debug, Deserialize)]
struct Header {
    alg: String,
    #[serde(default, deserialize_with = "present")]
    typ: Option<String>,
    #[serde(default, deserialize_with = "present")]
    kid: Option<Kid>,
    #[serde(default, deserialize_with = "present")]
    crit: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "present")]
    b64: Option<IgnoredAny>,
}

/// A member that is there is there, also as null: it is not taken for one that is absent.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A token of which nothing is known yet. It can name its key and its issuer, so that the right key can be looked up, and nothing
/// else may be read from it.
pub struct Unverified<'a> {
    header: Header,
    signed: &'a str,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl<'a> Unverified<'a> {
    /// What somebody sent to a server of ours: [`Unverified::parse`], and it was made in no lab, whatever keys it would be verified by.
    ///
    /// # Errors
    /// As [`Unverified::parse`]; when its kid is a lab's.
    pub fn received(token: &'a str) -> Result<Self, JoseError> {
        let parsed = Self::parse(token)?;
        if parsed.kid().is_some_and(Kid::is_of_lab) {
            return Err(JoseError("it was made in a lab, by its kid, and is good for tests only"));
        }
        Ok(parsed)
    }

    /// Takes a compact JWS apart (RFC 7515 section 7.1). For labs, which take one another's; servers use [`Unverified::received`].
    ///
    /// # Errors
    /// When it is too long, not three parts of base64url, its header no JSON object, or it bears `crit` or `b64`, whose extensions
    /// we do not have (RFC 7515 section 4.1.11).
    pub fn parse(token: &'a str) -> Result<Self, JoseError> {
        if token.len() > MAX_TOKEN {
            return Err(JoseError("it is longer than 16 KiB"));
        }
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(JoseError("it is not a signed JWT of three parts"));
        };
        let signed = &token[..header.len() + 1 + payload.len()];
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| JoseError("a part is not base64url"));
        let header: Header = serde_json::from_slice(&decode(header)?)
            .map_err(|_| JoseError("its header is not a JSON object with alg"))?;
        if header.crit.is_some() || header.b64.is_some() {
            return Err(JoseError("its header demands an extension (crit) that is not supported"));
        }
        Ok(Self { header, signed, payload: decode(payload)?, signature: decode(signature)? })
    }

    /// The key it names.
    pub fn kid(&self) -> Option<&Kid> {
        self.header.kid.as_ref()
    }

    /// The algorithm it names. Good for finding a key; the key then decides.
    pub fn alg(&self) -> &str {
        &self.header.alg
    }

    /// The kind of token it says it is, as written. Good for refusing one before its keys are fetched, and for nothing else.
    pub fn typ(&self) -> Option<&str> {
        self.header.typ.as_deref()
    }

    /// The issuer it names, for finding keys.
    pub fn issuer(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Peek {
            iss: String,
        }
        serde_json::from_slice::<Peek>(&self.payload).ok().map(|p| p.iss)
    }

    /// The claims, if `key` signed them and the token is of the kind we expect.
    ///
    /// `typ` is compared exactly, but for an `application/` prefix (RFC 7515 section 4.1.9); `None` accepts an absent one or `JWT`,
    /// for token kinds that predate explicit typing. A repeated claim is refused.
    ///
    /// # Errors
    /// When algorithm, type, signature or claims are not what they must be.
    pub fn verify<C: DeserializeOwned>(&self, key: &PublicKey, typ: Option<&str>) -> Result<C, JoseError> {
        if self.header.alg != key.alg() {
            return Err(JoseError("its algorithm is not the key's"));
        }
        let given = self.header.typ.as_deref().map(|t| t.strip_prefix("application/").unwrap_or(t));
        let fits = match typ {
            Some(expected) => given == Some(expected),
            None => given.is_none_or(|t| t.eq_ignore_ascii_case("JWT")),
        };
        if !fits {
            return Err(JoseError("its typ is not the one expected here"));
        }
        if !key.verifies(self.signed.as_bytes(), &self.signature) {
            return Err(JoseError("its signature does not verify"));
        }
        serde_json::from_slice(&self.payload)
            .map_err(|_| JoseError("a claim is missing, repeated or of the wrong type"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::lab::compact;
    use super::super::{LabKey, SealingKey, SigningKey};
    use super::*;
    use crate::domain::rotation::SigningAlg;
    use crate::rng::Rng;

    fn key() -> SigningKey {
        SigningKey::generate(SigningAlg::Es256, &SealingKey::from_bytes(&[1; 32]).unwrap(), "i", &Rng::seeded(1))
            .unwrap()
            .0
    }

    fn with_header(token: &str, header: &serde_json::Value) -> String {
        let rest = token.split_once('.').unwrap().1;
        format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.to_string()))
    }

    #[derive(Debug, Deserialize)]
    struct Claims {
        sub: String,
    }

    struct Twice;

    impl serde::Serialize for Twice {
        fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
            s.collect_map([("sub", "u"), ("sub", "v")])
        }
    }

    #[tokio::test]
    async fn only_what_the_key_signed() {
        let key = key();
        let public = PublicKey::from_jwk(&serde_json::to_value(key.public_jwk()).unwrap()).unwrap();
        let token = key.sign("x+jwt", &json!({"sub": "u"})).await.unwrap();
        let verify = |token: &str| Unverified::parse(token).and_then(|t| t.verify::<Claims>(&public, Some("x+jwt")));
        assert_eq!(verify(&token).unwrap().sub, "u");

        let kid = key.kid();
        let cases = [
            ("none", with_header(&token, &json!({"alg": "none", "typ": "x+jwt"}))),
            ("HS256", with_header(&token, &json!({"alg": "HS256", "typ": "x+jwt", "kid": kid}))),
            ("another typ", with_header(&token, &json!({"alg": "ES256", "typ": "JWT", "kid": kid}))),
            ("no typ", with_header(&token, &json!({"alg": "ES256", "kid": kid}))),
            ("crit", with_header(&token, &json!({"alg": "ES256", "typ": "x+jwt", "crit": ["b64"]}))),
            ("changed header", with_header(&token, &json!({"alg": "ES256", "typ": "x+jwt"}))),
            ("unsigned", format!("{}.", token.rsplit_once('.').unwrap().0)),
            ("two parts", token.rsplit_once('.').unwrap().0.to_owned()),
            ("four parts", format!("{token}.x")),
            ("padded", format!("{token}=")),
            ("long", format!("{token}{}", "A".repeat(MAX_TOKEN))),
        ];
        for (name, token) in cases {
            assert!(verify(&token).is_err(), "{name}");
        }
        // The key has signed these as well, and yet they are not what is expected.
        for typ in ["JWT", "y+jwt", "X+JWT", "x+jwt ", ""] {
            let other = key.sign(typ, &json!({"sub": "u"})).await.unwrap();
            assert_eq!(verify(&other).map(|claims| claims.sub), Err(JoseError("its typ is not the one expected here")));
        }
        let lab = LabKey::generate(SigningAlg::Es256, &Rng::seeded(2)).unwrap();
        let of_lab = PublicKey::from_jwk(&lab.public_jwk()).unwrap();
        for (alg, is_taken) in [("ES256", true), ("ES384", false), ("RS256", false), ("none", false), ("es256", false)]
        {
            let signed = compact(&json!({"alg": alg, "typ": "x+jwt"}).to_string(), r#"{"sub": "u"}"#);
            let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(lab.sign(signed.as_bytes()).unwrap()));
            let verified = Unverified::parse(&token).unwrap().verify::<Claims>(&of_lab, Some("x+jwt"));
            assert_eq!(verified.is_ok(), is_taken, "{alg}");
        }
        assert!(verify(&key.sign("x+jwt", &Twice).await.unwrap()).is_err(), "repeated claim");
        let other = PublicKey::from_jwk(&serde_json::to_value(self::key().public_jwk()).unwrap()).unwrap();
        assert!(Unverified::parse(&token).unwrap().verify::<Claims>(&other, Some("x+jwt")).is_err(), "another key");
    }

    #[tokio::test]
    async fn what_a_lab_made_is_not_received() {
        let token = key().sign("x+jwt", &json!({"sub": "u"})).await.unwrap();
        for (kid, received) in [("lab-1", false), ("lab-", false), ("labs", true), ("my-lab-1", true)] {
            let token = with_header(&token, &json!({"alg": "ES256", "typ": "x+jwt", "kid": kid}));
            assert_eq!(
                (Unverified::parse(&token).is_ok(), Unverified::received(&token).is_ok()),
                (true, received),
                "{kid}"
            );
        }
    }

    #[tokio::test]
    async fn a_member_that_is_null_is_there() {
        let token = key().sign("x+jwt", &json!({"sub": "u"})).await.unwrap();
        let parses = |header| Unverified::parse(&with_header(&token, &header)).is_ok();
        assert!(parses(json!({"alg": "ES256"})) && parses(json!({"alg": "ES256", "x5u": null})));
        for name in ["crit", "b64", "kid", "typ"] {
            assert!(!parses(json!({"alg": "ES256", name: null})), "{name}");
        }
        assert!(!parses(json!({"alg": null})));
    }
}

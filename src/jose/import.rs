//! Private keys that were made elsewhere: so that a platform can move here without changing its key set.

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPairComponents, PublicKeyComponents};
use aws_lc_rs::signature::RsaKeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::elliptic_curve::sec1::ToSec1Point as _;
use p256::pkcs8::EncodePrivateKey as _;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::JoseError;
use crate::domain::ids::Kid;
use crate::domain::rotation::SigningAlg;

/// A private key that was read, and nothing of which can be printed.
pub struct Imported {
    /// What it signs with.
    pub alg: SigningAlg,
    /// The name it had, if it came with one.
    pub kid: Option<Kid>,
    pub(super) pkcs8: Zeroizing<Vec<u8>>,
}

/// Reads a private key for ES256 or RS256: PEM (PKCS #8, SEC 1 or PKCS #1) or a JWK (RFC 7517).
///
/// # Errors
/// What is wrong with it.
pub fn import(text: &str) -> Result<Imported, JoseError> {
    let text = text.trim();
    if text.starts_with('{') { from_jwk(text) } else { from_pem(text) }
}

fn from_pem(text: &str) -> Result<Imported, JoseError> {
    if text.contains("BEGIN PUBLIC KEY") || text.contains("BEGIN CERTIFICATE") {
        return Err(PUBLIC);
    }
    if text.contains("ENCRYPTED") {
        return Err(JoseError("it is encrypted: decrypt it first, as with `openssl pkey`"));
    }
    let der = PrivateKeyDer::from_pem_slice(text.as_bytes())
        .map_err(|_| JoseError("it is neither a private key in PEM nor a JWK"))?;
    match &der {
        PrivateKeyDer::Sec1(der) => ec(p256::SecretKey::from_der(der.secret_sec1_der()).ok(), None),
        PrivateKeyDer::Pkcs1(der) => rsa(RsaKeyPair::from_der(der.secret_pkcs1_der()).ok(), None),
        PrivateKeyDer::Pkcs8(der) => match RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()) {
            Ok(pair) => rsa(Some(pair), None),
            Err(_) => ec(p256::SecretKey::from_der(der.secret_pkcs8_der()).ok(), None),
        },
        _ => Err(UNUSABLE),
    }
}

const PUBLIC: JoseError = JoseError("it is a public key: the private one is needed");
const UNUSABLE: JoseError =
    JoseError("it is no key that signs here: that is P-256, or RSA of 2048 to 8192 bits whose parts belong together");

fn ec(key: Option<p256::SecretKey>, kid: Option<Kid>) -> Result<Imported, JoseError> {
    let der = key.ok_or(UNUSABLE)?.to_pkcs8_der().map_err(|_| UNUSABLE)?;
    Ok(Imported { alg: SigningAlg::Es256, kid, pkcs8: Zeroizing::new(der.as_bytes().to_vec()) })
}

fn rsa(pair: Option<RsaKeyPair>, kid: Option<Kid>) -> Result<Imported, JoseError> {
    let der: Pkcs8V1Der<'_> = pair.ok_or(UNUSABLE)?.as_der().map_err(|_| UNUSABLE)?;
    Ok(Imported { alg: SigningAlg::Rs256, kid, pkcs8: Zeroizing::new(der.as_ref().to_vec()) })
}

fn from_jwk(text: &str) -> Result<Imported, JoseError> {
    let jwk: Map<String, Value> =
        serde_json::from_str(text).map_err(|_| JoseError("it is neither a private key in PEM nor a JWK"))?;
    let word = |name: &str| jwk.get(name).and_then(Value::as_str);
    if jwk.contains_key("keys") {
        return Err(JoseError("it is a key set: give one key of it"));
    }
    if word("use").is_some_and(|used| used != "sig") {
        return Err(JoseError("its use is not sig"));
    }
    if let Some(ops) = jwk.get("key_ops")
        && !ops.as_array().is_some_and(|ops| ops.iter().any(|op| op == "sign"))
    {
        return Err(JoseError("its key_ops do not hold sign"));
    }
    let alg = match word("kty") {
        Some("EC") if word("crv") == Some("P-256") => SigningAlg::Es256,
        Some("RSA") => SigningAlg::Rs256,
        Some("EC") => return Err(JoseError("its curve is not P-256")),
        _ => return Err(JoseError("its kty is neither EC nor RSA")),
    };
    if word("alg").is_some_and(|named| named != alg.as_str()) {
        return Err(JoseError("its alg is not the one that its kty signs with here, ES256 or RS256"));
    }
    if !jwk.contains_key("d") {
        return Err(PUBLIC);
    }
    let kid = word("kid").map(Kid::from);
    let part = |name: &'static str| {
        let decoded = word(name).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        decoded.map(Zeroizing::new).ok_or(JoseError("a member of it is missing or no base64url"))
    };
    if alg == SigningAlg::Es256 {
        let key = p256::SecretKey::from_slice(&part("d")?).map_err(|_| UNUSABLE)?;
        let point = key.public_key().to_sec1_point(false);
        if point.x().map(|x| x.to_vec()) != Some(part("x")?.to_vec())
            || point.y().map(|y| y.to_vec()) != Some(part("y")?.to_vec())
        {
            return Err(JoseError("its x and y do not belong to its d"));
        }
        return ec(Some(key), kid);
    }
    let components = KeyPairComponents {
        public_key: PublicKeyComponents { n: part("n")?, e: part("e")? },
        d: part("d")?,
        p: part("p")?,
        q: part("q")?,
        dP: part("dp")?,
        dQ: part("dq")?,
        qInv: part("qi")?,
    };
    rsa(RsaKeyPair::from_components(&components).ok(), kid)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rsa::KeySize;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;

    use super::*;
    use crate::jose::{SealingKey, SigningKey};
    use crate::rng::Rng;

    fn pem(label: &str, der: &[u8]) -> String {
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
    }

    /// RFC 7515 appendix A.3.1.
    fn ec_jwk() -> Value {
        json!({"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0", "d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"})
    }

    /// The integers of a PKCS #1 key, each with its leading zero taken away.
    fn integers(mut der: &[u8]) -> Vec<Vec<u8>> {
        let length = |der: &mut &[u8]| {
            let first = usize::from(der[1]);
            let (head, length) = if first < 0x80 {
                (2, first)
            } else {
                let bytes = first - 0x80;
                (2 + bytes, der[2..2 + bytes].iter().fold(0, |n, b| n << 8 | usize::from(*b)))
            };
            *der = &der[head..];
            length
        };
        length(&mut der);
        let mut all = Vec::new();
        while !der.is_empty() {
            let n = length(&mut der);
            let (number, rest) = der.split_at(n);
            all.push(number.iter().copied().skip_while(|b| *b == 0).collect());
            der = rest;
        }
        all
    }

    fn public(imported: &Imported) -> Value {
        let sealing = SealingKey::from_bytes(&[1; 32]).unwrap();
        let (key, _) = SigningKey::adopt(imported, None, &sealing, "i", &Rng::seeded(1)).unwrap();
        serde_json::to_value(key.public_jwk()).unwrap()
    }

    #[test]
    fn each_form_of_a_key_is_the_same_key() {
        let jwk = ec_jwk();
        let imported = import(&jwk.to_string()).unwrap();
        assert_eq!(imported.alg, SigningAlg::Es256);
        assert_eq!(public(&imported)["x"], jwk["x"]);
        let again = import(&pem("PRIVATE KEY", &imported.pkcs8)).unwrap();
        assert_eq!(public(&again), public(&imported));
        let secret = p256::SecretKey::from_slice(&URL_SAFE_NO_PAD.decode(jwk["d"].as_str().unwrap()).unwrap()).unwrap();
        let sec1 = import(&pem("EC PRIVATE KEY", &secret.to_sec1_der().unwrap())).unwrap();
        assert_eq!(public(&sec1), public(&imported));

        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        let imported = import(&pem("PRIVATE KEY", der.as_ref())).unwrap();
        assert_eq!(imported.alg, SigningAlg::Rs256);
        // PKCS #8 is a version, an algorithm, and the PKCS #1 key in an octet string, here 26 bytes in.
        let pkcs1 = &der.as_ref()[26..];
        assert_eq!(public(&import(&pem("RSA PRIVATE KEY", pkcs1)).unwrap()), public(&imported));
        let parts = integers(pkcs1);
        let mut jwk = json!({"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "main"});
        for (name, part) in ["n", "e", "d", "p", "q", "dp", "dq", "qi"].iter().zip(&parts[1..]) {
            jwk[*name] = URL_SAFE_NO_PAD.encode(part).into();
        }
        let by_jwk = import(&jwk.to_string()).unwrap();
        assert_eq!(by_jwk.kid, Some("main".into()));
        assert_eq!(public(&by_jwk)["n"], public(&imported)["n"]);
        jwk["d"] = "AQAB".into();
        assert!(import(&jwk.to_string()).is_err(), "parts that do not belong together");
    }

    #[test]
    fn what_is_no_key_for_this_is_refused_in_words() {
        let changed = |name: &str, value: Value| {
            let mut jwk = ec_jwk();
            jwk[name] = value;
            jwk.to_string()
        };
        let mut public = ec_jwk();
        public.as_object_mut().unwrap().remove("d");
        let cases = [
            ("a public JWK", public.to_string(), "it is a public key"),
            ("a public PEM", pem("PUBLIC KEY", b"x"), "it is a public key"),
            ("a certificate", pem("CERTIFICATE", b"x"), "it is a public key"),
            ("an encrypted one", pem("ENCRYPTED PRIVATE KEY", b"x"), "it is encrypted"),
            ("another curve", changed("crv", json!("P-384")), "its curve is not P-256"),
            ("another type", changed("kty", json!("oct")), "its kty is neither EC nor RSA"),
            ("another use", changed("use", json!("enc")), "its use is not sig"),
            ("another alg", changed("alg", json!("ES384")), "its alg is not the one"),
            ("RS256 on a curve", changed("alg", json!("RS256")), "its alg is not the one"),
            ("only to verify", changed("key_ops", json!(["verify"])), "its key_ops do not hold sign"),
            ("another d", changed("d", json!("AQAB")), "it is no key"),
            ("another x", changed("x", json!("AQAB")), "its x and y do not belong to its d"),
            (
                "padded",
                changed("x", json!("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU=")),
                "a member of it is missing",
            ),
            ("a set", json!({"keys": [ec_jwk()]}).to_string(), "it is a key set"),
            ("garbage in PEM", pem("PRIVATE KEY", b"garbage"), "it is no key that signs here"),
            ("no key", "hello".into(), "it is neither a private key in PEM nor a JWK"),
            ("no JSON", "{".into(), "it is neither a private key in PEM nor a JWK"),
        ];
        for (name, text, expected) in cases {
            let error = import(&text).err().unwrap_or_else(|| panic!("{name} is accepted"));
            assert!(error.0.starts_with(expected), "{name}: {error}");
        }
    }
}

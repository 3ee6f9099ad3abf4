//! Keys of a lab: they sign whatever they are told, in any shape, and everything they sign bears a `kid` that no server of ours takes.
//!
//! ES256 by the crate `p256`, whose signatures are the same each time (RFC 6979), so that what they sign can be published and compared.

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jose_jwk::{Ec, EcCurves, Jwk, Key};
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey as P256Key};
use p256::pkcs8::EncodePublicKey as _;
use rsa::pkcs1::{RsaPrivateKey as Pkcs1, UintRef};
use rsa::pkcs8::PrivateKeyInfoRef;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::key::{published, rsa_public, thumbprint};
use super::{JoseError, import};
use crate::domain::ids::{Kid, LAB_KID};
use crate::domain::rotation::SigningAlg;
use crate::rng::Rng;

/// A key that signs for tests.
pub struct LabKey {
    kid: Kid,
    thumbprint: Kid,
    alg: SigningAlg,
    public: Jwk,
    signer: Signer,
}

enum Signer {
    Es256(P256Key),
    /// With its PKCS #8.
    Rs256(RsaKeyPair, Zeroizing<Vec<u8>>),
}

const UNFIT: JoseError = JoseError("a key of the lab cannot be used");

impl LabKey {
    /// Makes a key. An RSA key takes a good part of a second.
    ///
    /// # Errors
    /// When the library refuses.
    pub fn generate(alg: SigningAlg, rng: &Rng) -> Result<Self, JoseError> {
        match alg {
            SigningAlg::Es256 => Self::of_seed(&rng.bytes::<32>()),
            SigningAlg::Rs256 => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| UNFIT)?;
                let der: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| UNFIT)?;
                let pkcs8 = Zeroizing::new(der.as_ref().to_vec());
                Self::new(Signer::Rs256(pair, pkcs8))
            }
        }
    }

    /// The ES256 key that is always made of this seed. As secret as the seed is.
    ///
    /// # Errors
    /// When there is none, which happens to one seed of 2^32.
    pub fn of_seed(seed: &[u8]) -> Result<Self, JoseError> {
        let scalar = Zeroizing::new(hmac_sha256(b"avouch lab key", seed));
        Self::new(Signer::Es256(P256Key::from_slice(&scalar).map_err(|_| UNFIT)?))
    }

    /// Another ES256 key, the same one for the same name each time: one file then holds all the keys that a lab needs.
    ///
    /// # Errors
    /// As [`LabKey::of_seed`].
    pub fn derive(&self, name: &str) -> Result<Self, JoseError> {
        let secret = match &self.signer {
            Signer::Es256(key) => Zeroizing::new(key.to_bytes().to_vec()),
            Signer::Rs256(_, pkcs8) => pkcs8.clone(),
        };
        Self::of_seed(&hmac_sha256(&secret, name.as_bytes()))
    }

    /// Reads what [`LabKey::to_jwk`] wrote, and no other key: one of a server would sign here what it must not.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &str) -> Result<Self, JoseError> {
        let imported = import::import(text)?;
        if !imported.kid.as_ref().is_some_and(Kid::is_of_lab) {
            return Err(JoseError("it is no lab's key: the kid of those begins with lab-"));
        }
        let key = match imported.alg {
            SigningAlg::Es256 => {
                let key = <P256Key as p256::pkcs8::DecodePrivateKey>::from_pkcs8_der(&imported.pkcs8);
                Self::new(Signer::Es256(key.map_err(|_| UNFIT)?))?
            }
            SigningAlg::Rs256 => {
                let pair = RsaKeyPair::from_pkcs8(&imported.pkcs8).map_err(|_| UNFIT)?;
                Self::new(Signer::Rs256(pair, imported.pkcs8))?
            }
        };
        if imported.kid.as_ref() == Some(&key.kid) {
            Ok(key)
        } else {
            Err(JoseError("its kid is not lab- and its RFC 7638 thumbprint"))
        }
    }

    fn new(signer: Signer) -> Result<Self, JoseError> {
        let (alg, key) = match &signer {
            Signer::Es256(key) => {
                let point = key.verifying_key().to_sec1_point(false);
                let (Some(x), Some(y)) = (point.x(), point.y()) else { return Err(UNFIT) };
                let (x, y) = (x.to_vec().into(), y.to_vec().into());
                (SigningAlg::Es256, Key::Ec(Ec { crv: EcCurves::P256, x, y, d: None }))
            }
            Signer::Rs256(pair, _) => (SigningAlg::Rs256, Key::Rsa(rsa_public(pair)?)),
        };
        let thumbprint = thumbprint(&key)?;
        let kid = Kid::from(format!("{LAB_KID}{thumbprint}"));
        let mut public = published(alg, key)?;
        public.prm.kid = Some(kid.as_str().to_owned());
        Ok(Self { kid, thumbprint, alg, public, signer })
    }

    /// Its name: `lab-` and its RFC 7638 thumbprint.
    pub fn kid(&self) -> &Kid {
        &self.kid
    }

    /// Its RFC 7638 thumbprint, as `cnf` names it (RFC 9449 section 6.1).
    pub fn thumbprint(&self) -> &Kid {
        &self.thumbprint
    }

    /// What it signs with.
    pub fn alg(&self) -> SigningAlg {
        self.alg
    }

    /// The public half as it is published (RFC 7517 section 4).
    ///
    /// # Panics
    /// Never: a JWK is JSON.
    pub fn public_jwk(&self) -> Value {
        serde_json::to_value(&self.public).expect("a JWK is JSON")
    }

    /// The public half in PEM (RFC 7468 section 13), which some verifiers have been made to take for a shared secret.
    ///
    /// # Errors
    /// When the library refuses.
    pub fn public_pem(&self) -> Result<String, JoseError> {
        let der = match &self.signer {
            Signer::Es256(key) => key.verifying_key().to_public_key_der().map_err(|_| UNFIT)?.into_vec(),
            Signer::Rs256(pair, _) => {
                let der: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(|_| UNFIT)?;
                der.as_ref().to_vec()
            }
        };
        let text = STANDARD.encode(der);
        let lines = (0..text.len()).step_by(64).map(|at| &text[at..text.len().min(at + 64)]);
        let body = lines.collect::<Vec<_>>().join("\n");
        Ok(format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n"))
    }

    /// The private key, for a file.
    ///
    /// # Errors
    /// When the library refuses.
    pub fn to_jwk(&self) -> Result<Zeroizing<String>, JoseError> {
        let mut jwk = self.public_jwk();
        let text = |bytes: &[u8]| Value::from(URL_SAFE_NO_PAD.encode(bytes));
        match &self.signer {
            Signer::Es256(key) => jwk["d"] = text(&key.to_bytes()),
            Signer::Rs256(_, pkcs8) => {
                let der = PrivateKeyInfoRef::try_from(pkcs8.as_slice()).map_err(|_| UNFIT)?;
                let parts = Pkcs1::<UintRef<'_>>::try_from(der.private_key.as_bytes()).map_err(|_| UNFIT)?;
                for (name, part) in [
                    ("d", parts.private_exponent),
                    ("p", parts.prime1),
                    ("q", parts.prime2),
                    ("dp", parts.exponent1),
                    ("dq", parts.exponent2),
                    ("qi", parts.coefficient),
                ] {
                    jwk[name] = text(part.as_bytes());
                }
            }
        }
        Ok(Zeroizing::new(jwk.to_string()))
    }

    /// Signs bytes as they are, in the form of JWS (RFC 7518 sections 3.3 and 3.4); the same bytes give the same signature.
    ///
    /// # Errors
    /// When the signer refuses.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, JoseError> {
        match &self.signer {
            Signer::Es256(key) => {
                let signature: Signature = key.try_sign(message).map_err(|_| UNFIT)?;
                Ok(signature.to_bytes().to_vec())
            }
            Signer::Rs256(pair, _) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).map_err(|_| UNFIT)?;
                Ok(signature)
            }
        }
    }

    /// Signs claims as a compact JWS (RFC 7515 section 7.1) of a kind.
    ///
    /// # Errors
    /// When the signer refuses.
    pub fn sign_jwt(&self, typ: &str, claims: &Value) -> Result<String, JoseError> {
        let header = json!({"alg": self.alg.as_str(), "kid": self.kid, "typ": typ});
        let signed = compact(&header.to_string(), &claims.to_string());
        let signature = self.sign(signed.as_bytes())?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// What is signed of a JWS, of a header and a payload that may be anything.
pub fn compact(header: &str, payload: &str) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload))
}

impl std::fmt::Debug for LabKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "<lab key {}>", self.kid)
    }
}

/// HS256 (RFC 7518 section 3.2): what a forger makes of a public key.
#[must_use]
pub fn hmac_sha256(secret: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().to_vec()
}

/// An ES256 signature in the form that X.509 has and JWS has not.
///
/// # Errors
/// When it is none.
pub fn as_der(signature: &[u8]) -> Result<Vec<u8>, JoseError> {
    let signature = Signature::from_slice(signature).map_err(|_| UNFIT)?;
    Ok(signature.to_der().as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::{PublicKey, Unverified};

    #[test]
    fn a_key_of_a_lab_is_what_its_file_says() {
        for alg in [SigningAlg::Es256, SigningAlg::Rs256] {
            let key = LabKey::generate(alg, &Rng::seeded(1)).unwrap();
            let text = key.to_jwk().unwrap();
            let again = LabKey::read(&text).unwrap();
            assert_eq!((again.public_jwk(), again.kid()), (key.public_jwk(), key.kid()));
            assert_eq!(again.sign(b"x").unwrap(), key.sign(b"x").unwrap(), "the same each time");
            assert_eq!(again.derive("a").unwrap().kid(), key.derive("a").unwrap().kid());
            assert_ne!(key.derive("a").unwrap().kid(), key.derive("b").unwrap().kid());

            let public = PublicKey::from_jwk(&key.public_jwk()).unwrap();
            let token = key.sign_jwt("x+jwt", &json!({"sub": "u"})).unwrap();
            let claims: Value = Unverified::parse(&token).unwrap().verify(&public, Some("x+jwt")).unwrap();
            assert_eq!(claims["sub"], "u");
            assert!(Unverified::received(&token).is_err());
            assert!(key.public_pem().unwrap().lines().all(|line| line.len() <= 64));

            let mut renamed: Value = serde_json::from_str(&text).unwrap();
            for kid in [json!("main"), json!("lab-other"), Value::Null] {
                renamed["kid"] = kid;
                assert!(LabKey::read(&renamed.to_string()).is_err(), "{}", renamed["kid"]);
            }
            assert!(LabKey::read(&key.public_jwk().to_string()).is_err());
        }
    }

    #[test]
    fn the_signature_of_rfc_6979() {
        // Appendix A.2.5: P-256 with SHA-256, message "sample".
        let scalar = Zeroizing::new([
            0xC9, 0xAF, 0xA9, 0xD8, 0x45, 0xBA, 0x75, 0x16, 0x6B, 0x5C, 0x21, 0x57, 0x67, 0xB1, 0xD6, 0x93, 0x4E, 0x50,
            0xC3, 0xDB, 0x36, 0xE8, 0x9B, 0x12, 0x7B, 0x8A, 0x62, 0x2B, 0x12, 0x0F, 0x67, 0x21,
        ]);
        let key = LabKey::new(Signer::Es256(P256Key::from_slice(&*scalar).unwrap())).unwrap();
        let signature = key.sign(b"sample").unwrap();
        assert_eq!(signature[..4], [0xEF, 0xD4, 0x8B, 0x2A]);
        assert_eq!(signature[32..36], [0xF7, 0xCB, 0x1C, 0x94]);
        assert_eq!(as_der(&signature).unwrap()[0], 0x30);
    }
}

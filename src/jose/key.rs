//! Our signing keys. Bytes leave them only sealed.

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jose_jwk::jose_jwa::{Algorithm, Signing};
use jose_jwk::{Class, Ec, EcCurves, Jwk, Key, Parameters, Rsa};
use rsa::pkcs1::DecodeRsaPublicKey as _;
use rsa::traits::PublicKeyParts as _;
use serde::Serialize;
use zeroize::Zeroizing;

use super::device::{Device, DeviceKey};
use super::{Imported, JoseError, PublicKey, SealingKey};
use crate::domain::ids::Kid;
use crate::domain::rotation::SigningAlg;
use crate::rng::Rng;
use crate::secret::sha256;

/// A key that signs. Parsed once; `kid` is its RFC 7638 thumbprint, unless it came from elsewhere with a name of its own.
pub struct SigningKey {
    kid: Kid,
    alg: SigningAlg,
    public: Jwk,
    signer: Signer,
}

/// The private half.
enum Signer {
    Es256(EcdsaKeyPair),
    Rs256(RsaKeyPair),
    Device(DeviceKey),
}

/// What is sealed of a key in a device: this, and its id there. A private key in PKCS #8 begins otherwise.
const IN_DEVICE: &[u8] = b"pkcs11:";

const NO_DEVICE: JoseError = JoseError("it is in a PKCS #11 device, and [keys.pkcs11] names none");

impl SigningKey {
    /// Makes a key, and its sealed form for the database. An RSA key takes a good part of a second.
    ///
    /// # Errors
    /// When the library refuses.
    pub fn generate(
        alg: SigningAlg,
        sealing: &SealingKey,
        issuer_id: &str,
        rng: &Rng,
    ) -> Result<(Self, String), JoseError> {
        let pkcs8 = generate(alg).ok_or(JoseError("a signing key could not be made"))?;
        let key = Self::parse(alg, &pkcs8)?;
        let sealed = sealing.seal(&pkcs8, &context(issuer_id, &key.kid), rng)?;
        Ok((key, sealed))
    }

    /// Makes a key in a device, which it never leaves; what is sealed is where it is.
    ///
    /// # Errors
    /// When the device refuses or does not answer.
    pub async fn generate_in(
        device: &Device,
        alg: SigningAlg,
        sealing: &SealingKey,
        issuer_id: &str,
        rng: &Rng,
    ) -> Result<(Self, String), JoseError> {
        let id: [u8; 16] = rng.bytes();
        let public = device.generate(alg, id, &format!("avouch {issuer_id} {}", alg.as_str())).await?;
        let public = published(alg, public)?;
        let key = Self::in_device(device, alg, &id, public)?;
        let sealed = sealing.seal(&[IN_DEVICE, &id].concat(), &context(issuer_id, &key.kid), rng)?;
        Ok((key, sealed))
    }

    fn in_device(device: &Device, alg: SigningAlg, id: &[u8], public: Jwk) -> Result<Self, JoseError> {
        const UNFIT: JoseError = JoseError("the public half of a key in a PKCS #11 device cannot be used");
        let value = serde_json::to_value(&public).map_err(|_| UNFIT)?;
        let verifies = PublicKey::from_jwk(&value).filter(|key| key.alg() == alg.as_str()).ok_or(UNFIT)?;
        let kid = thumbprint(&public.key)?;
        DeviceKey::new(device, alg, id, verifies).map(|key| Self { kid, alg, public, signer: Signer::Device(key) })
    }

    /// Destroys what a device has of a key; of one that is sealed in the database nothing is left once its row has let it go.
    ///
    /// # Errors
    /// When it does not open, or the device does not do it.
    pub async fn destroy(
        (sealing, device): (&SealingKey, Option<&Device>),
        issuer_id: &str,
        kid: &Kid,
        sealed: &str,
    ) -> Result<(), JoseError> {
        match sealing.open(sealed, &context(issuer_id, kid))?.strip_prefix(IN_DEVICE) {
            Some(id) => device.ok_or(NO_DEVICE)?.destroy(id).await,
            None => Ok(()),
        }
    }

    /// Takes over a key that was made elsewhere, under the name that its verifiers know it by.
    ///
    /// # Errors
    /// When the library refuses.
    pub fn adopt(
        imported: &Imported,
        kid: Option<&Kid>,
        sealing: &SealingKey,
        issuer_id: &str,
        rng: &Rng,
    ) -> Result<(Self, String), JoseError> {
        let mut key = Self::parse(imported.alg, &imported.pkcs8)?;
        if let Some(kid) = kid {
            key.rename(kid);
        }
        let sealed = sealing.seal(&imported.pkcs8, &context(issuer_id, &key.kid), rng)?;
        Ok((key, sealed))
    }

    fn rename(&mut self, kid: &Kid) {
        self.kid.clone_from(kid);
        self.public.prm.kid = Some(kid.as_str().to_owned());
    }

    /// Opens a key from the database, whose row also has its public half.
    ///
    /// # Errors
    /// When it was sealed by another key, for another row, or is none; when it is in a device and there is none.
    pub fn open(
        alg: SigningAlg,
        (sealing, device): (&SealingKey, Option<&Device>),
        issuer_id: &str,
        kid: &Kid,
        (sealed, public): (&str, &Jwk),
    ) -> Result<Self, JoseError> {
        // Sealed under its name: another row's would not open.
        let opened = sealing.open(sealed, &context(issuer_id, kid))?;
        if let Some(id) = opened.strip_prefix(IN_DEVICE) {
            let key = Self::in_device(device.ok_or(NO_DEVICE)?, alg, id, public.clone())?;
            return if key.kid == *kid { Ok(key) } else { Err(JoseError("a public key is not the one of its name")) };
        }
        let mut key = Self::parse(alg, &opened)?;
        key.rename(kid);
        Ok(key)
    }

    /// The sealed form of a key, opened by the sealing key that it bears and sealed by another.
    ///
    /// # Errors
    /// When it does not open.
    pub fn reseal(
        [from, to]: [&SealingKey; 2],
        issuer_id: &str,
        kid: &Kid,
        sealed: &str,
        rng: &Rng,
    ) -> Result<String, JoseError> {
        let context = context(issuer_id, kid);
        to.seal(&from.open(sealed, &context)?, &context, rng)
    }

    fn parse(alg: SigningAlg, pkcs8: &[u8]) -> Result<Self, JoseError> {
        let (signer, key) = match alg {
            SigningAlg::Es256 => {
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8)
                    .map_err(|_| JoseError("a sealed key is no P-256 key"))?;
                let key = Key::Ec(ec_public(&pair));
                (Signer::Es256(pair), key)
            }
            SigningAlg::Rs256 => {
                let pair = RsaKeyPair::from_pkcs8(pkcs8).map_err(|_| JoseError("a sealed key is no RSA key"))?;
                let key = Key::Rsa(rsa_public(&pair)?);
                (Signer::Rs256(pair), key)
            }
        };
        let public = published(alg, key)?;
        Ok(Self { kid: thumbprint(&public.key)?, alg, public, signer })
    }

    /// Its name in header and JWKS.
    pub fn kid(&self) -> &Kid {
        &self.kid
    }

    /// What it signs with.
    pub fn alg(&self) -> SigningAlg {
        self.alg
    }

    /// The public half as it is published (RFC 7517 section 4).
    pub fn public_jwk(&self) -> &Jwk {
        &self.public
    }

    /// Signs `claims` as a compact JWS (RFC 7515 section 7.1) with `typ`, `alg` and `kid` in its header.
    ///
    /// # Errors
    /// When the claims are no JSON or the signer refuses; both are faults of ours.
    pub async fn sign(&self, typ: &str, claims: &(impl Serialize + Sync)) -> Result<String, JoseError> {
        let header = format!(r#"{{"typ":"{typ}","alg":"{}","kid":"{}"}}"#, self.alg.as_str(), self.kid);
        let payload = serde_json::to_vec(claims).map_err(|_| JoseError("claims are not JSON"))?;
        let mut token = String::with_capacity((header.len() + payload.len()) * 4 / 3 + 360);
        URL_SAFE_NO_PAD.encode_string(header, &mut token);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(payload, &mut token);
        let signature = self.signer.sign(token.as_bytes()).await?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }
}

impl Signer {
    async fn sign(&self, message: &[u8]) -> Result<Vec<u8>, JoseError> {
        const FAILED: JoseError = JoseError("signing failed");
        match self {
            Self::Es256(pair) => Ok(pair.sign(&SystemRandom::new(), message).map_err(|_| FAILED)?.as_ref().to_vec()),
            Self::Rs256(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).map_err(|_| FAILED)?;
                Ok(signature)
            }
            Self::Device(key) => key.sign(message).await,
        }
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "<signing key {}>", self.kid)
    }
}

/// A public half as it is published (RFC 7517 section 4), named by its thumbprint.
pub(super) fn published(alg: SigningAlg, key: Key) -> Result<Jwk, JoseError> {
    let name = match alg {
        SigningAlg::Es256 => Signing::Es256,
        SigningAlg::Rs256 => Signing::Rs256,
    };
    let prm = Parameters {
        alg: Some(Algorithm::Signing(name)),
        kid: Some(thumbprint(&key)?.as_str().to_owned()),
        cls: Some(Class::Signing),
        ..Parameters::default()
    };
    Ok(Jwk { key, prm })
}

/// A new private key, in PKCS #8.
fn generate(alg: SigningAlg) -> Option<Zeroizing<Vec<u8>>> {
    match alg {
        SigningAlg::Es256 => {
            let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).ok()?;
            Some(Zeroizing::new(made.as_ref().to_vec()))
        }
        SigningAlg::Rs256 => {
            let pair = RsaKeyPair::generate(KeySize::Rsa2048).ok()?;
            let made: Pkcs8V1Der<'_> = pair.as_der().ok()?;
            Some(Zeroizing::new(made.as_ref().to_vec()))
        }
    }
}

fn ec_public(pair: &EcdsaKeyPair) -> Ec {
    // SEC 1: 0x04, then x and y, 32 bytes each.
    let point = pair.public_key().as_ref();
    let coordinate = |bytes: &[u8]| bytes.to_vec().into();
    Ec { crv: EcCurves::P256, x: coordinate(&point[1..33]), y: coordinate(&point[33..65]), d: None }
}

pub(super) fn rsa_public(pair: &RsaKeyPair) -> Result<Rsa, JoseError> {
    let public = rsa::PublicKey::from_pkcs1_der(pair.public_key().as_ref())
        .map_err(|_| JoseError("the public half of an RSA key cannot be read"))?;
    Ok(Rsa { n: public.n_bytes().into_vec().into(), e: public.e_bytes().into_vec().into(), prv: None })
}

/// RFC 7638 section 3: the required members in lexicographic order, hashed.
pub(super) fn thumbprint(key: &Key) -> Result<Kid, JoseError> {
    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let members = match key {
        Key::Ec(ec) => format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, text(&ec.x), text(&ec.y)),
        Key::Rsa(rsa) => format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, text(&rsa.e), text(&rsa.n)),
        _ => return Err(JoseError("no thumbprint is known for this kind of key")),
    };
    Ok(sha256(members.as_bytes()).into())
}

/// What a sealed key is bound to.
fn context(issuer_id: &str, kid: &Kid) -> String {
    format!("{issuer_id} {kid}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::{PublicKey, Unverified};

    #[tokio::test]
    async fn both_algorithms_sign_what_their_public_half_verifies() {
        let (sealing, rng) = (SealingKey::from_bytes(&[1; 32]).unwrap(), Rng::seeded(1));
        for alg in [SigningAlg::Es256, SigningAlg::Rs256] {
            let (key, sealed) = SigningKey::generate(alg, &sealing, "i", &rng).unwrap();
            let again = SigningKey::open(alg, (&sealing, None), "i", key.kid(), (&sealed, key.public_jwk())).unwrap();
            assert_eq!(key.public_jwk(), again.public_jwk());
            let jwk = serde_json::to_value(key.public_jwk()).unwrap();
            assert_eq!((jwk["alg"].as_str(), jwk["use"].as_str()), (Some(alg.as_str()), Some("sig")));
            assert_eq!(jwk["kid"].as_str(), Some(key.kid().as_str()));
            for private in ["d", "p", "q", "dp", "dq", "qi"] {
                assert!(jwk.get(private).is_none(), "{private}");
            }
            let token = again.sign("x+jwt", &serde_json::json!({"sub": "u"})).await.unwrap();
            let public = PublicKey::from_jwk(&jwk).unwrap();
            let claims: serde_json::Value = Unverified::parse(&token).unwrap().verify(&public, Some("x+jwt")).unwrap();
            assert_eq!(claims["sub"], "u");
            let other = if alg == SigningAlg::Es256 { SigningAlg::Rs256 } else { SigningAlg::Es256 };
            assert!(SigningKey::open(other, (&sealing, None), "i", key.kid(), (&sealed, key.public_jwk())).is_err());
            assert!(
                SigningKey::open(alg, (&sealing, None), "j", key.kid(), (&sealed, key.public_jwk())).is_err(),
                "another issuer's row"
            );
        }
    }

    #[test]
    fn the_thumbprint_of_rfc_7638() {
        // Section 3.1.
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        let jwk: Jwk = serde_json::from_value(serde_json::json!({"kty": "RSA", "n": n, "e": "AQAB"})).unwrap();
        assert_eq!(thumbprint(&jwk.key).unwrap().as_str(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }
}

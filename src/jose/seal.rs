//! Sealing: private keys at rest are AES-256-GCM under a key that is a file, never a row. What pages prove themselves by comes of the
//! same file, so that no row holds it either.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::JoseError;
use crate::domain::ids::SealingKeyId;
use crate::rng::Rng;
use crate::secret::Secret;

/// Bytes of the sealing key's file.
pub(crate) const LENGTH: usize = 32;

/// The key that seals others. It cannot be printed.
pub struct SealingKey {
    id: SealingKeyId,
    seals: LessSafeKey,
    notes: LessSafeKey,
    forms: hmac::Key,
    browsers: hmac::Key,
}

impl SealingKey {
    /// Takes the 32 bytes of a key file.
    ///
    /// # Errors
    /// When there are not exactly 32.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, JoseError> {
        const UNDERIVED: JoseError = JoseError("no key can be derived from the sealing key");
        let bytes: &[u8; LENGTH] = bytes.try_into().map_err(|_| JoseError("a sealing key has exactly 32 bytes"))?;
        let key = UnboundKey::new(&AES_256_GCM, bytes).map_err(|_| JoseError("a sealing key has exactly 32 bytes"))?;
        let root = Salt::new(HKDF_SHA256, &[]).extract(bytes);
        let derived = |purpose: &[u8]| root.expand(&[purpose], HMAC_SHA256).map(hmac::Key::from).map_err(|_| UNDERIVED);
        let notes = root.expand(&[b"avouch notes"], &AES_256_GCM).map(UnboundKey::from).map_err(|_| UNDERIVED)?;
        let id = hmac::sign(&derived(b"avouch sealing key id")?, &[]);
        let id = id.as_ref().first_chunk().map(|first| u64::from_be_bytes(*first)).ok_or(UNDERIVED)?;
        Ok(Self {
            id: format!("{id:016x}").into(),
            forms: derived(b"avouch form tokens")?,
            browsers: derived(b"avouch known browsers")?,
            notes: LessSafeKey::new(notes),
            seals: LessSafeKey::new(key),
        })
    }

    /// Its name: whatever it has sealed bears that, so that nobody tries keys blindly.
    #[must_use]
    pub fn id(&self) -> &SealingKeyId {
        &self.id
    }

    /// What the forms of a session's pages carry: nobody makes it from the session's id without the key, and it is the same on every
    /// server that has it.
    #[must_use]
    pub fn form_token(&self, session_id: &str) -> Secret {
        Secret::new(URL_SAFE_NO_PAD.encode(hmac::sign(&self.forms, session_id.as_bytes())))
    }

    /// What a browser proves itself by that has signed somebody in: a tag over that fact.
    #[must_use]
    pub fn browser_tag(&self, fact: &str) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.browsers, fact.as_bytes()))
    }

    /// Seals `secret`; it opens only with the same `context` (issuer and kid), so that rows cannot be swapped.
    ///
    /// # Errors
    /// When the library refuses, which it does for absurd lengths only.
    pub fn seal(&self, secret: &[u8], context: &str, rng: &Rng) -> Result<String, JoseError> {
        sealed(&self.seals, secret, context, rng)
    }

    /// Opens what [`SealingKey::seal`] made.
    ///
    /// # Errors
    /// When key, context or text is not the one.
    pub fn open(&self, sealed: &str, context: &str) -> Result<Zeroizing<Vec<u8>>, JoseError> {
        opened(&self.seals, sealed, context)
    }

    /// Seals what a page hands to the next by way of the browser, under a key of its own: anybody can have many of those made.
    ///
    /// # Errors
    /// When the library refuses, which it does for absurd lengths only.
    pub fn seal_note(&self, note: &[u8], context: &str, rng: &Rng) -> Result<String, JoseError> {
        sealed(&self.notes, note, context, rng)
    }

    /// Opens what [`SealingKey::seal_note`] made.
    ///
    /// # Errors
    /// When key, context or text is not the one.
    pub fn open_note(&self, sealed: &str, context: &str) -> Result<Zeroizing<Vec<u8>>, JoseError> {
        opened(&self.notes, sealed, context)
    }
}

fn sealed(key: &LessSafeKey, text: &[u8], context: &str, rng: &Rng) -> Result<String, JoseError> {
    let nonce: [u8; NONCE_LEN] = rng.bytes();
    let mut sealed = text.to_vec();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(context), &mut sealed)
        .map_err(|_| JoseError("sealing failed"))?;
    Ok(URL_SAFE_NO_PAD.encode([nonce.as_slice(), &sealed].concat()))
}

fn opened(key: &LessSafeKey, sealed: &str, context: &str) -> Result<Zeroizing<Vec<u8>>, JoseError> {
    const WRONG: JoseError = JoseError("what is sealed does not open with this sealing key");
    let mut bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(sealed).map_err(|_| WRONG)?);
    if bytes.len() < NONCE_LEN {
        return Err(WRONG);
    }
    let nonce = Nonce::try_assume_unique_for_key(&bytes[..NONCE_LEN]).map_err(|_| WRONG)?;
    let length = key.open_in_place(nonce, Aad::from(context), &mut bytes[NONCE_LEN..]).map_err(|_| WRONG)?.len();
    Ok(Zeroizing::new(bytes[NONCE_LEN..NONCE_LEN + length].to_vec()))
}

impl std::fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "<sealing key {}>", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_only_in_its_place() {
        let rng = Rng::seeded(1);
        let key = SealingKey::from_bytes(&[7; 32]).unwrap();
        let sealed = key.seal(b"secret", "issuer kid-1", &rng).unwrap();
        assert_eq!(&*key.open(&sealed, "issuer kid-1").unwrap(), b"secret");
        assert!(key.open(&sealed, "issuer kid-2").is_err(), "another row");
        assert!(SealingKey::from_bytes(&[8; 32]).unwrap().open(&sealed, "issuer kid-1").is_err(), "another key");
        assert!(key.open("AAAA", "issuer kid-1").is_err());
        let note = key.seal_note(b"note", "issuer kid-1", &rng).unwrap();
        assert_eq!(&*key.open_note(&note, "issuer kid-1").unwrap(), b"note");
        assert!(
            key.open_note(&sealed, "issuer kid-1").is_err() && key.open(&note, "issuer kid-1").is_err(),
            "two keys"
        );
        assert!(SealingKey::from_bytes(&[7; 31]).is_err());
        // Fixed: rows bear it.
        assert_eq!(key.id().as_str(), "0a20707f0e436504");
    }

    #[test]
    fn form_tokens() {
        let token =
            |key: u8, session| SealingKey::from_bytes(&[key; 32]).unwrap().form_token(session).expose().to_owned();
        assert_eq!(token(7, "s"), token(7, "s"));
        assert_eq!(token(7, "s").len(), 43);
        assert_ne!(token(7, "s"), token(7, "t"));
        assert_ne!(token(7, "s"), token(8, "s"));
        let key = SealingKey::from_bytes(&[7; 32]).unwrap();
        assert_ne!(key.browser_tag("s"), token(7, "s"), "one is never taken for the other");
    }
}

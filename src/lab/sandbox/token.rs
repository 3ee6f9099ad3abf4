//! A token as somebody sent it, taken apart: what it says, and nothing believed yet.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::Value;

use super::members::Members;
use super::reply::Refusal;
use crate::jose::MAX_TOKEN;
use crate::lab::flaws::{Broken, Class, Rule};

/// A signed JWT of three parts (RFC 7515 section 7.1).
pub(super) struct Token {
    pub(super) header: Members,
    pub(super) claims: Members,
    signed: String,
    pub(super) signature: Vec<u8>,
}

fn malformed(why: &'static str) -> Refusal {
    Refusal::new(Class::Malformed, why)
}

impl Token {
    /// Takes it apart.
    pub(super) fn read(text: &str, broken: Broken) -> Result<Self, Refusal> {
        if text.len() > MAX_TOKEN && !broken.lacks(Rule::AcceptAnyLength) {
            return Err(malformed("the token is longer than 16 KiB"));
        }
        let mut parts = text.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(malformed("it is not a signed JWT of three parts"));
        };
        let decode = |part: &str| {
            let part = if broken.lacks(Rule::AcceptPadding) { part.trim_end_matches('=') } else { part };
            URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed("a part is not base64url"))
        };
        let read = |part: &str, what| {
            serde_json::from_slice::<Members>(&decode(part)?).map_err(|_| Refusal::new(Class::Malformed, what))
        };
        let header_members = read(header, "the header is not a JSON object")?;
        let claims = read(payload, "the claims are not a JSON object")?;
        if (header_members.repeated || claims.repeated) && !broken.lacks(Rule::AcceptRepeatedMembers) {
            return Err(malformed("a member is repeated"));
        }
        let token = Self {
            header: header_members,
            claims,
            signed: format!("{header}.{payload}"),
            signature: decode(signature)?,
        };
        token.extensions(broken)?;
        Ok(token)
    }

    /// RFC 7515 section 4.1.11: what must be understood, and is not. No extension is, here.
    fn extensions(&self, broken: Broken) -> Result<(), Refusal> {
        let demanded = self.header.get("crit").is_some() || self.header.get("b64").is_some();
        if demanded && !broken.lacks(Rule::IgnoreCrit) {
            return Err(malformed("the header demands an extension (crit) that is not supported"));
        }
        Ok(())
    }

    /// What was signed.
    pub(super) fn signed(&self) -> &[u8] {
        self.signed.as_bytes()
    }

    /// The kind of token that it says it is; an `application/` before it says nothing (RFC 7515 section 4.1.9).
    pub(super) fn typ(&self) -> Option<&str> {
        let typ = self.header.text("typ")?;
        Some(typ.strip_prefix("application/").unwrap_or(typ))
    }
}

/// PEM of a public key (RFC 7468 section 13), for whoever takes one for a secret.
pub(super) fn key_as_secret(jwk: &Value) -> Option<Vec<u8>> {
    // SubjectPublicKeyInfo of a P-256 point (RFC 5480 section 2): always the same, up to the point.
    const P256: [u8; 27] = [
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
        0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
    ];
    let part = |name: &str| URL_SAFE_NO_PAD.decode(jwk.get(name)?.as_str()?).ok();
    let der = [P256.to_vec(), part("x")?, part("y")?].concat();
    let text = STANDARD_NO_PAD.encode(&der);
    let text = format!("{text}{}", "=".repeat((4 - text.len() % 4) % 4));
    let lines: Vec<&str> = (0..text.len()).step_by(64).map(|at| &text[at..text.len().min(at + 64)]).collect();
    Some(format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n")).into_bytes())
}

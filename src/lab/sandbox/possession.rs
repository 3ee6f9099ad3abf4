//! Proof of possession by DPoP (RFC 9449).

use axum::http::{HeaderMap, Method};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::claims::LEEWAY;
use super::reply::Refusal;
use super::state::Mark;
use super::token::Token;
use crate::domain::time::{Seconds, Timestamp};
use crate::jose::PublicKey;
use crate::lab::flaws::{Broken, Rule};
use crate::secret::sha256;

/// Seconds after which a proof is too old.
const MAX_AGE: Seconds = Seconds(60);

/// A proof that came with a request, and verified.
pub(super) struct Proof {
    /// Thumbprint of the key (RFC 9449 section 6.1).
    pub(super) jkt: String,
    /// Its name, so that it is taken once.
    pub(super) mark: Mark,
}

fn no(why: &'static str) -> Refusal {
    Refusal::coded(400, "invalid_dpop_proof", why)
}

/// What a proof must fit.
pub(super) struct Wanted<'a> {
    pub(super) method: &'a Method,
    pub(super) url: &'a str,
    /// The access token that it comes with.
    pub(super) access_token: Option<&'a str>,
    pub(super) now: Timestamp,
}

/// The proof of a request, if there is one (RFC 9449 section 4.3).
pub(super) fn proof(headers: &HeaderMap, wanted: &Wanted<'_>, broken: Broken) -> Result<Option<Proof>, Refusal> {
    let mut sent = headers.get_all("dpop").iter();
    let Some(value) = sent.next() else { return Ok(None) };
    if sent.next().is_some() {
        return Err(no("there are two proofs"));
    }
    let text = value.to_str().map_err(|_| no("the proof is no JWT"))?;
    let token = Token::read(text, Broken::default()).map_err(|_| no("the proof is no JWT"))?;
    if token.typ() != Some("dpop+jwt") {
        return Err(no("the proof's typ is not dpop+jwt"));
    }
    let jwk = token.header.get("jwk").ok_or_else(|| no("the proof brings no key"))?;
    let key = PublicKey::from_jwk(jwk).ok_or_else(|| no("the proof's key is none that signs ES256 or RS256"))?;
    if token.header.text("alg") != Some(key.alg()) || !key.verifies(token.signed(), &token.signature) {
        return Err(no("the proof's signature does not verify"));
    }
    let claims = &token.claims;
    let same = claims.text("htm") == Some(wanted.method.as_str())
        && claims.text("htu").map(|htu| htu.split(['?', '#']).next().unwrap_or_default()) == Some(wanted.url);
    if !same && !broken.lacks(Rule::AcceptAnyDpopProof) {
        return Err(no("the proof was made for another method or address"));
    }
    let iat = claims.get("iat").and_then(Value::as_i64).map(Timestamp).ok_or_else(|| no("the proof has no iat"))?;
    if iat > wanted.now + LEEWAY || wanted.now - iat > MAX_AGE + LEEWAY {
        return Err(no("the proof's iat is too far from now"));
    }
    if let Some(access_token) = wanted.access_token {
        let ath = sha256(access_token.as_bytes());
        if claims.text("ath") != Some(ath.as_str()) {
            return Err(no("the proof's ath is not that of the access token"));
        }
    }
    let jti = claims.text("jti").ok_or_else(|| no("the proof has no jti"))?;
    let jkt = thumbprint(jwk).ok_or_else(|| no("the proof's key has no thumbprint"))?;
    let mark = Mark::new(&format!("dpop:{jkt}"), jti, wanted.now + MAX_AGE + LEEWAY + LEEWAY);
    Ok(Some(Proof { jkt, mark }))
}

/// RFC 7638 section 3: the members that a key needs, by name and without a space.
fn thumbprint(jwk: &Value) -> Option<String> {
    let text = |name: &str| {
        let text = jwk.get(name)?.as_str()?;
        // Decoded and encoded again, so that one key has one.
        Some(URL_SAFE_NO_PAD.encode(URL_SAFE_NO_PAD.decode(text).ok()?))
    };
    let members = match jwk.get("kty")?.as_str()? {
        "EC" => format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, text("x")?, text("y")?),
        "RSA" => format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, text("e")?, text("n")?),
        _ => return None,
    };
    Some(sha256(members.as_bytes()))
}

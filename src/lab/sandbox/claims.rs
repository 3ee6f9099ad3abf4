//! The checks on an assertion's claims that need nothing but the claims: for whom, when, and which one it is. What is read here was signed
//! by a trusted issuer.
//!
//! Sections are those of auth.md, "For apps": "Implementation steps" and "Verifying ID-JAGs", if not said otherwise.

use std::borrow::Cow;

use serde_json::Value;

use super::members::Members;
use super::reply::Refusal;
use crate::domain::time::{Seconds, Timestamp};
use crate::lab::flaws::{Broken, Class, Dialect, Rule};

/// Seconds by which two clocks may differ ("Clock skew").
pub(super) const LEEWAY: Seconds = Seconds(60);

/// Most seconds between `iat` and `exp`: the five minutes of an assertion (ID-JAG draft section 3.1).
const LIFETIME: Seconds = Seconds(300);

/// Seconds a `jti` is remembered beyond the last moment at which its token could come in: a check that began in time may have to wait for
/// a fetch.
pub(super) const MARGIN: Seconds = Seconds(60);

/// Most bytes of a subject (OpenID Connect Core section 2), and of a `jti`.
const MAX_NAME: usize = 255;

/// A token's claims, and what they are judged by.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) claims: &'a Members,
    pub(super) origin: &'a str,
    pub(super) now: Timestamp,
    pub(super) dialect: Dialect,
    pub(super) broken: Broken,
}

pub(super) fn malformed(message: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::new(Class::Malformed, message)
}

impl Context<'_> {
    pub(super) fn lacks(&self, rule: Rule) -> bool {
        self.broken.lacks(rule)
    }

    /// A time in whole seconds; no fraction and no text (RFC 7519 section 2 would allow a fraction, nobody here needs one).
    pub(super) fn time(&self, name: &'static str) -> Result<Option<Timestamp>, Refusal> {
        let Some(value) = self.claims.get(name) else { return Ok(None) };
        let most = if self.lacks(Rule::AcceptFutureIat) { i64::MAX / 2 } else { i64::from(u32::MAX) };
        let text = value.as_str().filter(|_| self.lacks(Rule::AcceptTimesInText)).and_then(|text| text.parse().ok());
        #[expect(clippy::cast_possible_truncation, reason = "seconds, and the range is judged below")]
        let whole = value.as_f64().filter(|_| self.lacks(Rule::AcceptFractions)).map(|seconds| seconds as i64);
        let seconds = value.as_i64().or(text).or(whole).filter(|seconds| (0..=most).contains(seconds));
        seconds
            .map(|seconds| Some(Timestamp(seconds)))
            .ok_or_else(|| malformed(format!("{name} must be an integer of seconds")))
    }

    /// `aud` is this service and nobody else: its issuer byte for byte, alone or alone in an array (ID-JAG draft section 4.4.1).
    pub(super) fn audience(&self) -> Result<(), Refusal> {
        let no = || Refusal::new(Class::Audience, "aud is not this service's issuer identifier, byte for byte");
        let named: Vec<&str> = match self.claims.get("aud") {
            Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
            Some(value) => value.as_str().into_iter().collect(),
            None => Vec::new(),
        };
        let others = self.claims.get("aud").and_then(Value::as_array).is_some_and(|list| list.len() != 1);
        if named.is_empty() {
            let nobody = matches!(self.claims.get("aud"), None | Some(Value::Array(_)));
            return if nobody && self.lacks(Rule::AcceptMissingAudience) { Ok(()) } else { Err(no()) };
        }
        if others && !self.lacks(Rule::AcceptAudienceAmongOthers) {
            return Err(no());
        }
        if named.iter().any(|aud| self.is_ours(aud)) { Ok(()) } else { Err(no()) }
    }

    fn is_ours(&self, aud: &str) -> bool {
        let origin = self.origin;
        aud == origin
            || self.lacks(Rule::AcceptAnyAudience)
            || (self.lacks(Rule::AcceptAudienceWithSlash) && aud.strip_suffix('/') == Some(origin))
            || (self.lacks(Rule::AcceptAudiencePrefix) && aud.starts_with(origin))
            || (self.lacks(Rule::NormaliseAudience) && aud.eq_ignore_ascii_case(origin))
            || (self.lacks(Rule::AcceptAnyPort) && without_port(aud) == without_port(origin))
            || (self.lacks(Rule::AcceptResourceAsAudience) && aud.starts_with(&format!("{origin}/api/")))
            || (self.lacks(Rule::AcceptTokenEndpointAsAudience) && aud == format!("{origin}/oauth2/token"))
    }

    /// The times of an assertion; the answer is until when its `jti` must be remembered ("Replay protection").
    pub(super) fn times(&self) -> Result<Timestamp, Refusal> {
        let now = self.now;
        let exp = match self.time("exp")? {
            Some(exp) => exp,
            None if self.lacks(Rule::AcceptMissingExp) => now + LIFETIME,
            None => return Err(malformed("exp is missing")),
        };
        if exp + LEEWAY <= now && !self.lacks(Rule::AcceptExpired) {
            return Refusal::because(Class::Expiry, "the assertion has expired");
        }
        // Whoever does not ask when it was made cannot tell for how long it lives.
        if let Some(iat) = self.issued()? {
            let fits = (Seconds(1)..=LIFETIME).contains(&(exp - iat)) || self.lacks(Rule::AcceptAnyLifetime);
            if !fits && self.claims.get("exp").is_some() {
                return Err(malformed("exp must follow iat by at most 300 seconds"));
            }
        }
        if self.time("nbf")?.is_some_and(|nbf| nbf > now + LEEWAY) && !self.lacks(Rule::IgnoreNbf) {
            return Err(malformed("nbf is in the future"));
        }
        Ok(exp + LEEWAY + MARGIN)
    }

    /// When it was made, if that is looked at.
    pub(super) fn issued(&self) -> Result<Option<Timestamp>, Refusal> {
        match self.time("iat")? {
            Some(iat) if iat <= self.now + LEEWAY => Ok(Some(iat)),
            Some(_) if self.lacks(Rule::AcceptFutureIat) => Ok(None),
            Some(_) => Err(malformed("iat is in the future")),
            None if self.lacks(Rule::AcceptMissingIat) => Ok(None),
            None => Err(malformed("iat is missing")),
        }
    }

    /// The token's own name; nothing where none is asked for.
    pub(super) fn jti(&self) -> Result<Option<&str>, Refusal> {
        match self.claims.text("jti") {
            Some(jti) => self.is_plain("jti", jti).map(Some),
            None if self.lacks(Rule::AcceptMissingJti) => Ok(None),
            None => Err(malformed("jti is missing or not a text")),
        }
    }

    /// Whom it is about.
    pub(super) fn subject(&self) -> Result<&str, Refusal> {
        let Some(sub) = self.claims.text("sub") else {
            return if self.lacks(Rule::AcceptMissingSub) {
                Ok("nobody")
            } else {
                Err(malformed("sub is missing or not a text"))
            };
        };
        if !sub.is_ascii() && !self.lacks(Rule::AcceptAnySub) {
            return Err(malformed("sub has letters that are not ASCII"));
        }
        self.is_plain("sub", sub)
    }

    fn is_plain<'t>(&self, name: &str, text: &'t str) -> Result<&'t str, Refusal> {
        if text.len() > MAX_NAME && !self.lacks(Rule::AcceptAnySub) {
            return Err(malformed(format!("{name} is longer than {MAX_NAME} bytes")));
        }
        if text.chars().any(char::is_control) && !self.lacks(Rule::AcceptControlCharacters) {
            return Err(malformed(format!("{name} has control characters")));
        }
        Ok(text)
    }

    /// Nothing in it that would let it pass for another kind of token (RFC 8725 section 3.12).
    pub(super) fn is_no_other(&self) -> Result<(), Refusal> {
        let strange = ["nonce", "events"].into_iter().find(|name| self.claims.get(name).is_some());
        match strange {
            Some(name) if !self.lacks(Rule::AcceptClaimsOfOtherTokens) => {
                Err(malformed(format!("{name} belongs in another kind of token")))
            }
            _ => Ok(()),
        }
    }
}

/// A URL as it is written, less the port.
fn without_port(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
    format!("{scheme}://{}{path}", host.map_or(authority, |(host, _)| host))
}

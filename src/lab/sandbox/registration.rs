//! Who is registered, and what was given to them.

use super::person::Person;
use crate::domain::scope::Scope;
use crate::domain::time::Timestamp;
use crate::secret::sha256;

/// A user of the service.
#[derive(Clone, Debug)]
pub(super) struct Account {
    pub(super) id: String,
    pub(super) person: Person,
}

/// Who stands behind a credential.
#[derive(Clone, Debug)]
pub(super) struct Registration {
    pub(super) id: String,
    pub(super) iss: String,
    pub(super) sub: String,
    pub(super) account: String,
    /// Only what the issuer verified.
    pub(super) person: Person,
    pub(super) scopes: Scope,
}

/// What a credential is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Credential {
    /// For the API.
    AccessToken,
    /// For the API, until it is withdrawn.
    ApiKey,
    /// The service's own assertion, which gets access tokens.
    Assertion,
}

/// A credential that was given out.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) what: Credential,
    pub(super) registration: Registration,
    /// When it expires; `None` for an API key.
    pub(super) expires_at: Option<Timestamp>,
    /// The key that it is bound to (RFC 9449 section 6).
    pub(super) jkt: Option<String>,
}

impl Given {
    /// Whether it can be used.
    pub(super) fn is_alive(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|at| now < at)
    }
}

/// A registration's name: the same for the same (iss, sub, aud), for ever (auth.md v0.1, the reference service).
pub(super) fn registration_id(iss: &str, sub: &str, aud: &str) -> String {
    // An issuer holds no bar and `aud` is always ours, so no two triples make one text. 22 characters are 132 bits.
    format!("reg_{}", &sha256(format!("{iss}|{sub}|{aud}").as_bytes())[..22])
}

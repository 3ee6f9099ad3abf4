//! What we sign, as structs; and the last look at it before it leaves.

use serde::{Deserialize, Serialize};

use super::ids::{ClientId, Jti, Subject};
use super::scope::Scope;
use super::session::Account;
use super::time::{Seconds, Timestamp};

/// `typ` of an ID-JAG (ID-JAG draft section 3.1).
pub const ID_JAG: &str = "oauth-id-jag+jwt";
/// `typ` of our ID tokens.
pub const ID_TOKEN: &str = "JWT";

/// `typ` of a logout token (OpenID Connect Back-Channel Logout section 2.4).
pub const LOGOUT: &str = "logout+jwt";

/// Most seconds between `iat` and `exp` of an assertion (Cloudflare's and others' limit; auth.md: five minutes).
pub const ASSERTION_LIFETIME: Seconds = Seconds(300);
/// Seconds an ID token is valid.
pub const ID_TOKEN_LIFETIME: Seconds = Seconds(3600);

/// Most bytes of an assertion's claims. With header and signature, and in base64, that makes 8 KiB, which fits into what servers take as a
/// form or a header.
const MAX_PAYLOAD: usize = 5900;

/// The one event of auth.md.
pub const REVOKED_EVENT: &str = "https://schemas.workos.com/events/agent/auth/identity/assertion/revoked";

/// An Identity Assertion JWT Authorization Grant (ID-JAG draft section 3.1; auth.md, "ID-JAG claims").
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdJag {
    /// Issuer.
    pub iss: String,
    /// The user, as the service knows them.
    pub sub: Subject,
    /// One service, as a string: the widest acceptance.
    pub aud: String,
    /// The client's identifier at the service.
    pub client_id: ClientId,
    /// Never reused, in any kind of token.
    pub jti: Jti,
    /// When it was issued.
    pub iat: Timestamp,
    /// When it expires.
    pub exp: Timestamp,
    /// When the user really signed in last.
    pub auth_time: Timestamp,
    /// Only a verified one leaves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Only with `email`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email_verified: Option<bool>,
    /// To show on the account there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// E.164.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone_number: Option<String>,
    /// Only with `phone_number`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone_number_verified: Option<bool>,
    /// How the user signed in (RFC 8176).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amr: Option<Vec<String>>,
    /// A string when there is one, else an array (RFC 8707).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<OneOrMany>,
    /// What was granted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// auth.md: the platform the agent runs on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_platform: Option<String>,
    /// auth.md: the chat or task it acts in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_context_id: Option<String>,
}

impl OneOrMany {
    /// In the form that says it shortest; nothing says nothing.
    #[must_use]
    pub fn of(mut texts: Vec<String>) -> Option<Self> {
        match texts.len() {
            0 => None,
            1 => texts.pop().map(Self::One),
            _ => Some(Self::Many(texts)),
        }
    }
}

/// A string, or an array where there are several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl IdJag {
    /// Whether it would be longer, signed, than services can be relied upon to take.
    #[must_use]
    pub fn is_too_long(&self) -> bool {
        let resources = match &self.resource {
            None => 0,
            Some(OneOrMany::One(one)) => one.len(),
            Some(OneOrMany::Many(many)) => many.iter().map(String::len).sum(),
        };
        let others = [&self.scope, &self.agent_platform, &self.agent_context_id, &self.name];
        let rough: usize = resources + others.into_iter().flatten().map(String::len).sum::<usize>();
        // Almost always that is enough to know.
        rough > 1024 && serde_json::to_string(self).is_ok_and(|json| json.len() > MAX_PAYLOAD)
    }

    /// Judges what is about to be signed, as a strict service would (ID-JAG draft section 3.1 and 4.4.1).
    ///
    /// # Errors
    /// The rule that is broken. That is a fault of ours, never the caller's.
    pub fn check(&self, issuer: &str, now: Timestamp) -> Result<(), &'static str> {
        let filled = !self.iss.is_empty() && !self.aud.is_empty();
        let rules = [
            (filled, "iss and aud are not empty"),
            (self.iss == issuer, "iss is this issuer"),
            (self.aud != self.iss, "aud is not this issuer"),
            (self.iat <= now && now < self.exp, "it is valid now"),
            (self.exp - self.iat <= ASSERTION_LIFETIME, "it lives at most 300 seconds"),
            (Timestamp::EPOCH < self.auth_time && self.auth_time <= self.iat, "auth_time is a past sign-in"),
            (self.email.is_some() || self.email_verified.is_none(), "email_verified comes with email"),
            (
                self.phone_number.is_some() || self.phone_number_verified.is_none(),
                "phone_number_verified comes with a number",
            ),
            (self.scope.as_deref() != Some(""), "scope is not empty"),
        ];
        rules.iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, rule)| Err(rule))
    }
}

/// Our ID token (OpenID Connect Core section 2), and what we demand of one that comes back as a subject token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IdToken {
    /// Issuer.
    pub iss: String,
    /// The user.
    pub sub: Subject,
    /// The client it was issued to.
    pub aud: ClientId,
    /// When it expires.
    pub exp: Timestamp,
    /// When it was issued.
    pub iat: Timestamp,
    /// When the user really signed in.
    pub auth_time: Timestamp,
    /// The session.
    pub sid: String,
    /// Echoed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// How (RFC 8176).
    pub amr: Vec<String>,
    /// Scope `email`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Scope `email`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email_verified: Option<bool>,
    /// Scope `profile`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Scope `phone`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone_number: Option<String>,
    /// Scope `phone`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone_number_verified: Option<bool>,
}

/// What a client may know of a user by its scopes (OpenID Connect Core section 5.4): as it stands in the ID token, and as userinfo says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UserInfo {
    /// The user.
    pub sub: Subject,
    /// Scope `email`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Scope `email`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email_verified: Option<bool>,
    /// Scope `profile`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Scope `phone`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone_number: Option<String>,
    /// Scope `phone`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone_number_verified: Option<bool>,
}

impl UserInfo {
    /// Of a user, for scopes.
    #[must_use]
    pub fn of(account: &Account, scope: &Scope) -> Self {
        let phone = account.phone_number.clone().filter(|_| scope.has("phone"));
        Self {
            sub: account.sub.clone(),
            email: scope.has("email").then(|| account.email.clone()),
            email_verified: scope.has("email").then_some(account.email_verified),
            name: account.name.clone().filter(|_| scope.has("profile")),
            phone_number_verified: phone.as_ref().map(|_| account.phone_verified),
            phone_number: phone,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> IdJag {
        IdJag {
            iss: "https://id.example".into(),
            sub: Subject::parse("u").unwrap(),
            aud: "https://a.example".into(),
            client_id: ClientId::parse("c").unwrap(),
            jti: Jti::parse("j").unwrap(),
            iat: Timestamp(1000),
            exp: Timestamp(1300),
            auth_time: Timestamp(900),
            email: None,
            email_verified: None,
            name: None,
            phone_number: None,
            phone_number_verified: None,
            amr: None,
            resource: None,
            scope: None,
            agent_platform: None,
            agent_context_id: None,
        }
    }

    #[test]
    fn the_last_look() {
        type Spoil = fn(&mut IdJag);
        assert_eq!(good().check("https://id.example", Timestamp(1000)), Ok(()));
        let cases: [(&str, Spoil); 8] = [
            ("other issuer", |c| c.iss = "https://x.example".into()),
            ("for ourselves", |c| c.aud = c.iss.clone()),
            ("not yet valid", |c| c.iat = Timestamp(1001)),
            ("over", |c| c.exp = Timestamp(1000)),
            ("too long", |c| c.exp = Timestamp(1301)),
            ("sign-in in the future", |c| c.auth_time = Timestamp(1001)),
            ("verified nothing", |c| c.email_verified = Some(true)),
            ("empty scope", |c| c.scope = Some(String::new())),
        ];
        for (name, spoil) in cases {
            let mut claims = good();
            spoil(&mut claims);
            assert!(claims.check("https://id.example", Timestamp(1000)).is_err(), "{name}");
        }
    }
}

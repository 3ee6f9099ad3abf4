//! What the tokens of notices say.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::claims::REVOKED_EVENT;
use super::ids::{ClientId, Jti, Subject};
use super::notice::{Delivery, LOGOUT_LIFETIME, REVOCATION_LIFETIME};
use super::time::Timestamp;

/// A notice in the form of auth.md ("Revocation"): a logout token, or a security event token, that names a delegation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogoutToken {
    /// As first emitted for this delegation.
    pub iss: String,
    /// As first emitted for this delegation.
    pub sub: Subject,
    /// As first emitted for this delegation.
    pub aud: String,
    /// Fresh for each attempt: receivers refuse a `jti` they have seen.
    pub jti: Jti,
    /// When it was issued.
    pub iat: Timestamp,
    /// Where the format has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exp: Option<Timestamp>,
    /// One, [`REVOKED_EVENT`] unless the service knows it by another name, with an empty object.
    pub events: Map<String, Value>,
}

impl LogoutToken {
    /// The notice that a delegation is withdrawn.
    #[must_use]
    pub fn revoked(delivery: &Delivery, event: Option<&str>, jti: Jti, now: Timestamp) -> Self {
        let mut events = Map::new();
        events.insert(event.unwrap_or(REVOKED_EVENT).to_owned(), json!({}));
        let Delivery { iss, sub, aud, format, .. } = delivery;
        let exp = format.lifetime().map(|lifetime| now + lifetime);
        Self { iss: iss.clone(), sub: sub.clone(), aud: aud.clone(), jti, iat: now, exp, events }
    }
}

/// Who asks for a revocation (Global Token Revocation section 3.5, after RFC 7523): whose tokens are to end is in the body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevocationToken {
    /// As first emitted for this delegation.
    pub iss: String,
    /// Who we are there: the URL of our own Client ID Metadata Document.
    pub sub: ClientId,
    /// The endpoint, without query.
    pub aud: String,
    /// Fresh for each attempt.
    pub jti: Jti,
    /// When it was issued.
    pub iat: Timestamp,
    /// When it expires.
    pub exp: Timestamp,
}

impl RevocationToken {
    /// For an endpoint.
    #[must_use]
    pub fn new(delivery: &Delivery, provider: &ClientId, endpoint: &str, jti: Jti, now: Timestamp) -> Self {
        let aud = endpoint.split(['?', '#']).next().unwrap_or_default().to_owned();
        Self { iss: delivery.iss.clone(), sub: provider.clone(), aud, jti, iat: now, exp: now + REVOCATION_LIFETIME }
    }
}

/// The body of such a request: a subject identifier (RFC 9493 section 3.2.3).
#[must_use]
pub fn subject(delivery: &Delivery) -> Value {
    json!({ "sub_id": { "format": "iss_sub", "iss": delivery.iss, "sub": delivery.sub } })
}

/// The event of a logout token for a client (Back-Channel Logout section 2.4); http, not https.
pub const LOGGED_OUT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// A logout token for a client (Back-Channel Logout section 2.4): never with a `nonce`, so that it can't pass for an ID token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackchannelToken {
    /// As in its ID tokens.
    pub iss: String,
    /// As in its ID tokens.
    pub sub: Subject,
    /// The client.
    pub aud: String,
    /// When it was issued.
    pub iat: Timestamp,
    /// When it expires.
    pub exp: Timestamp,
    /// Fresh for each attempt.
    pub jti: Jti,
    /// One, with an empty object.
    pub events: Map<String, Value>,
    /// The session, as in its ID tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
}

impl BackchannelToken {
    /// That a session is over.
    #[must_use]
    pub fn new(delivery: &Delivery, jti: Jti, now: Timestamp) -> Self {
        let Delivery { iss, sub, aud, sid, .. } = delivery;
        Self {
            iss: iss.clone(),
            sub: sub.clone(),
            aud: aud.clone(),
            iat: now,
            exp: now + LOGOUT_LIFETIME,
            jti,
            events: Map::from_iter([(LOGGED_OUT.to_owned(), json!({}))]),
            sid: sid.clone(),
        }
    }
}

//! Notices: what tells a service that a delegation is over, and where each stands.

use serde::{Deserialize, Serialize};

use super::ids::{Jti, Kid, Subject};
use super::time::{Seconds, Timestamp};

/// Seconds after an assertion's `exp` at which no service takes it any more: our lifetime plus twice the usual leeway.
pub const REDEEMABLE_AFTER_EXP: Seconds = Seconds(120);

/// Seconds a notice is tried, unless they are set to more.
pub const LIFETIME: Seconds = Seconds(7 * 24 * 3600);

/// Seconds a logout token is valid (Back-Channel Logout section 2.4 recommends two minutes at most).
pub const LOGOUT_LIFETIME: Seconds = Seconds(120);

/// Seconds a client is told that a user signed out: later it would only end a newer sign-in, where a client goes by the user.
pub const LOGOUT_TOLD: Seconds = Seconds(24 * 3600);

/// Seconds a token for Global Token Revocation is valid (section 3.5 of its draft recommends five minutes).
pub const REVOCATION_LIFETIME: Seconds = Seconds(300);

/// Most bytes that are kept of an answer.
pub const MAX_KEPT: usize = 1024;

vocabulary! {
    /// What a notice looks like on the wire.
    pub enum Format {
        /// A signed logout token, posted raw (auth.md v0.1, "Revocation").
        LogoutJwt = "logout+jwt",
        /// A security event token, pushed as RFC 8935 says (auth.md v0.3 and later, "Revocation").
        SecEvent = "secevent+jwt",
        /// A subject identifier, posted with a signed token as bearer (draft-parecki-oauth-global-token-revocation-06).
        GlobalRevocation = "global-token-revocation",
        /// A logout token for a client, posted as a form (OpenID Connect Back-Channel Logout 1.0).
        BackchannelLogout = "backchannel-logout",
    }
}

impl Format {
    /// The `Content-Type` of its request.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::LogoutJwt => "application/logout+jwt",
            Self::SecEvent => "application/secevent+jwt",
            Self::GlobalRevocation => "application/json",
            Self::BackchannelLogout => "application/x-www-form-urlencoded",
        }
    }

    /// The `typ` of its token. The draft of Global Token Revocation names none; this is what Okta sends and Auth0 wants.
    #[must_use]
    pub fn typ(self) -> &'static str {
        match self {
            Self::LogoutJwt | Self::SecEvent => self.as_str(),
            Self::GlobalRevocation => "global-token-revocation+jwt",
            Self::BackchannelLogout => Self::LogoutJwt.as_str(),
        }
    }

    /// For how long a notice of it is tried, where services are told for `configured`.
    #[must_use]
    pub fn tried_for(self, configured: Seconds) -> Seconds {
        match self {
            Self::LogoutJwt | Self::SecEvent | Self::GlobalRevocation => configured,
            Self::BackchannelLogout => LOGOUT_TOLD,
        }
    }

    /// For how long a token of it says that it is good: of a security event that says nothing (RFC 8417 section 2.2).
    #[must_use]
    pub fn lifetime(self) -> Option<Seconds> {
        match self {
            Self::LogoutJwt | Self::BackchannelLogout => Some(LOGOUT_LIFETIME),
            Self::SecEvent => None,
            Self::GlobalRevocation => Some(REVOCATION_LIFETIME),
        }
    }
}

vocabulary! {
    /// Where a notice stands.
    pub enum DeliveryState {
        /// On its way.
        Queued = "queued",
        /// The service has it.
        Delivered = "delivered",
        /// The service said no for good, or last of all when time was up.
        Refused = "refused",
        /// Time is up.
        GivenUp = "given_up",
        /// The service answered well, and that proves nothing: its endpoint may be for something else.
        Unproven = "unproven",
        /// A later withdrawal made it pointless: that has notices of its own.
        Cancelled = "cancelled",
    }
}

vocabulary! {
    /// Which notice of a withdrawal.
    pub enum Round {
        /// The one that is due at once.
        First = "first",
        /// The one that is due when nothing minted before the end can be redeemed any more.
        Second = "second",
    }
}

/// The notices of a withdrawal at `now`, given the latest `exp` minted, and when each is due: one at once, and a second when the last
/// assertion can no longer be redeemed, since a service might have taken it after the first.
pub fn rounds(now: Timestamp, last_exp: Timestamp) -> impl Iterator<Item = (Round, Timestamp)> {
    let dead = last_exp + REDEEMABLE_AFTER_EXP;
    let second = (last_exp > Timestamp::EPOCH && dead > now).then_some((Round::Second, dead));
    std::iter::once((Round::First, now)).chain(second)
}

/// One notice's way to one service.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Names it.
    pub id: String,
    /// Our key of the issuer it speaks for.
    pub issuer_id: String,
    /// Of which delegation; none where a client is told that a user signed out.
    pub delegation_id: Option<String>,
    /// Of which session, then.
    pub sid: Option<String>,
    /// What it looks like.
    pub format: Format,
    /// Which of its withdrawal's.
    pub round: Round,
    /// Where it goes.
    pub endpoint: String,
    /// Host and port of that: one notice at a time to each.
    pub host: String,
    /// As first emitted.
    pub iss: String,
    /// As first emitted.
    pub sub: Subject,
    /// As first emitted; the `client_id` where it is for a client.
    pub aud: String,
    /// Where it stands.
    pub state: DeliveryState,
    /// Attempts made.
    pub attempts: i64,
    /// When the next one is due.
    pub due_at: Timestamp,
    /// When it was made.
    pub created_at: Timestamp,
    /// After which nothing is tried.
    pub give_up_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The last answer.
    pub last_status: Option<i64>,
    /// Why there was none.
    pub last_error: Option<String>,
}

/// What a list of notices is narrowed to.
#[derive(Clone, Copy, Debug)]
pub struct Deliveries<'a> {
    /// Where they stand.
    pub state: Option<DeliveryState>,
    /// The id of the last row of the page before.
    pub after: &'a str,
    /// Most rows.
    pub limit: i64,
}

/// One attempt at a notice, as the journal keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Which notice.
    pub delivery_id: String,
    /// Which attempt at it, from 1.
    pub number: i64,
    /// Of the token that was sent.
    pub jti: Jti,
    /// The key that signed it.
    pub kid: Kid,
    /// Where it went.
    pub endpoint: String,
    /// The answer.
    pub status: Option<i64>,
    /// Why there was none.
    pub error: Option<String>,
    /// Milliseconds until there was one, or until that was given up.
    #[serde(default)]
    pub latency: i64,
    /// The beginning of it, of at most [`MAX_KEPT`] bytes, with escapes for what is not seen.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub answer: String,
    /// How it left the notice, if `held`.
    pub state: DeliveryState,
    /// When the next one is due, if it left the notice queued.
    pub due_at: Timestamp,
    /// Whether the worker still held the lease afterwards: only then did the outcome count.
    pub held: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Vocabulary as _;

    #[test]
    fn a_second_notice_follows_a_fresh_assertion_only() {
        let due = |last_exp| rounds(Timestamp(1000), Timestamp(last_exp)).collect::<Vec<_>>();
        assert_eq!(due(0), [(Round::First, Timestamp(1000))]);
        assert_eq!(due(880), [(Round::First, Timestamp(1000))]);
        assert_eq!(due(881), [(Round::First, Timestamp(1000)), (Round::Second, Timestamp(1001))]);
        assert_eq!(due(1300), [(Round::First, Timestamp(1000)), (Round::Second, Timestamp(1420))]);
    }

    #[test]
    fn a_word_is_the_same_stored_and_published() {
        for word in DeliveryState::WORDS {
            let state = DeliveryState::parse(word).unwrap();
            assert_eq!((state.as_str(), serde_json::to_value(state).unwrap()), (*word, (*word).into()));
        }
        assert_eq!(DeliveryState::parse("lost"), None);
    }
}

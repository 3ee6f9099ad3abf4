//! Browser sessions and the sign-in they rest on.

use super::ids::{AccountId, Subject};
use super::time::{Seconds, Timestamp};

/// Seconds a session lasts, whatever happens in it.
pub const LIFETIME: Seconds = Seconds(14 * 24 * 3600);

/// By how much the clocks of two servers may differ.
const CLOCK_SKEW: Seconds = Seconds(60);

/// Whether a sign-in lies so far ahead that it has to be done again: a clock was wrong then, or is now, and its age is nobody's guess.
#[must_use]
pub fn is_ahead(auth_time: Timestamp, now: Timestamp) -> bool {
    auth_time - now > CLOCK_SKEW
}

/// A signed-in browser.
#[derive(Clone, Debug)]
pub struct Session {
    /// The `sid` of ID tokens.
    pub id: String,
    /// Whose.
    pub account_id: AccountId,
    /// When they last really authenticated (OpenID Connect Core section 2, `auth_time`).
    pub auth_time: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
}

/// A session as its user sees it among others.
#[derive(Clone, Debug)]
pub struct OpenSession {
    /// The `sid`.
    pub id: String,
    /// What the browser calls itself.
    pub user_agent: Option<String>,
    /// When they last really authenticated.
    pub auth_time: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
}

/// How long a client's sign-in lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stays {
    /// It has nothing of it now, and may begin again.
    Out,
    /// As long as a session.
    UntilSignOut,
    /// Until the user ends it.
    WhileAway,
}

/// Who is vouched for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Our own key.
    pub id: AccountId,
    /// What leaves: opaque and stable.
    pub sub: Subject,
    /// Lower case.
    pub email: String,
    /// Whether the platform verified it.
    pub email_verified: bool,
    /// The name to show.
    pub name: Option<String>,
    /// In E.164.
    pub phone_number: Option<String>,
    /// Whether the platform verified it.
    pub phone_verified: bool,
    /// Grows with every change.
    pub version: i64,
}

impl Account {
    /// Whether a service has anything verified to match a user by (auth.md, "User matching").
    #[must_use]
    pub fn has_verified_contact(&self) -> bool {
        self.email_verified || (self.phone_verified && self.phone_number.is_some())
    }
}

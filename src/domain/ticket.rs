//! What a user is asked.

use super::ids::{AccountId, ClientKey};
use super::scope::Scope;
use super::time::Timestamp;

/// A request that waits for its user's answer; it never changes but for its end.
#[derive(Clone, Debug)]
pub struct Ticket {
    /// Names it, in its URL.
    pub id: String,
    /// A hash of everything that was asked: the same request finds the same ticket.
    pub request_key: String,
    /// Whom it asks.
    pub account_id: AccountId,
    /// In which session it came up.
    pub session_id: String,
    /// Who wants it.
    pub client_key: ClientKey,
    /// For which service.
    pub aud: String,
    /// With which scopes.
    pub scope: Scope,
    /// For which resources.
    pub resources: Vec<String>,
    /// As the agent named it.
    pub agent_platform: Option<String>,
    /// As the agent named it.
    pub agent_context_id: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
    /// When the agent last asked.
    pub polled_at: Timestamp,
    /// When it was decided.
    pub closed_at: Option<Timestamp>,
    /// By which decision.
    pub consent_id: Option<String>,
}

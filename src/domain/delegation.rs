//! Delegations: the standing record of one user at one service, keyed on the wire by (sub, aud).

use super::ids::{AccountId, ClientId, ClientKey, Subject};
use super::time::Timestamp;

vocabulary! {
    /// Where a delegation stands.
    pub enum Status {
        /// Assertions may be minted under its consents.
        Active = "active",
        /// Ended here; the service has not confirmed every notice yet.
        Withdrawing = "withdrawing",
        /// Ended here, and no notice is on its way.
        Withdrawn = "withdrawn",
    }
}

/// The record. `iss`, `sub` and `aud` are what was first emitted and what every notice says.
#[derive(Clone, Debug)]
pub struct Delegation {
    /// Our own key, published by the API.
    pub id: String,
    /// Whose.
    pub account_id: AccountId,
    /// The issuer's name on the wire.
    pub iss: String,
    /// The user's name on the wire.
    pub sub: Subject,
    /// The service's name on the wire.
    pub aud: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last used.
    pub last_used_at: Option<Timestamp>,
    /// Name of the client that used it last.
    pub last_client: Option<String>,
    /// How many assertions were minted.
    pub mint_count: i64,
    /// The latest `exp` of them; 0 when there was none.
    pub last_exp: Timestamp,
    /// When it ended; `None` while active.
    pub ended_at: Option<Timestamp>,
    /// Notices that are still on their way.
    pub pending_notices: i64,
}

impl Delegation {
    /// Where it stands.
    #[must_use]
    pub fn status(&self) -> Status {
        match (self.ended_at, self.pending_notices) {
            (None, _) => Status::Active,
            (Some(_), 0) => Status::Withdrawn,
            (Some(_), _) => Status::Withdrawing,
        }
    }
}

/// What was removed, so that what stands under it is withdrawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// A user.
    User(AccountId),
    /// A client.
    Client(ClientKey),
    /// The service with an audience.
    Service(String),
}

/// What of a delegation ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// What one client has.
    OfClient(ClientKey),
    /// What was agreed to until a time that has come.
    Lapsed,
}

/// What is withdrawn in bulk: of the delegations that stand, those that everything holds for which is named here. With a client it is that
/// client's decisions alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// The user.
    pub account_id: Option<AccountId>,
    /// What the user is called on the wire.
    pub sub: Option<Subject>,
    /// The service.
    pub aud: Option<String>,
    /// The client.
    pub client_id: Option<ClientId>,
    /// Since when they were used.
    pub used_since: Option<Timestamp>,
}

/// What a list is narrowed to. `after` is the id of the last row of the page before.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter<'a> {
    /// The user.
    pub account_id: Option<&'a AccountId>,
    /// What the user is called on the wire.
    pub sub: Option<&'a Subject>,
    /// The service.
    pub aud: Option<&'a str>,
    /// A client with a consent under it.
    pub client_id: Option<&'a ClientId>,
    /// Where it stands.
    pub status: Option<Status>,
    /// Where to go on.
    pub after: Option<&'a str>,
    /// Most rows.
    pub limit: i64,
}

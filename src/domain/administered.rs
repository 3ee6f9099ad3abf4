//! Users and clients as those see them who administer an issuer.

use super::client::Client;
use super::issuer::Origin;
use super::session::Account;
use super::time::Timestamp;

/// How a user, client or service stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// Whether the configuration declares it, or did last.
    pub is_declared: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// Since when it is disabled, and by whose word.
    pub disabled: Option<(Timestamp, Origin)>,
}

impl State {
    /// `active` or `disabled`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        if self.disabled.is_some() { "disabled" } else { "active" }
    }

    /// Whose word it is that it is disabled.
    #[must_use]
    pub fn disabled_by(&self) -> Option<Origin> {
        self.disabled.map(|(_, by)| by)
    }
}

/// A user.
#[derive(Clone, Debug)]
pub struct AdministeredUser {
    /// Who.
    pub account: Account,
    /// How they stand.
    pub state: State,
}

/// A client.
#[derive(Clone, Debug)]
pub struct AdministeredClient {
    /// Which.
    pub client: Client,
    /// How it stands.
    pub state: State,
}

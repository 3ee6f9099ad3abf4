//! Users, clients and services as those see them who administer an issuer.

use super::client::Client;
use super::service::Service;
use super::session::Account;
use super::time::Timestamp;

vocabulary! {
    /// Whether a user, client or service lives.
    pub enum Standing {
        /// It does.
        Active = "active",
        /// An administrator disabled it, or the configuration declares it no longer.
        Disabled = "disabled",
        /// It does as soon as what stood under it before it was disabled has ended.
        Withdrawing = "withdrawing",
    }
}

/// How a user, client or service stands: it lives where nothing speaks against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// Whether it is the configuration's, which declares it or did.
    pub by_configuration: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// Since when an administrator has it disabled.
    pub stopped_at: Option<Timestamp>,
    /// Since when the configuration declares it no longer.
    pub undeclared_at: Option<Timestamp>,
    /// Since when what stood under it is being ended.
    pub ending_at: Option<Timestamp>,
}

impl State {
    /// Whether the configuration declares it.
    #[must_use]
    pub fn is_declared(&self) -> bool {
        self.by_configuration && self.undeclared_at.is_none()
    }

    /// What follows from all of it.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match (self.stopped_at.or(self.undeclared_at), self.ending_at) {
            (Some(_), _) => Standing::Disabled,
            (None, Some(_)) => Standing::Withdrawing,
            (None, None) => Standing::Active,
        }
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

/// A service.
#[derive(Clone, Debug)]
pub struct AdministeredService {
    /// Which.
    pub service: Service,
    /// How it stands.
    pub state: State,
}

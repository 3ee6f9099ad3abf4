//! Agents and services as pages name them.

use super::pages::{Agent, Known, Service};
use crate::domain::client::Client;
use crate::domain::ids::Audience;
use crate::domain::service;

/// An agent. Only the operator's configuration makes one yet, so that is whose words its name is.
pub(super) fn agent(client: &Client) -> Agent {
    Agent { name: client.title(), known: Known::Operator(client.address()) }
}

/// A service by its audience, and by its name where it is declared.
pub(super) fn service(known: Option<&service::Service>, aud: &str) -> Service {
    let host = Audience::parse(aud).map_or_else(|_| aud.to_owned(), |a| a.host());
    Service { name: known.and_then(|s| s.policy.name.as_ref()).map(ToString::to_string), host }
}

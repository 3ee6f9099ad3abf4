//! What every command about one issuer takes.

use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use super::Failure;
use super::config::{cannot_start, load};
use crate::clock::Clock;
use crate::domain::administered::State;
use crate::domain::refusal::Refusal;
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::flow::register::Members;
use crate::flow::{issuers, issuers_admin, start};
use crate::host::{App, DEFAULT_ISSUER, Host};
use crate::rng::Rng;

#[derive(Args)]
pub(super) struct Common {
    /// The issuer, as in its path [default: the one at the root]
    #[arg(long, value_name = "ID")]
    issuer: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
    /// Configuration file [default: avouch.toml if there is one]
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

impl Common {
    /// The database of a server, which may be running, and our key of the issuer, which may be disabled.
    pub(super) async fn connect(&self) -> Result<(Host, String), Failure> {
        let config = load(self.config.as_deref())?;
        let id = self.issuer.as_deref().unwrap_or(DEFAULT_ISSUER);
        let host = start::connect(&config, Clock::System, Rng::Os).await.map_err(|e| cannot_start(&e))?;
        issuers_admin::find(&host, id).await.map_err(|e| match e {
            Error::Refused(_) => no_issuer(id),
            Error::Fault(fault) => Failure::Unable(fault.to_string()),
        })?;
        Ok((host, id.to_owned()))
    }
}

impl Common {
    /// The same with what works for an issuer that is enabled.
    pub(super) async fn app(&self) -> Result<App, Failure> {
        let (host, id) = self.connect().await?;
        let found = issuers::app(&host, &id).await.map_err(|e| failed(&id, "issuer", &e))?;
        found.ok_or_else(|| no_issuer(&id))
    }
}

/// What was given of members: those that are not null.
pub(super) fn given(members: Value) -> Members {
    let Value::Object(mut members) = members else { return Members::new() };
    members.retain(|_, value| !value.is_null());
    members
}

/// How a command about one thing ends that did not succeed.
pub(super) fn failed(name: &str, kind: &str, error: &Error) -> Failure {
    match error {
        Error::Refused(Refusal::NotFound) => Failure::Usage(format!("{name}: there is no such {kind}")),
        Error::Refused(refusal) => Failure::Usage(format!("{name}: {refusal}")),
        Error::Fault(fault) => Failure::Unable(fault.to_string()),
    }
}

/// How a user, client or service stands, as the API says it.
pub(super) fn state(mut item: Value, state: &State) -> Value {
    item["status"] = state.standing().as_str().into();
    item["declared"] = state.is_declared().into();
    item["created_at"] = state.created_at.rfc3339().into();
    item["disabled_at"] = state.stopped_at.map(Timestamp::rfc3339).into();
    item["undeclared_at"] = state.undeclared_at.map(Timestamp::rfc3339).into();
    item
}

/// The same for people.
pub(super) fn stands(state: &State) -> String {
    let mut said = Vec::new();
    if let Some(at) = state.stopped_at {
        said.push(format!("an administrator disabled it at {}", at.rfc3339()));
    }
    if let Some(at) = state.undeclared_at {
        said.push(format!("the configuration has not declared it since {}", at.rfc3339()));
    }
    if state.ending_at.is_some() {
        said.push("what stood under it is still being withdrawn".to_owned());
    }
    let standing = state.standing().as_str();
    if said.is_empty() { standing.to_owned() } else { format!("{standing}: {}", said.join("; ")) }
}

/// There is none that works.
pub(super) fn no_issuer(id: &str) -> Failure {
    Failure::Usage(format!("--issuer {id}: there is none of that id"))
}

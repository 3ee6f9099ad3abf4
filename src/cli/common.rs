//! What every command about one issuer takes.

use std::path::PathBuf;

use clap::Args;

use super::Failure;
use super::config::{cannot_start, load};
use crate::clock::Clock;
use crate::error::Error;
use crate::flow::{issuers_admin, start};
use crate::host::{DEFAULT_ISSUER, Host};
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

/// There is none that works.
pub(super) fn no_issuer(id: &str) -> Failure {
    Failure::Usage(format!("--issuer {id}: there is none of that id"))
}

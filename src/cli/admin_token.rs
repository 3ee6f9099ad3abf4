//! `avouch admin-token …`.

use std::path::PathBuf;

use clap::Subcommand;

use super::Failure;
use super::config::{cannot_start, load};
use crate::clock::Clock;
use crate::flow::admin_token::{self, Rotated};
use crate::flow::start;
use crate::host::DEFAULT_ISSUER;
use crate::rng::Rng;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make a new admin token; the old one is dead, on all servers of the database within two seconds
    #[command(after_help = super::help!(
        "avouch admin-token rotate --issuer acme",
        "The token is written into its file (mode 0600). An issuer that was added by command or API has no file: its token is printed, once."
    ))]
    Rotate {
        /// The issuer, as in its path [default: the one at the root]
        #[arg(long, value_name = "ID")]
        issuer: Option<String>,
        /// Configuration file [default: avouch.toml if there is one]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

pub(super) async fn run(command: &Command) -> Result<(), Failure> {
    let Command::Rotate { issuer, config } = command;
    let config = load(config.as_deref())?;
    let id = issuer.as_deref().unwrap_or(DEFAULT_ISSUER);
    let host = start::connect(&config, Clock::System, Rng::Os).await.map_err(|e| cannot_start(&e))?;
    let rotated = admin_token::rotate(&host, &config, id).await.map_err(|e| match cannot_start(&e) {
        Failure::Usage(text) => Failure::Usage(format!("{id}: {text}")),
        other => other,
    })?;
    match rotated {
        Rotated::In(file) => out!("{}", file.display()),
        Rotated::Once(token) => {
            out!("{}", token.expose());
            say!("Keep it now: only its hash is stored.");
        }
    }
    Ok(())
}

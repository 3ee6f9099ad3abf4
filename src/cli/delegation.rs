//! `avouch delegation …`: withdrawal in bulk, on the database of a server that may be running.

use std::io::BufRead as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::Failure;
use super::config::{cannot_start, load};
use super::progress::Bar;
use crate::clock::Clock;
use crate::domain::delegation::Selection;
use crate::domain::ids::{ClientId, Subject};
use crate::domain::journal::Why;
use crate::error::Error;
use crate::flow::withdraw_many::{self, Done};
use crate::flow::{issuers_admin, start};
use crate::host::{DEFAULT_ISSUER, Host};
use crate::rng::Rng;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Withdraw the delegations of a user, of a service, of an issuer, or all, or what a client has; services are told
    #[command(after_help = super::help!("avouch delegation withdraw --client-id desk-agent --dry-run", "Several filters withdraw what all of them hold for. A run that was cut short is started again: what it withdrew stays withdrawn."))]
    Withdraw {
        #[command(flatten)]
        which: Which,
        /// Say how many there are, and change nothing
        #[arg(long)]
        dry_run: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Configuration file [default: avouch.toml if there is one]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

#[derive(Args)]
#[group(id = "which", required = true, multiple = true, args = ["sub", "aud", "client_id", "all", "everything"])]
pub(super) struct Which {
    /// Those of this user, as services know them
    #[arg(long, value_name = "SUB", allow_hyphen_values = true)]
    sub: Option<String>,
    /// Those for this service
    #[arg(long, value_name = "AUDIENCE")]
    aud: Option<String>,
    /// Only this client's consents, and delegations where nothing else stands
    #[arg(long, value_name = "CLIENT_ID", allow_hyphen_values = true)]
    client_id: Option<String>,
    /// All of the issuer
    #[arg(long, conflicts_with_all = ["sub", "aud", "client_id"])]
    all: bool,
    /// All of every issuer
    #[arg(long, conflicts_with_all = ["sub", "aud", "client_id", "all", "issuer"])]
    everything: bool,
    /// The issuer, as in its path [default: the one at the root]
    #[arg(long, value_name = "ID")]
    issuer: Option<String>,
}

/// Issuers that are read at a time.
const PAGE: i64 = 200;

pub(super) async fn run(command: Command) -> Result<(), Failure> {
    let Command::Withdraw { which, dry_run, yes, json, config } = command;
    let selection = which.selection()?;
    let config = load(config.as_deref())?;
    let host = start::connect(&config, Clock::System, Rng::Os).await.map_err(|e| cannot_start(&e))?;
    let issuers = which.issuers(&host).await?;
    let mut all = 0;
    for id in &issuers {
        all += withdraw_many::count(&host, id, &selection).await.map_err(|e| failed(&e))?;
    }
    if dry_run {
        if json {
            out!("{}", json!({ "dry_run": true, "withdrawn": 0, "left": all, "failed": 0 }));
        } else {
            out!("{all} would be withdrawn.");
        }
        return Ok(());
    }
    if all > 0 && !yes {
        confirm(all)?;
    }
    let Done { withdrawn, left, failed } = withdraw(&host, &issuers, &selection, all).await?;
    if json {
        out!("{}", json!({ "dry_run": false, "withdrawn": withdrawn, "left": left, "failed": failed }));
    } else {
        out!("{withdrawn} were withdrawn.");
    }
    match failed {
        0 => Ok(()),
        n => Err(Failure::Unable(format!("{n} could not be withdrawn; what is wrong with each stands above"))),
    }
}

async fn withdraw(host: &Host, issuers: &[String], selection: &Selection, all: u64) -> Result<Done, Failure> {
    let mut bar = Bar::new("withdrawn");
    let mut before = Done::default();
    for id in issuers {
        let progress = |done| bar.show(before.withdrawn + done, all);
        match withdraw_many::run(host, id, selection, Why::Admin, progress).await {
            Ok(Done { withdrawn, left, failed }) => {
                before.withdrawn += withdrawn;
                before.left += left;
                before.failed += failed;
            }
            Err(error) => {
                bar.end();
                return Err(Failure::Unable(format!("{}; what was withdrawn stays so, run it again", text(&error))));
            }
        }
    }
    bar.end();
    Ok(before)
}

impl Which {
    fn selection(&self) -> Result<Selection, Failure> {
        let wrong = |option: &str, problem: String| Failure::Usage(format!("{option}: {problem}"));
        let sub = self.sub.clone().map(Subject::try_from).transpose().map_err(|e| wrong("--sub", e))?;
        let client_id =
            self.client_id.clone().map(ClientId::try_from).transpose().map_err(|e| wrong("--client-id", e))?;
        if self.aud.as_ref().is_some_and(String::is_empty) {
            return Err(wrong("--aud", "it is empty".to_owned()));
        }
        Ok(Selection { sub, client_id, aud: self.aud.clone(), ..Selection::default() })
    }

    async fn issuers(&self, host: &Host) -> Result<Vec<String>, Failure> {
        if !self.everything {
            let id = self.issuer.clone().unwrap_or_else(|| DEFAULT_ISSUER.to_owned());
            issuers_admin::find(host, &id).await.map_err(|e| match e {
                Error::Refused(_) => Failure::Usage(format!("--issuer {id}: there is none of that id")),
                fault @ Error::Fault(_) => failed(&fault),
            })?;
            return Ok(vec![id]);
        }
        let mut ids: Vec<String> = Vec::new();
        loop {
            let rows = issuers_admin::list(host, ids.last().map(String::as_str), PAGE).await.map_err(|e| failed(&e))?;
            if rows.is_empty() {
                return Ok(ids);
            }
            ids.extend(rows.into_iter().map(|row| row.id));
        }
    }
}

/// Whoever types the number has read it.
fn confirm(all: u64) -> Result<(), Failure> {
    say!("{all} will be withdrawn, and services told that all access ends. There is no way back. Type {all} to go on:");
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    if read.is_ok() && line.trim() == all.to_string() {
        return Ok(());
    }
    Err(Failure::Usage("nothing was withdrawn: the number was not typed (or give --yes)".to_owned()))
}

fn text(error: &Error) -> String {
    match error {
        Error::Refused(refusal) => refusal.to_string(),
        Error::Fault(fault) => fault.to_string(),
    }
}

fn failed(error: &Error) -> Failure {
    Failure::Unable(text(error))
}

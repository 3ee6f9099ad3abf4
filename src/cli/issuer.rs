//! `avouch issuer …`: issuers by path, on the database of a server that may be running.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Failure;
use super::config::{cannot_start, load};
use crate::clock::Clock;
use crate::domain::display_name::DisplayName;
use crate::domain::issuer::{Colour, IssuerId, IssuerRecord, Logo};
use crate::error::Error;
use crate::flow::issuers_admin::{self, Change, Looks};
use crate::flow::{logo, start};
use crate::host::Host;
use crate::rng::Rng;

/// Rows that are read at a time.
const PAGE: i64 = 200;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Add an issuer at /ID and print its admin token, once
    #[command(after_help = super::help!("avouch issuer add acme --name \"Acme Agents\" --logo acme.png"))]
    Add {
        /// 2 to 63 of a-z, 0-9 and -
        id: String,
        /// The name on its pages
        #[arg(long, value_name = "NAME")]
        name: String,
        /// The colour of its pages, such as #0a7d5c
        #[arg(long, value_name = "COLOUR")]
        colour: Option<String>,
        /// Its logo: a PNG or JPEG of at most 1 MiB, which is drawn anew
        #[arg(long, value_name = "FILE")]
        logo: Option<PathBuf>,
        #[command(flatten)]
        common: Common,
    },
    /// List all issuers
    #[command(after_help = super::help!("avouch issuer list --json"))]
    List {
        #[command(flatten)]
        common: Common,
    },
    /// Show one issuer
    #[command(after_help = super::help!("avouch issuer show acme"))]
    Show {
        /// As in its path; `default` is the one at the root
        id: String,
        #[command(flatten)]
        common: Common,
    },
    /// Disable an issuer: every address under it answers 404, nothing is deleted
    #[command(after_help = super::help!("avouch issuer disable acme"))]
    Disable {
        /// As in its path
        id: String,
        #[command(flatten)]
        common: Common,
    },
    /// Enable a disabled issuer again
    #[command(after_help = super::help!("avouch issuer enable acme"))]
    Enable {
        /// As in its path
        id: String,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Args)]
pub(super) struct Common {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Configuration file [default: avouch.toml if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Add { id, name, colour, logo, common } => add(&id, &name, colour, logo.as_deref(), &common).await,
        Command::List { common } => list(&common).await,
        Command::Show { id, common } => {
            let host = connect(&common).await?;
            let row = issuers_admin::find(&host, &id).await.map_err(|e| failed(&id, e))?;
            print(&row, &common);
            Ok(())
        }
        Command::Disable { id, common } => set_disabled(&id, true, &common).await,
        Command::Enable { id, common } => set_disabled(&id, false, &common).await,
    }
}

async fn connect(common: &Common) -> Result<Host, Failure> {
    let config = load(common.config.as_deref())?;
    start::connect(&config, Clock::System, Rng::Os).await.map_err(|e| cannot_start(&e))
}

async fn add(
    id: &str,
    name: &str,
    colour: Option<String>,
    logo: Option<&Path>,
    common: &Common,
) -> Result<(), Failure> {
    let wrong = |what: &str, problem: &dyn std::fmt::Display| Failure::Usage(format!("{what}: {problem}"));
    let issuer = IssuerId::parse(id).map_err(|e| wrong(id, &e))?;
    let looks = Looks {
        name: DisplayName::parse(name).map_err(|e| wrong("--name", &e))?,
        colour: colour.map(|text| Colour::parse(&text)).transpose().map_err(|e| wrong("--colour", &e))?,
        logo: logo.map(picture).transpose()?,
    };
    let host = connect(common).await?;
    let (row, token) = issuers_admin::add(&host, &issuer, &looks).await.map_err(|e| failed(id, e))?;
    if common.json {
        let mut item = item(&row);
        item["admin_token"] = token.expose().into();
        out!("{item}");
    } else {
        out!("{}", row.url);
        out!("  admin token  {}", token.expose());
        out!("  Keep it now: only its hash is stored.");
    }
    Ok(())
}

fn picture(path: &Path) -> Result<Logo, Failure> {
    let wrong = |e: &dyn std::fmt::Display| Failure::Usage(format!("--logo {}: {e}", path.display()));
    logo::read(path).map_err(|e| wrong(&e)).and_then(|bytes| logo::redraw(&bytes).map_err(|e| wrong(&e)))
}

async fn list(common: &Common) -> Result<(), Failure> {
    let host = connect(common).await?;
    let mut after: Option<String> = None;
    let mut items = Vec::new();
    loop {
        let rows = issuers_admin::list(&host, after.as_deref(), PAGE).await.map_err(|e| failed("list", e))?;
        let Some(last) = rows.last() else { break };
        after = Some(last.id.clone());
        for row in &rows {
            if common.json { items.push(item(row)) } else { out!("{}", line(row)) }
        }
    }
    if common.json {
        out!("{}", json!({ "items": items }));
    }
    Ok(())
}

async fn set_disabled(id: &str, disabled: bool, common: &Common) -> Result<(), Failure> {
    let host = connect(common).await?;
    let change = Change { disabled: Some(disabled), ..Change::default() };
    let row = issuers_admin::change(&host, id, &change).await.map_err(|e| failed(id, e))?;
    print(&row, common);
    Ok(())
}

fn failed(id: &str, error: Error) -> Failure {
    match error {
        Error::Refused(refusal) => Failure::Usage(format!("{id}: {refusal}")),
        Error::Fault(fault) => Failure::Unable(fault.to_string()),
    }
}

fn status(row: &IssuerRecord) -> &'static str {
    if row.disabled_at.is_some() { "disabled" } else { "active" }
}

fn line(row: &IssuerRecord) -> String {
    format!("{:<24} {:<9} {:<40} {}", row.id, status(row), row.url, row.name)
}

fn item(row: &IssuerRecord) -> Value {
    json!({
        "id": row.id, "issuer": row.url, "name": row.name, "colour": row.colour, "logo": row.logo_hash.is_some(),
        "status": status(row), "declared": row.is_declared(),
    })
}

fn print(row: &IssuerRecord, common: &Common) {
    if common.json {
        out!("{}", item(row));
        return;
    }
    out!("{}", row.url);
    out!("  name      {}", row.name);
    out!("  status    {}", status(row));
    out!("  colour    {}", row.colour.as_ref().map_or("-", Colour::as_str));
    out!("  logo      {}", if row.logo_hash.is_some() { "yes" } else { "-" });
    out!("  declared  {}", if row.is_declared() { "in the configuration" } else { "no" });
}

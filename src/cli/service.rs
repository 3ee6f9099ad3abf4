//! `avouch service …`: what is understood of relying services.

use std::path::PathBuf;

use clap::Subcommand;

use super::Failure;
use super::config::load;
use crate::clock::Clock;
use crate::domain::ids::Audience;
use crate::domain::understood::Understood;
use crate::flow::discover::discover;
use crate::flow::start;
use crate::net::{Documents, Net, Policy};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Fetch what a service publishes, and say what is understood of it, field by field, and why. Needs no server and stores nothing
    #[command(after_help = super::help!("avouch service discover https://auth.service.example", "URL is the service's issuer identifier, or a resource of it.\nExit code 1: no document proves whose it is.\nA service on this machine may be looked at while the issuer is on this machine too."))]
    Discover {
        /// The service's issuer identifier, or one of its resources
        url: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Configuration file [default: avouch.toml if there is one]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

pub(super) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Discover { url, json, config } => look(&url, json, config.as_deref()).await,
    }
}

async fn look(url: &str, json: bool, config: Option<&std::path::Path>) -> Result<(), Failure> {
    let asked = Audience::parse(url).map_err(|problem| Failure::Usage(format!("{url}: {problem}")))?;
    let config = load(config)?;
    let unable = |e: &dyn std::fmt::Display| Failure::Unable(format!("there is no way out: {e}"));
    // Whoever types an address of this machine means it; on a machine that serves the world nothing of it is opened.
    let net = if asked.is_loopback() && config.issuer.is_loopback() {
        let allowed_networks = config.network.allowed_networks.clone();
        Net::new(Policy { allow_private_addresses: true, allowed_networks }).map_err(|e| unable(&e))?
    } else {
        start::net(&config).map_err(|e| unable(&e))?
    };
    let found = discover(&Documents::new(net), &asked, Clock::System.now(), true).await;
    if json {
        out!("{}", serde_json::json!(found.understood));
    } else {
        print(&found.understood);
    }
    match found.understood.issuer {
        Some(_) => Ok(()),
        None => Err(Failure::Short(format!("{url}: no document proves whose it is"))),
    }
}

/// Each field with its source, then the documents, then what was passed over.
pub(super) fn print(understood: &Understood) {
    out!("{}", understood.issuer.as_deref().unwrap_or(&understood.asked));
    if let Some(issuer) = &understood.issuer
        && *issuer != understood.asked
    {
        out!("  {:<18} {}", "asked for", understood.asked);
    }
    for field in understood.fields() {
        let (name, value) = &field.value;
        out!("  {name:<18} {value}");
        let source = match (&field.member, &field.document) {
            (Some(member), Some(document)) => format!("{member} of {document}: "),
            _ => String::new(),
        };
        out!("  {:<18}   {source}{}", "", field.why);
    }
    if let Some(instead) = &understood.takes_instead {
        out!("  {:<18} {instead}", "takes instead");
    }
    out!("Documents");
    for reading in &understood.documents {
        out!("  {} {}", reading.verdict.as_str(), reading.document);
        out!("    {}", reading.why);
    }
    if !understood.remarks.is_empty() {
        out!("Passed over, or odd");
        for remark in &understood.remarks {
            out!("  {}: {}", remark.member, remark.why);
        }
    }
}

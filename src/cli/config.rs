//! `avouch check-config`, `avouch migrate` and `avouch backup`.

use std::path::Path;

use super::Failure;
use crate::config::{Config, Database};
use crate::flow::backup;
use crate::flow::changes::{self, Outlook};
use crate::flow::{sealing, start};

/// Names that are shown of each kind.
const SHOWN: usize = 20;

/// Reads the configuration, or says in one line what is wrong with it.
pub(super) fn load(file: Option<&Path>) -> Result<Config, Failure> {
    let usage = |e: crate::config::ConfigError| Failure::Usage(e.to_string());
    Config::load(file, Config::environment().map_err(usage)?).map_err(usage)
}

/// What a start that failed ends with.
pub(super) fn cannot_start(error: &start::StartError) -> Failure {
    if error.is_configuration() { Failure::Usage(error.to_string()) } else { Failure::Unable(error.to_string()) }
}

pub(super) async fn check(file: Option<&Path>) -> Result<(), Failure> {
    let config = load(file)?;
    start::check(&config).map_err(|e| cannot_start(&e))?;
    let database = match &config.database {
        Database::Sqlite(path) => format!("SQLite in {}", path.display()),
        Database::Postgres(_) => "PostgreSQL".to_owned(),
    };
    out!("The configuration is valid.");
    for warning in &config.warnings {
        out!("  warning    {warning}");
    }
    out!("  issuer     {}", config.issuer);
    out!("  listen     {}", config.listen);
    out!("  database   {database}");
    out!("  keys       {}", config.keys_dir.display());
    out!(
        "  declared   {} users, {} clients, {} services",
        config.users.len(),
        config.clients.len(),
        config.services.len()
    );
    match changes::outlook(&config).await {
        Ok(outlook) => show(&outlook),
        Err(error) => match cannot_start(&error) {
            Failure::Usage(text) => Err(stopped(&text)),
            // The file may be checked where the database is out of reach.
            Failure::Unable(text) | Failure::Short(text) => {
                out!("What a start would change is not known: {text}");
                Ok(())
            }
        },
    }
}

fn stopped(text: &str) -> Failure {
    Failure::Usage(format!("a start would be refused: {text}"))
}

fn show(outlook: &Outlook) -> Result<(), Failure> {
    let (changes, disabled, refused) = match outlook {
        Outlook::First => {
            out!("The database is empty: a start would be the first, and make the keys and what is declared.");
            return Ok(());
        }
        Outlook::OlderSchema => {
            out!(
                "The database's schema is older: a start would bring it up to date first. What else it would change is not known before."
            );
            return Ok(());
        }
        Outlook::NewerSchema(why) => return Err(Failure::Unable(format!("a start would be refused: {why}"))),
        Outlook::InUse { changes, disabled, stopped } => (changes, disabled, stopped),
    };
    if changes.is_empty() && disabled.is_empty() {
        out!("A start would change nothing of what is declared.");
    } else {
        out!("A start would change:");
    }
    for change in changes {
        let is_new = if change.is_new { ", a new issuer" } else { "" };
        out!("  {}{is_new}", change.issuer);
        for (kind, difference) in
            [("users", &change.users), ("clients", &change.clients), ("services", &change.services)]
        {
            line(kind, "add", &difference.added);
            line(kind, "change", &difference.changed);
            line(kind, "remove", &difference.removed);
        }
    }
    for id in disabled {
        out!("  {id}: no longer declared, would be disabled");
    }
    refused.as_ref().map_or(Ok(()), |error| Err(stopped(&error.to_string())))
}

fn line(kind: &str, what: &str, names: &[String]) {
    if !names.is_empty() {
        let shown = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = if names.len() > SHOWN { ", …" } else { "" };
        out!("    {what} {} {kind}: {shown}{more}", names.len());
    }
}

pub(super) async fn migrate(file: Option<&Path>) -> Result<(), Failure> {
    let config = load(file)?;
    start::migrate(&config).await.map_err(|e| cannot_start(&e))?;
    out!("The schema is up to date.");
    Ok(())
}

pub(super) async fn backup(copy: &Path, file: Option<&Path>) -> Result<(), Failure> {
    let config = load(file)?;
    backup::run(&config, copy).await.map_err(|e| cannot_start(&e))?;
    out!("{}", copy.display());
    match &config.sealing_commands.main {
        None => say!(
            "The sealing key is not in it: keep a copy of {} elsewhere.",
            sealing::path(&config.keys_dir).display()
        ),
        Some(_) => say!(
            "The sealing key is not in it: see that sealing_key_command can give that of now for as long as you keep this."
        ),
    }
    Ok(())
}

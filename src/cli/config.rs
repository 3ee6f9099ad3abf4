//! `avouch check-config` and `avouch migrate`.

use std::path::Path;

use super::Failure;
use crate::config::{Config, Database};
use crate::flow::start;

/// Reads the configuration, or says in one line what is wrong with it.
pub(super) fn load(file: Option<&Path>) -> Result<Config, Failure> {
    let usage = |e: crate::config::ConfigError| Failure::Usage(e.to_string());
    Config::load(file, Config::environment().map_err(usage)?).map_err(usage)
}

/// What a start that failed ends with.
pub(super) fn cannot_start(error: &start::StartError) -> Failure {
    if error.is_configuration() { Failure::Usage(error.to_string()) } else { Failure::Unable(error.to_string()) }
}

pub(super) fn check(file: Option<&Path>) -> Result<(), Failure> {
    let config = load(file)?;
    start::check(&config).map_err(|e| cannot_start(&e))?;
    let database = match &config.database {
        Database::Sqlite(path) => format!("SQLite in {}", path.display()),
        Database::Postgres(_) => "PostgreSQL".to_owned(),
    };
    out!("The configuration is valid.");
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
    Ok(())
}

pub(super) async fn migrate(file: Option<&Path>) -> Result<(), Failure> {
    let config = load(file)?;
    start::migrate(&config).await.map_err(|e| cannot_start(&e))?;
    out!("The schema is up to date.");
    Ok(())
}

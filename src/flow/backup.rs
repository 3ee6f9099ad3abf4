//! A consistent copy of the database while servers work on it.

use std::path::Path;

use url::Url;

use crate::config::{Config, Database};
use crate::flow::first_start::never_started;
use crate::flow::starting::StartError;
use crate::store;

/// Copies a SQLite database into a new file of mode 0600. PostgreSQL has a tool of its own for that, which is named.
///
/// # Errors
/// [`StartError`]: nothing is left of the copy then, and nothing was overwritten.
pub async fn run(config: &Config, copy: &Path) -> Result<(), StartError> {
    match &config.database {
        Database::Sqlite(file) if !file.exists() => Err(never_started()),
        Database::Sqlite(_) if copy.symlink_metadata().is_ok() => {
            let problem = "there is such a file already, and a backup overwrites none: name another one";
            Err(StartError::Configuration(format!("{}: {problem}", copy.display())))
        }
        Database::Sqlite(file) => Ok(store::Database::backup_sqlite(file, copy).await?),
        Database::Postgres(url) => Err(StartError::Configuration(format!(
            "the database is PostgreSQL, which copies itself while it runs: pg_dump --format=custom --file={} {}",
            quoted(&copy.display().to_string()),
            quoted(&without_password(url.expose()))
        ))),
    }
}

/// What the shell takes as one word.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn without_password(url: &str) -> String {
    let Ok(mut url) = Url::parse(url) else { return "…".to_owned() };
    let _ = url.set_password(None);
    // What stands there is for our own driver.
    url.set_query(None);
    url.into()
}

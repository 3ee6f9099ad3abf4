//! An issuer's admin token: in a file of mode 0600, of which the database has the hash.

use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::domain::issuer::IssuerRecord;
use crate::domain::journal::Event;
use crate::domain::refusal::Refusal;
use crate::error::Error;
use crate::flow::issuers_admin;
use crate::flow::keyfile::{self, KeyFileError};
use crate::flow::starting::StartError;
use crate::host::{DEFAULT_ISSUER, Host};
use crate::secret::{Secret, same, token_hash};
use crate::store::Entry;

/// Where an issuer's token is, if it has a file.
pub fn file(config: &Config, id: &str) -> PathBuf {
    match id {
        DEFAULT_ISSUER => config.admin_token_file.clone(),
        id => config.keys_dir.join(format!("admin-token-{id}")),
    }
}

/// Compares a token's file, if there is one, with what the database knows.
///
/// # Errors
/// When they differ: one of the two is not what it is taken for.
pub(super) fn compare(file: &Path, row: &IssuerRecord) -> Result<(), KeyFileError> {
    if !keyfile::exists(file)? || same(&token_hash(keyfile::read_text(file)?.expose()), &row.admin_token_hash) {
        return Ok(());
    }
    let of = if row.id == DEFAULT_ISSUER { String::new() } else { format!(" --issuer {}", row.id) };
    Err(KeyFileError::new(
        file,
        format!(
            "it is not the admin token that the database knows for {}. Put the right file back or take it away, or make a new token: \
             avouch admin-token rotate{of}",
            row.url
        ),
    ))
}

/// A token that was made.
#[derive(Debug)]
pub enum Rotated {
    /// It stands in this file.
    In(PathBuf),
    /// Its issuer has no file: nobody can read it a second time.
    Once(Secret),
}

/// Makes a new token; the old one is dead with the transaction, on other processes within two seconds.
///
/// # Errors
/// [`Refusal::NotFound`]; a file that cannot be written, and then nothing has changed; faults.
pub async fn rotate(host: &Host, config: &Config, id: &str) -> Result<Rotated, StartError> {
    let row = issuers_admin::find(host, id).await?;
    let token = Secret::new(host.rng.token());
    let file = file(config, id);
    // One that an administrator added has none, unless it was declared before.
    let has_file = id == DEFAULT_ISSUER || row.is_declared() || keyfile::exists(&file)?;
    let beside = has_file.then(|| keyfile::write_beside(&file, token.expose().as_bytes(), &host.rng)).transpose()?;
    let mut tx = host.database.of(id.into()).begin().await?;
    if !tx.set_admin_token(&token_hash(token.expose())).await? {
        return Err(Error::from(Refusal::NotFound).into());
    }
    tx.record(Entry::new(host.id(), host.now(), Event::AdminTokenRotated {})).await?;
    // While the row is locked, so that of two at once the same one comes last in the file and in the database.
    if let Some(beside) = beside {
        beside.put()?;
    }
    tx.commit().await?;
    host.issuers.remove(id);
    Ok(if has_file { Rotated::In(file) } else { Rotated::Once(token) })
}

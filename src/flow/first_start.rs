//! The first start: on an empty database the sealing key, the admin token and the default issuer with its first signing key are made.
//!
//! Keys that are there already belong to a database that is not: most likely this one is the wrong one, or a copy without its log. So
//! they stop the start, unless it is one that was cut short before, which a marker beside the keys tells.

use std::path::PathBuf;

use crate::config::{self, Config};
use crate::domain::issuer::{IssuerRecord, Origin};
use crate::domain::rotation::SigningAlg;
use crate::domain::time::Timestamp;
use crate::flow::keyfile::{self, KeyFileError};
use crate::flow::starting::{Accepted, StartError, StartReport, cimd_members};
use crate::flow::{keyring, sealing, sealing_source};
use crate::host::{DEFAULT_ISSUER, Given, Sealing};
use crate::rng::Rng;
use crate::secret::token_hash;
use crate::store::Database;

const MARKER: &str = "first-start";
const MARKER_TEXT: &str = "The keys in this folder belong to a first start that is under way, or was cut short: the next one goes on with them.\n";

/// Makes the default issuer and the keys on an empty database.
///
/// # Errors
/// [`StartError`], also when there are keys that belong to another database.
pub(super) async fn run(
    config: &Config,
    accepted: Accepted,
    database: &Database,
    rng: &Rng,
    now: Timestamp,
    given: &mut Option<Given>,
    report: &mut StartReport,
) -> Result<(), StartError> {
    if !has_issuer(database).await? {
        if let Err(stopped) = judge_keys(config, accepted)
            // Another process may have been through in between: it writes the row first and takes the marker away then.
            && !has_issuer(database).await?
        {
            return Err(stopped);
        }
        report.first_start = true;
        make(config, database, rng, now, given, report).await?;
    }
    keyfile::remove(&marker(config))?;
    Ok(())
}

pub(super) async fn has_issuer(database: &Database) -> Result<bool, StartError> {
    Ok(database.of(DEFAULT_ISSUER.into()).read().await?.issuer().await?.is_some())
}

/// Whether an empty database may stand beside the keys that there are.
///
/// # Errors
/// When there are some, and nobody said that this is a new database.
pub(super) fn judge_keys(config: &Config, accepted: Accepted) -> Result<(), StartError> {
    if accepted.new || keyfile::exists(&marker(config))? {
        return Ok(());
    }
    // Where a command gives the sealing key, a file of that name is nobody's.
    let sealing = config.sealing_commands.main.is_none().then(|| sealing::path(&config.keys_dir));
    for file in sealing.iter().chain([&config.admin_token_file]) {
        if keyfile::exists(file)? {
            let database = match &config.database {
                config::Database::Sqlite(path) => path.display().to_string(),
                config::Database::Postgres(_) => "the one that database_url names".to_owned(),
            };
            return Err(StartError::Configuration(format!(
                "database_url: there are keys already ({}), but the database ({database}) is empty. Is it the right one, and whole? \
                 A SQLite file copied without its -wal is not. For a new database with these keys: avouch serve --new",
                file.display()
            )));
        }
    }
    Ok(())
}

fn marker(config: &Config) -> PathBuf {
    config.keys_dir.join(MARKER)
}

async fn make(
    config: &Config,
    database: &Database,
    rng: &Rng,
    now: Timestamp,
    given: &mut Option<Given>,
    report: &mut StartReport,
) -> Result<(), StartError> {
    make_files(config, rng, report)?;
    // A command was run before anything was made, and is not run again.
    let given = match given {
        Some(given) => given,
        None => given.insert(sealing_source::needed(config).await?),
    };
    // A second process may have been quicker with the file; what stands there is the token.
    let token = keyfile::read_text(&config.admin_token_file)?;
    let row = IssuerRecord {
        id: DEFAULT_ISSUER.to_owned(),
        url: config.issuer.as_str().to_owned(),
        name: config.cimd.client_name.to_string(),
        colour: None,
        logo_hash: None,
        cimd: cimd_members(config).to_string(),
        admin_token_hash: token_hash(token.expose()),
        origin: Origin::Config,
        created_at: now,
        disabled_at: None,
    };
    let sealing = given.keys();
    let first = keyring::make(&sealing, DEFAULT_ISSUER, SigningAlg::Es256, rng).await?;
    let mut tx = database.of(DEFAULT_ISSUER.into()).begin().await?;
    if tx.create_issuer(&row).await? {
        tx.add_first_sealing_key(given.main.key.id(), now).await?;
        keyring::add_first(&mut tx, &sealing, DEFAULT_ISSUER, &first, (rng, &config.rotation, now)).await?;
        tx.commit().await?;
    } else {
        keyring::destroy(&sealing, DEFAULT_ISSUER, first.0.kid(), &first.1).await;
    }
    Ok(())
}

fn make_files(config: &Config, rng: &Rng, report: &mut StartReport) -> Result<(), KeyFileError> {
    let token = &config.admin_token_file;
    let sealing = config.sealing_commands.main.is_none().then(|| sealing::path(&config.keys_dir));
    let has_sealing = sealing.as_deref().map_or(Ok(true), keyfile::exists)?;
    let has_token = keyfile::exists(token)?;
    if has_token {
        keyfile::read_text(token)?;
    }
    // Where both are there, nothing is made: their folder may be one that is only read.
    if !has_token || !has_sealing {
        keyfile::make(&marker(config), MARKER_TEXT.as_bytes(), rng)?;
    }
    if let Some(sealing) = sealing
        && keyfile::make(&sealing, &rng.bytes::<32>(), rng)?
    {
        report.files.push((sealing, "the sealing key: keep a copy, without it the signing keys are lost"));
    }
    if keyfile::make(token, rng.token().as_bytes(), rng)? {
        report.files.push((token.clone(), "the admin token, bearer for /api/v1"));
    }
    Ok(())
}

/// The sealing keys for a database that knows its issuer.
pub(super) async fn judge_known(config: &Config, database: &Database, given: Given) -> Result<Sealing, StartError> {
    let store = database.of(DEFAULT_ISSUER.into());
    let Some(row) = store.read().await?.issuer().await? else {
        return Err(never_started());
    };
    if row.url != config.issuer.as_str() {
        return Err(StartError::Configuration(format!(
            "issuer: the database belongs to {}, not to {}. Everything ever signed names its issuer; use another database for another one",
            row.url, config.issuer
        )));
    }
    let sealing = sealing_source::judge(database, given).await?;
    // Keys that do not open stop the start rather than the first request.
    keyring::open(&sealing.keys(), DEFAULT_ISSUER, &store.read().await?.published_keys().await?)
        .map_err(|unopened| StartError::Keys(unopened.to_string()))?;
    Ok(sealing)
}

pub(super) fn never_started() -> StartError {
    StartError::Configuration(
        "database_url: this database is empty. Start `avouch serve` on it once, which makes the keys".into(),
    )
}

//! From a configuration to a running [`Host`]: database, keys, and what is declared.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tokio::sync::{Notify, watch};

use crate::cache::{Cache, Recent};
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::error::Error;
use crate::flow::keyfile::{self, KeyFileError};
use crate::flow::passwords::Hashing;
use crate::flow::{declare, issuers, keyring};
use crate::host::{DEFAULT_ISSUER, Host, Process, Revision};
use crate::jose::{JoseError, SealingKey};
use crate::net::{Net, NetError, Policy};
use crate::rng::Rng;
use crate::secret::token_hash;
use crate::store::{Database, IssuerRow, Store, StoreError};

/// How often the configuration is applied again after a deadlock.
const APPLY_TRIES: usize = 5;
/// Seconds a cached client may be used without looking again.
const CLIENTS_LIFETIME: i64 = 2;
/// Issuers kept in memory lie between this number and twice it; each takes a few kilobytes.
const ISSUERS_KEPT: usize = 1024;

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Something the operator has to set right.
    #[error("{0}")]
    Configuration(String),
    /// A key file.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// The keys in the database.
    #[error("the signing keys in the database cannot be used: {0}")]
    Keys(#[from] JoseError),
    /// Outbound settings.
    #[error("[network]: {0}")]
    Network(#[from] NetError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Applying what is declared.
    #[error(transparent)]
    Apply(#[from] Error),
}

impl StartError {
    /// Whether the configuration is to blame, rather than what it points to.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        matches!(self, Self::Configuration(_) | Self::KeyFile(_) | Self::Keys(_) | Self::Network(_))
    }
}

/// What the start made, for telling the operator.
#[derive(Debug, Default)]
pub struct StartReport {
    /// Files, with what they are.
    pub files: Vec<(PathBuf, &'static str)>,
    /// Whether the database was empty.
    pub first_start: bool,
    /// How many users are declared.
    pub users: usize,
    /// How many clients are declared.
    pub clients: usize,
}

/// Opens everything. On an empty database makes the sealing key, the admin token and the first signing key; on any other a missing or
/// unreadable sealing key stops the start, for a new one could open none of the old keys.
///
/// # Errors
/// [`StartError`].
pub async fn open(config: &Config, clock: Clock, rng: Rng) -> Result<(Host, StartReport), StartError> {
    check(config)?;
    let net = Net::new(Policy {
        allow_private_addresses: config.network.allow_private_addresses,
        allowed_networks: config.network.allowed_networks.clone(),
    })?;
    // A key file that is there and cannot be used stops the start before anything is made.
    let path = config.keys_dir.join("sealing.key");
    if keyfile::exists(&path)? {
        sealing_key(&path)?;
    }
    let database = open_database(&config.database).await?;
    let mut report = StartReport { users: config.users.len(), clients: config.clients.len(), ..StartReport::default() };
    let sealing = bootstrap(config, &path, &database, &rng, clock.now(), &mut report).await?;
    let host = Host::new(Process {
        root: config.issuer.clone(),
        revision: Revision::at(database.read().await?.issuer_revision().await?),
        database,
        net,
        clock,
        rng,
        sealing,
        trusted_proxies: config.trusted_proxies.clone(),
        outbox_signal: Notify::new(),
        hashing: Hashing::default(),
        passwords_ready: watch::Sender::new(false),
        issuers: Recent::new(ISSUERS_KEPT),
        clients: Cache::new(CLIENTS_LIFETIME),
    });
    describe(&host, config).await?;
    apply(&host, config).await?;
    if host.database.is_private() {
        let mut tx = host.database.begin().await?;
        tx.clear_leases().await?;
        tx.commit().await?;
    }
    Ok((host, report))
}

/// Judges what can be judged without touching anything.
///
/// # Errors
/// [`StartError`].
pub fn check(config: &Config) -> Result<(), StartError> {
    if !config.issuers.is_empty() {
        return Err(StartError::Configuration("[[issuers]]: further issuers are not supported yet".into()));
    }
    own_document(config).map(drop)
}

/// Brings the schema up to date.
///
/// # Errors
/// [`StartError`].
pub async fn migrate(config: &Config) -> Result<(), StartError> {
    open_database(&config.database).await?.close().await;
    Ok(())
}

fn own_document(config: &Config) -> Result<Value, StartError> {
    issuers::own_document(&config.issuer, &config.cimd.client_name, &cimd_members(config))
        .map_err(|e| StartError::Configuration(format!("[cimd]: the document about ourselves is not valid: {e}")))
}

/// What the default issuer's Client ID Metadata Document says beside what follows from its URL.
fn cimd_members(config: &Config) -> Value {
    let uris = [
        ("client_uri", &config.cimd.client_uri),
        ("logo_uri", &config.cimd.logo_uri),
        ("tos_uri", &config.cimd.tos_uri),
        ("policy_uri", &config.cimd.policy_uri),
    ];
    let given = uris.into_iter().filter_map(|(name, uri)| Some((name.to_owned(), json!(uri.as_ref()?))));
    Value::Object(given.collect())
}

async fn open_database(database: &config::Database) -> Result<Database, StartError> {
    match database {
        config::Database::Sqlite(file) => {
            if let Some(folder) = file.parent().filter(|f| !f.as_os_str().is_empty()) {
                // Sessions and hashes are nobody else's business.
                std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|e| {
                    StartError::Configuration(format!(
                        "database_url: the folder {} cannot be made: {e}",
                        folder.display()
                    ))
                })?;
            }
            Ok(Database::sqlite(file).await?)
        }
        config::Database::Postgres(url) => Ok(Database::postgres(url.expose()).await?),
    }
}

/// The default issuer and the sealing key: read, or made together on an empty database.
async fn bootstrap(
    config: &Config,
    path: &Path,
    database: &Database,
    rng: &Rng,
    now: i64,
    report: &mut StartReport,
) -> Result<SealingKey, StartError> {
    let store = database.of(DEFAULT_ISSUER.into());
    if store.read().await?.issuer().await?.is_none() {
        report.first_start = true;
        make_files(config, path, rng, report)?;
        // A second process may have been quicker with the file; what stands there is the token.
        let token = keyfile::read_text(&config.admin_token_file)?;
        let row = IssuerRow {
            id: DEFAULT_ISSUER.to_owned(),
            url: config.issuer.as_str().to_owned(),
            name: config.cimd.client_name.clone(),
            cimd: cimd_members(config).to_string(),
            admin_token_hash: token_hash(token.expose()),
            disabled_at: None,
        };
        create(&store, &row, &sealing_key(path)?, rng, now).await?;
    }
    let Some(row) = store.read().await?.issuer().await? else {
        return Err(StartError::Apply(Error::invariant("an issuer that was just written is there")));
    };
    if row.url != config.issuer.as_str() {
        return Err(StartError::Configuration(format!(
            "issuer: the database belongs to {}, not to {}. Everything ever signed names its issuer; use another database for another one",
            row.url, config.issuer
        )));
    }
    let sealing = sealing_key(path)?;
    // A key file that opens none of the keys stops the start rather than the first request.
    keyring::open(&sealing, DEFAULT_ISSUER, &store.read().await?.published_keys().await?)?;
    Ok(sealing)
}

fn make_files(config: &Config, path: &Path, rng: &Rng, report: &mut StartReport) -> Result<(), StartError> {
    if keyfile::exists(&config.admin_token_file)? {
        keyfile::read_text(&config.admin_token_file)?;
    }
    if keyfile::make(path, &rng.bytes::<32>(), rng)? {
        report.files.push((path.to_owned(), "the sealing key: keep a copy, without it the signing keys are lost"));
    }
    if keyfile::make(&config.admin_token_file, rng.token().as_bytes(), rng)? {
        report.files.push((config.admin_token_file.clone(), "the admin token, bearer for /api/v1"));
    }
    Ok(())
}

/// The issuer's row and its first key, which no one has seen a JWKS without: it may sign at once.
async fn create(store: &Store, row: &IssuerRow, sealing: &SealingKey, rng: &Rng, now: i64) -> Result<(), StartError> {
    let mut tx = store.begin().await?;
    if tx.create_issuer(row, now).await? {
        keyring::add_first(&mut tx, sealing, &row.id, rng, now).await?;
        tx.commit().await?;
    }
    Ok(())
}

/// Writes what the configuration says of the default issuer.
async fn describe(host: &Host, config: &Config) -> Result<(), StartError> {
    let mut tx = host.database.of(DEFAULT_ISSUER.into()).begin().await?;
    if tx.describe_issuer(&config.cimd.client_name, &cimd_members(config).to_string()).await? {
        tx.commit().await?;
    }
    Ok(())
}

async fn apply(host: &Host, config: &Config) -> Result<(), StartError> {
    let app = issuers::app(host, DEFAULT_ISSUER).await?.ok_or(Error::invariant("there is a default issuer"))?;
    let mut tries = 0;
    loop {
        // The configuration's order is not the order of locks that mints keep on a replica that runs, and PostgreSQL may end either.
        match declare::apply(&app, &config.declared_for(None)).await {
            Err(error) if error.is_deadlock() && tries < APPLY_TRIES => tries += 1,
            applied => return Ok(applied?),
        }
    }
}

fn sealing_key(path: &Path) -> Result<SealingKey, KeyFileError> {
    SealingKey::from_bytes(&keyfile::read(path)?).map_err(|e| KeyFileError::new(path, e.0))
}

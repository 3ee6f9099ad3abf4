//! From a configuration to a running [`Host`]: database, keys, and what is declared.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tokio::sync::{Notify, watch};

use crate::cache::{Cache, Recent};
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::domain::issuer::{IssuerId, IssuerRecord, Logo, Origin};
use crate::domain::time::{Seconds, Timestamp};
use crate::error::Error;
use crate::flow::issuers_admin::{self, Declared, Looks};
use crate::flow::keyfile::{self, KeyFileError};
use crate::flow::{declare, issuers, keyring, logo};
use crate::host::{DEFAULT_ISSUER, Host, Process, Revision};
use crate::jose::{JoseError, SealingKey};
use crate::net::{Net, NetError, Policy};
use crate::passwords::Hashing;
use crate::rng::Rng;
use crate::secret::token_hash;
use crate::store::{Database, FileLock, StoreError};

/// How often the configuration is applied again after the database has cut it off, as it does to break a deadlock.
const APPLY_TRIES: usize = 5;
/// Seconds a cached client may be used without looking again.
const CLIENTS_LIFETIME: Seconds = Seconds(2);
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
    let net = before_anything_is_made(config)?;
    let path = sealing_path(config);
    let database = open_database(&config.database).await?;
    let mut report = StartReport { users: config.users.len(), clients: config.clients.len(), ..StartReport::default() };
    bootstrap(config, &path, &database, &rng, clock.now(), &mut report).await?;
    let host = host(config, database, net, clock, rng).await?;
    declare_default(&host, config).await?;
    declare_issuers(&host, config, &mut report).await?;
    if host.database.is_private() {
        let mut tx = host.database.begin().await?;
        tx.clear_leases().await?;
        tx.commit().await?;
    }
    Ok((host, report))
}

/// Held by a server for as long as its process lives.
#[derive(Debug)]
pub struct Claim(#[expect(dead_code, reason = "it is held, not read")] Option<FileLock>);

/// The same for a process that serves. A database that is a file is one server's alone: a second one would take the first one's leases for
/// those of a dead process, and tell services twice.
///
/// # Errors
/// [`StartError`], among them [`StoreError::Taken`].
pub async fn open_alone(config: &Config, clock: Clock, rng: Rng) -> Result<(Host, StartReport, Claim), StartError> {
    before_anything_is_made(config)?;
    let lock = match &config.database {
        config::Database::Sqlite(file) => {
            make_folder(file)?;
            Some(FileLock::take(file)?)
        }
        config::Database::Postgres(_) => None,
    };
    let (host, report) = open(config, clock, rng).await?;
    Ok((host, report, Claim(lock)))
}

/// What is wrong and can be known without touching anything, a key file that is there and cannot be used included.
fn before_anything_is_made(config: &Config) -> Result<Net, StartError> {
    check(config)?;
    let net = net(config)?;
    let path = sealing_path(config);
    if keyfile::exists(&path)? {
        sealing_key(&path)?;
    }
    Ok(net)
}

/// Opens the database of a server, which may be running, for a command that works on it. Makes no database and no key, and applies
/// nothing of what is declared.
///
/// # Errors
/// [`StartError`], also when no server was ever started on it.
pub async fn connect(config: &Config, clock: Clock, rng: Rng) -> Result<Host, StartError> {
    check(config)?;
    // Opening it would make the file.
    if let config::Database::Sqlite(file) = &config.database
        && !file.exists()
    {
        return Err(never_started());
    }
    host(config, open_database(&config.database).await?, net(config)?, clock, rng).await
}

fn net(config: &Config) -> Result<Net, NetError> {
    Net::new(Policy {
        allow_private_addresses: config.network.allow_private_addresses,
        allowed_networks: config.network.allowed_networks.clone(),
    })
}

async fn host(config: &Config, database: Database, net: Net, clock: Clock, rng: Rng) -> Result<Host, StartError> {
    let sealing = known(config, &database).await?;
    Ok(Host::new(Process {
        root: config.issuer.clone(),
        revision: Revision::at(database.read().await?.issuer_revision().await?),
        database,
        net,
        clock,
        rng,
        sealing,
        trusted_proxies: config.trusted_proxies.clone(),
        refresh_retry: config.grants.refresh_retry,
        outbox_signal: Notify::new(),
        hashing: Hashing::default(),
        passwords_ready: watch::Sender::new(false),
        issuers: Recent::new(ISSUERS_KEPT),
        clients: Cache::new(CLIENTS_LIFETIME),
    }))
}

/// Judges what can be judged without touching anything.
///
/// # Errors
/// [`StartError`].
pub fn check(config: &Config) -> Result<(), StartError> {
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
    issuers::own_document(&config.issuer, config.cimd.client_name.as_str(), false, &cimd_members(config))
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
            make_folder(file)?;
            Ok(Database::sqlite(file).await?)
        }
        config::Database::Postgres(url) => Ok(Database::postgres(url.expose()).await?),
    }
}

fn make_folder(file: &Path) -> Result<(), StartError> {
    let Some(folder) = file.parent().filter(|f| !f.as_os_str().is_empty()) else { return Ok(()) };
    // Sessions and hashes are nobody else's business.
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|e| {
        StartError::Configuration(format!("database_url: the folder {} cannot be made: {e}", folder.display()))
    })
}

/// Makes the default issuer and the sealing key on an empty database.
async fn bootstrap(
    config: &Config,
    path: &Path,
    database: &Database,
    rng: &Rng,
    now: Timestamp,
    report: &mut StartReport,
) -> Result<(), StartError> {
    let store = database.of(DEFAULT_ISSUER.into());
    if store.read().await?.issuer().await?.is_some() {
        return Ok(());
    }
    report.first_start = true;
    make_files(config, path, rng, report)?;
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
    let mut tx = store.begin().await?;
    if tx.create_issuer(&row).await? {
        keyring::add_first(&mut tx, &sealing_key(path)?, DEFAULT_ISSUER, rng, now).await?;
        tx.commit().await?;
    }
    Ok(())
}

/// The sealing key of a database that knows its issuer.
async fn known(config: &Config, database: &Database) -> Result<SealingKey, StartError> {
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
    let sealing = sealing_key(&sealing_path(config))?;
    // A key file that opens none of the keys stops the start rather than the first request.
    keyring::open(&sealing, DEFAULT_ISSUER, &store.read().await?.published_keys().await?)?;
    Ok(sealing)
}

fn never_started() -> StartError {
    StartError::Configuration(
        "database_url: this database is empty. Start `avouch serve` on it once, which makes the keys".into(),
    )
}

fn sealing_path(config: &Config) -> PathBuf {
    config.keys_dir.join("sealing.key")
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

/// Writes what the configuration says of the default issuer, and what it declares for it.
async fn declare_default(host: &Host, config: &Config) -> Result<(), StartError> {
    let members = cimd_members(config).to_string();
    let mut tx = host.database.of(DEFAULT_ISSUER.into()).begin().await?;
    tx.describe_issuer(config.cimd.client_name.as_str(), None, &members, Origin::Config).await?;
    tx.commit().await?;
    apply(host, DEFAULT_ISSUER, &config.declared_for(None)).await
}

/// Writes what the configuration says of further issuers, and disables those that disappeared from it.
async fn declare_issuers(host: &Host, config: &Config, report: &mut StartReport) -> Result<(), StartError> {
    for declared in &config.issuers {
        let file = config.keys_dir.join(format!("admin-token-{}", declared.id));
        let logo = declared.logo_file.as_deref().map(|path| declared_logo(&declared.id, path)).transpose()?;
        let wanted = Looks { name: declared.name.clone(), colour: declared.colour.clone(), logo };
        let made = issuers_admin::declare::<StartError>(host, &declared.id, &wanted, || {
            let made = keyfile::make(&file, host.rng.token().as_bytes(), &host.rng)?;
            Ok((token_hash(keyfile::read_text(&file)?.expose()), made))
        });
        match made.await? {
            Declared::Created { made_file: true } => {
                report.files.push((file, "an issuer's admin token, bearer for its /api/v1"));
            }
            Declared::Created { .. } | Declared::Known => {}
            Declared::Disabled => {
                tracing::warn!(
                    issuer = declared.id.as_str(),
                    "is declared, but an administrator disabled it: enable it again to use it"
                );
                continue;
            }
        }
        apply(host, declared.id.as_str(), &config.declared_for(Some(&declared.id))).await?;
    }
    issuers_admin::disable_undeclared(host, &config.issuers.iter().map(|i| i.id.as_str()).collect::<Vec<_>>()).await?;
    Ok(())
}

fn declared_logo(id: &IssuerId, path: &Path) -> Result<Logo, StartError> {
    let wrong = |e: &dyn std::fmt::Display| {
        StartError::Configuration(format!("issuers: {id}: logo_file {}: {e}", path.display()))
    };
    logo::read(path).map_err(|e| wrong(&e)).and_then(|bytes| logo::redraw(&bytes).map_err(|e| wrong(&e)))
}

async fn apply(host: &Host, id: &str, declared: &config::Declared<'_>) -> Result<(), StartError> {
    let app = issuers::app(host, id).await?.ok_or(Error::invariant("a declared issuer is there"))?;
    let mut tries = 0;
    loop {
        // The configuration's order is not the order of locks that mints keep on a replica that runs, and PostgreSQL may end either.
        match declare::apply(&app, declared).await {
            Err(error) if error.is_cut_off() && tries < APPLY_TRIES => tries += 1,
            applied => return Ok(applied?),
        }
    }
}

fn sealing_key(path: &Path) -> Result<SealingKey, KeyFileError> {
    SealingKey::from_bytes(&keyfile::read(path)?).map_err(|e| KeyFileError::new(path, e.0))
}

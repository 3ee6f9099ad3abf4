//! From a configuration to a running [`App`]: database, keys, and what is declared.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::{Value, json};
use tokio::sync::{Notify, watch};

use crate::app::{App, Cache, Inner};
use crate::clock::Clock;
use crate::config::{Config, Database};
use crate::domain::cimd;
use crate::error::Error;
use crate::flow::declare;
use crate::flow::keyfile::{self, KeyFileError};
use crate::flow::passwords::Hashing;
use crate::jose::{JoseError, Keyring, SealingKey, SigningKey};
use crate::net::{Net, NetError, Policy};
use crate::rng::Rng;
use crate::secret::token_hash;
use crate::store::{KeyRow, Store, StoreError};

/// Our key of the one issuer there is until there are more.
const DEFAULT_ISSUER: &str = "default";

/// How often the configuration is applied again after a deadlock.
const APPLY_TRIES: usize = 5;
/// Seconds a cached client may be used without looking again.
const CLIENTS_LIFETIME: i64 = 2;

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
pub struct Made {
    /// Files, with what they are.
    pub files: Vec<(std::path::PathBuf, &'static str)>,
    /// Whether the database was empty.
    pub first_start: bool,
    /// How many users and clients there are.
    pub users: usize,
    /// How many users and clients there are.
    pub clients: usize,
}

/// Opens everything. On an empty database makes the sealing key, the admin token and the first signing key; on any other a missing or
/// unreadable sealing key stops the start, for a new one could open none of the old keys.
///
/// # Errors
/// [`StartError`].
pub async fn open(config: &Config, clock: Clock, rng: Rng) -> Result<(App, Made), StartError> {
    let document = own_document(config)?;
    let net = Net::new(Policy {
        allow_private_addresses: config.network.allow_private_addresses,
        allowed_networks: config.network.allowed_networks.clone(),
    })?;
    // A key file that is there and cannot be used stops the start before anything is made.
    let path = config.keys_dir.join("sealing.key");
    if keyfile::exists(&path)? {
        sealing_key(&path)?;
    }
    let store = open_store(&config.database).await?;
    let mut made = Made { users: config.users.len(), clients: config.clients.len(), ..Made::default() };
    let now = clock.now();
    let (sealing, admin_token_hash) = found(config, &path, &store, &rng, now, &mut made).await?;
    let ring = first_ring(&store, &sealing, &rng, now).await?;
    let app = App::new(Inner {
        issuer: config.issuer.clone(),
        issuer_id: DEFAULT_ISSUER.into(),
        product: config.cimd.client_name.clone(),
        cimd: document.to_string().into(),
        admin_token_hash,
        trusted_proxies: config.trusted_proxies.clone(),
        store,
        net,
        clock,
        rng,
        sealing,
        owed: Notify::new(),
        hashing: Hashing::default(),
        passwords_ready: watch::Sender::new(false),
        clients: Cache::new(CLIENTS_LIFETIME),
        ring: RwLock::new(Arc::new(ring)),
    });
    let mut tries = 0;
    loop {
        // The configuration's order is not the order of locks that mints keep on a replica that runs, and PostgreSQL may end either.
        match declare::apply(&app, &config.declared_for(None)).await {
            Err(error) if error.is_deadlock() && tries < APPLY_TRIES => tries += 1,
            applied => break applied?,
        }
    }
    if app.store.is_private() {
        let mut tx = app.store.begin().await?;
        tx.clear_leases().await?;
        tx.commit().await?;
    }
    Ok((app, made))
}

/// Judges what can be judged without touching anything.
///
/// # Errors
/// [`StartError`].
pub fn check(config: &Config) -> Result<(), StartError> {
    own_document(config)?;
    Ok(())
}

/// Brings the schema up to date.
///
/// # Errors
/// [`StartError`].
pub async fn migrate(config: &Config) -> Result<(), StartError> {
    open_store(&config.database).await?.close().await;
    Ok(())
}

/// Our own Client ID Metadata Document, put through the rules that judge everybody's.
fn own_document(config: &Config) -> Result<Value, StartError> {
    if !config.issuers.is_empty() {
        return Err(StartError::Configuration("[[issuers]]: further issuers are not supported yet".into()));
    }
    let issuer = config.issuer.as_str();
    let text = include_str!("../../cimd/agent-auth.json").replace("{{issuer}}", issuer);
    let broken = |e: &dyn std::fmt::Display| {
        StartError::Configuration(format!("[cimd]: the document about ourselves is not valid: {e}"))
    };
    let mut document: Value = serde_json::from_str(&text).map_err(|e| broken(&e))?;
    document["client_name"] = json!(config.cimd.client_name);
    let uris = [
        ("client_uri", &config.cimd.client_uri),
        ("logo_uri", &config.cimd.logo_uri),
        ("tos_uri", &config.cimd.tos_uri),
        ("policy_uri", &config.cimd.policy_uri),
    ];
    for (name, uri) in uris {
        if let Some(uri) = uri {
            document[name] = json!(uri);
        }
    }
    cimd::judge(&config.issuer.at("/agent-auth.json"), &document, config.issuer.is_loopback())
        .map_err(|e| broken(&e))?;
    Ok(document)
}

async fn open_store(database: &Database) -> Result<Store, StartError> {
    match database {
        Database::Sqlite(file) => {
            if let Some(folder) = file.parent().filter(|f| !f.as_os_str().is_empty()) {
                // Sessions and hashes are nobody else's business.
                std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|e| {
                    StartError::Configuration(format!(
                        "database_url: the folder {} cannot be made: {e}",
                        folder.display()
                    ))
                })?;
            }
            Ok(Store::sqlite(file, DEFAULT_ISSUER).await?)
        }
        Database::Postgres(url) => Ok(Store::postgres(url.expose(), DEFAULT_ISSUER).await?),
    }
}

/// The issuer's row and the sealing key: read, or made together on an empty database.
async fn found(
    config: &Config,
    path: &Path,
    store: &Store,
    rng: &Rng,
    now: i64,
    made: &mut Made,
) -> Result<(SealingKey, String), StartError> {
    let known = store.read().await?.issuer().await?;
    if known.is_none() {
        made.first_start = true;
        if keyfile::exists(&config.admin_token_file)? {
            keyfile::read_text(&config.admin_token_file)?;
        }
        if keyfile::make(path, &rng.bytes::<32>(), rng)? {
            made.files.push((path.to_owned(), "the sealing key: keep a copy, without it the signing keys are lost"));
        }
        let token = rng.token();
        if keyfile::make(&config.admin_token_file, token.as_bytes(), rng)? {
            made.files.push((config.admin_token_file.clone(), "the admin token, bearer for /api/v1"));
        }
        // A second process may have been quicker with the file; what stands there is the token.
        let token = keyfile::read_text(&config.admin_token_file)?;
        let mut tx = store.begin().await?;
        tx.found_issuer(config.issuer.as_str(), &token_hash(token.expose()), now).await?;
        tx.commit().await?;
    }
    let Some((url, admin_token_hash)) = store.read().await?.issuer().await? else {
        return Err(StartError::Apply(Error::invariant("an issuer that was just written is there")));
    };
    if url != config.issuer.as_str() {
        return Err(StartError::Configuration(format!(
            "issuer: the database belongs to {url}, not to {}. Everything ever signed names its issuer; use another database for another one",
            config.issuer
        )));
    }
    Ok((sealing_key(path)?, admin_token_hash))
}

fn sealing_key(path: &Path) -> Result<SealingKey, KeyFileError> {
    SealingKey::from_bytes(&keyfile::read(path)?).map_err(|e| KeyFileError::new(path, e.0))
}

async fn first_ring(store: &Store, sealing: &SealingKey, rng: &Rng, now: i64) -> Result<Keyring, StartError> {
    let mut rows = store.read().await?.published_keys().await?;
    if !rows.iter().any(|row| row.state == "active") {
        // Nobody has seen our JWKS yet, so the first key may sign at once.
        let (key, sealed) = SigningKey::generate(sealing, DEFAULT_ISSUER, rng)?;
        let mut tx = store.begin().await?;
        tx.add_active_key(key.kid(), &key.public_jwk().to_string(), &sealed, now).await?;
        tx.commit().await?;
        rows = store.read().await?.published_keys().await?;
    }
    Ok(ring(sealing, &rows)?)
}

fn ring(sealing: &SealingKey, rows: &[KeyRow]) -> Result<Keyring, JoseError> {
    let active = rows.iter().find(|row| row.state == "active").ok_or(JoseError("there is no active key"))?;
    let active = SigningKey::open(sealing, DEFAULT_ISSUER, &active.kid, &active.sealed)?;
    let jwks: Result<Vec<Value>, _> = rows.iter().map(|row| serde_json::from_str(&row.public_jwk)).collect();
    Keyring::new(active, &jwks.map_err(|_| JoseError("a published key is not JSON"))?)
}

/// Loads the key ring again if its rows have changed.
///
/// # Errors
/// Faults; the ring then stays what it was.
pub async fn reload_keys(app: &App) -> Result<(), Error> {
    let rows = app.store.read().await?.published_keys().await?;
    let current = app.keyring();
    let same_published = rows.iter().map(|r| &r.kid).eq(current.published.iter().map(|(kid, _)| kid));
    let same_active = rows.iter().any(|r| r.state == "active" && r.kid == current.active.kid());
    if !same_published || !same_active {
        let ring = ring(&app.sealing, &rows)?;
        *app.ring.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(ring);
    }
    Ok(())
}

/// Deletes rows that can no longer matter.
///
/// # Errors
/// Faults.
pub async fn sweep(app: &App) -> Result<(), Error> {
    let mut tx = app.store.begin().await?;
    let swept = tx.sweep(app.now()).await?;
    tx.commit().await?;
    tracing::debug!(swept, "swept expired rows");
    Ok(())
}

//! From a configuration to a running [`Host`]: database, keys, and what is declared.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Once;

use tokio::sync::{Notify, watch};

use crate::cache::{Cache, Recent};
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::domain::time::Seconds;
use crate::fetches::Fetches;
use crate::flow::first_start::{self, judge_known, never_started};
use crate::flow::plan::Plan;
use crate::flow::starting::own_document;
pub use crate::flow::starting::{Accepted, StartError, StartReport};
use crate::flow::{admin_token, keyfile, sealing, sealing_source};
use crate::host::{DEFAULT_ISSUER, Given, Host, Process, Revision};
use crate::net::{Documents, Net, NetError, Policy, Turns};
use crate::passwords::Hashing;
use crate::rng::Rng;
use crate::store::{Database, FileLock};

/// Seconds a cached client may be used without looking again.
const CLIENTS_LIFETIME: Seconds = Seconds(2);
/// Issuers kept in memory lie between this number and twice it; each takes a few kilobytes.
const ISSUERS_KEPT: usize = 1024;
/// Services that are looked at together: altogether, and by one client. Each takes a few connections, for ten seconds at most.
const LOOKS: (usize, usize) = (64, 4);

/// Opens everything. On an empty database makes the sealing key, the admin token and the first signing key; on any other a missing or
/// unreadable sealing key stops the start, for a new one could open none of the old keys.
///
/// # Errors
/// [`StartError`]; what is declared is then not applied.
pub async fn open(
    config: &Config,
    accepted: Accepted,
    clock: Clock,
    rng: Rng,
) -> Result<(Host, StartReport), StartError> {
    let found = before_anything_is_made(config).await?;
    open_found(config, accepted, found, clock, rng).await
}

async fn open_found(
    config: &Config,
    accepted: Accepted,
    found: Found,
    clock: Clock,
    rng: Rng,
) -> Result<(Host, StartReport), StartError> {
    if !database_is_there(config) {
        // Not even made: the right file may be about to be put there.
        first_start::judge_keys(config, accepted)?;
    }
    let database = open_database(&config.database).await?;
    let opened = open_on(config, accepted, database.clone(), found, clock, rng).await;
    if opened.is_err() {
        // A log left beside an empty file would spoil the file that is put in its place.
        database.close().await;
    }
    opened
}

async fn open_on(
    config: &Config,
    accepted: Accepted,
    database: Database,
    mut found: Found,
    clock: Clock,
    rng: Rng,
) -> Result<(Host, StartReport), StartError> {
    let mut report = StartReport { users: config.users.len(), clients: config.clients.len(), ..StartReport::default() };
    first_start::run(config, accepted, &database, &rng, clock.now(), &mut found.sealing, &mut report).await?;
    let plan = Plan::read(config)?;
    let host = host(config, database, found, clock, rng).await?;
    plan.judge(&host.database, accepted.removals).await?;
    plan.apply(&host, &mut report).await?;
    sweep_key_files(config);
    if host.database.is_private() {
        let mut tx = host.database.begin().await?;
        tx.clear_leases().await?;
        tx.no_server_runs().await?;
        tx.commit().await?;
    }
    Ok((host, report))
}

/// Removes what starts that were killed have left beside the key files.
fn sweep_key_files(config: &Config) {
    keyfile::sweep(&sealing::path(&config.keys_dir));
    keyfile::sweep(&sealing::next_path(&config.keys_dir));
    for id in std::iter::once(DEFAULT_ISSUER).chain(config.issuers.iter().map(|issuer| issuer.id.as_str())) {
        keyfile::sweep(&admin_token::file(config, id));
    }
}

/// Whether there is something to open; a PostgreSQL that is not there is an error of its own.
fn database_is_there(config: &Config) -> bool {
    match &config.database {
        config::Database::Sqlite(file) => file.exists(),
        config::Database::Postgres(_) => true,
    }
}

/// Held by a server for as long as its process lives.
#[derive(Debug)]
pub struct Claim(#[expect(dead_code, reason = "it is held, not read")] Option<FileLock>);

/// The same for a process that serves. A database that is a file is one server's alone: a second one would take the first one's leases for
/// those of a dead process, and tell services twice.
///
/// # Errors
/// [`StartError`], among them [`StoreError::Taken`](crate::store::StoreError::Taken).
pub async fn open_alone(
    config: &Config,
    accepted: Accepted,
    clock: Clock,
    rng: Rng,
) -> Result<(Host, StartReport, Claim), StartError> {
    let found = before_anything_is_made(config).await?;
    let lock = match &config.database {
        config::Database::Sqlite(file) => {
            make_folder(file)?;
            Some(FileLock::take(file)?)
        }
        config::Database::Postgres(_) => None,
    };
    let (host, report) = open_found(config, accepted, found, clock, rng).await?;
    Ok((host, report, Claim(lock)))
}

/// What is there before anything is made.
struct Found {
    net: Net,
    /// None: it is to be made, if this is the first start.
    sealing: Option<Given>,
}

/// What is wrong and can be known without touching anything, a sealing key that is given and cannot be used included.
async fn before_anything_is_made(config: &Config) -> Result<Found, StartError> {
    check(config)?;
    Ok(Found { net: net(config)?, sealing: sealing_source::given(config).await? })
}

/// Whether a server was ever started on the configured database. Makes none.
///
/// # Errors
/// [`StartError`].
pub async fn was_started(config: &Config) -> Result<bool, StartError> {
    if !database_is_there(config) {
        return Ok(false);
    }
    let database = open_database(&config.database).await?;
    let started = first_start::has_issuer(&database).await;
    database.close().await;
    started
}

/// Opens the database of a server, which may be running, for a command that works on it. Makes no database and no key, and applies
/// nothing of what is declared.
///
/// # Errors
/// [`StartError`], also when no server was ever started on it.
pub async fn connect(config: &Config, clock: Clock, rng: Rng) -> Result<Host, StartError> {
    // Opening it would make the file.
    if !database_is_there(config) {
        return Err(never_started());
    }
    let found = before_anything_is_made(config).await?;
    host(config, open_database(&config.database).await?, found, clock, rng).await
}

/// The way out that the configuration opens.
///
/// # Errors
/// [`NetError`]
pub fn net(config: &Config) -> Result<Net, NetError> {
    Net::new(Policy {
        allow_private_addresses: config.network.allow_private_addresses,
        allowed_networks: config.network.allowed_networks.clone(),
    })
}

async fn host(config: &Config, database: Database, found: Found, clock: Clock, rng: Rng) -> Result<Host, StartError> {
    let given = match found.sealing {
        Some(given) => given,
        None => sealing_source::needed(config).await?,
    };
    let sealing = judge_known(config, &database, given).await?;
    Ok(Host::new(Process {
        root: config.issuer.clone(),
        revision: Revision::at(database.read().await?.issuer_revision().await?),
        database,
        // A way out of its own: names that nobody answers for shall not take the threads that notices look up names by.
        documents: Documents::new(net(config)?),
        looks: Turns::new(LOOKS.0, LOOKS.1),
        net: found.net,
        clock,
        rng,
        sealing,
        rotation: config.rotation,
        trusted_proxies: config.trusted_proxies.clone(),
        proxy_missed: Once::new(),
        refresh_retry: config.grants.refresh_retry,
        give_up_after: config.notices.give_up_after,
        outbox_signal: Notify::new(),
        hashing: Hashing::default(),
        passwords_ready: watch::Sender::new(false),
        issuers: Recent::new(ISSUERS_KEPT),
        fetches: Fetches::default(),
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

//! The only place with SQL: one text for SQLite and PostgreSQL, its body type-checked against each driver.
//!
//! A [`Tx`] *is* the transaction: every read and write goes through one, and every one belongs to an issuer, which each statement
//! names, so that no row of another issuer can be reached by accident. Portable rules: `migrations/README.md`.

mod accounts;
mod bind;
mod clients;
mod columns;
mod commit;
mod consents;
mod delegations;
mod deliveries;
mod disabled;
mod discovery;
mod error;
mod fetches;
mod given;
mod grants;
mod issuers;
mod journal;
mod json_row;
mod keys;
mod logouts;
mod looks;
mod mint;
mod outbox;
mod pools;
mod postgres;
mod record;
mod removed;
mod schema;
mod sealing;
mod services;
mod sessions;
mod settlements;
mod sign_ins;
mod sqlite;
mod standing;
mod sweep;
#[cfg(test)]
mod tests;
mod throttle;
mod tickets;
mod tokens;
mod withdrawals;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use columns::{Columns, json, word};
use looks::{Looks, Policies, SigningKeys};
use pools::Pools;
use schema::migrator;
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Postgres, Sqlite, Transaction};
use tokio::sync::Mutex;

pub use accounts::{NewAccount, StoredAccount};
pub use discovery::{Discovery, DueLook};
pub use error::{Cause, Outage, StoreError};
pub use given::Ended;
pub use grants::{Family, NewFamily, TokenSubject};
pub use journal::Entry;
pub use keys::{KeyRow, NewKey};
pub use logouts::Logout;
pub use mint::{Mint, Outcome, SubjectToken, Unanswered, UnspentJti};
pub use outbox::{Hosts, NewDelivery};
pub use schema::Schema;
pub use sessions::NewSession;
pub use settlements::Settlement;
pub use sign_ins::SignIn;
pub use sqlite::FileLock;
pub use sweep::{SWEPT, Swept};
pub use withdrawals::LockedDelegation;

use crate::domain::consent::Consent;
use crate::domain::ids::Kid;
use crate::domain::service_policy::ServicePolicy;

type Result<T> = std::result::Result<T, StoreError>;

/// How long it may take to find out whether a database is ready.
const PING: Duration = Duration::from_secs(1);
/// One look is enough for all who ask within this time: anybody may.
const PING_FRESH: Duration = Duration::from_millis(100);

/// The rows of all issuers: the pools, and the one committer. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    pools: Pools,
    committer: commit::Committer,
    keys: Looks<SigningKeys>,
    policies: Looks<Policies>,
    client_changes: Arc<AtomicU64>,
    last_ping: Arc<Mutex<Option<Ping>>>,
}

/// When somebody looked, and what was the matter.
type Ping = (Instant, Option<Outage>);

/// The rows of one issuer. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    database: Database,
    issuer: Arc<str>,
}

/// What is heard of changes to issuers.
pub struct Changes(Option<sqlx::postgres::PgListener>);

impl Changes {
    /// Waits for the next one, or until one may have been missed.
    ///
    /// # Errors
    /// What the database says.
    pub async fn next(&mut self) -> Result<()> {
        match &mut self.0 {
            // Nothing comes where the connection was lost, and what was said meanwhile is not said again.
            Some(listener) => listener.try_recv().await.map(drop).map_err(StoreError::from),
            None => std::future::pending().await,
        }
    }
}

impl Database {
    /// Opens a SQLite file, creating it if need be, and brings its schema up to date.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`], [`StoreError::Schema`].
    pub async fn sqlite(file: &std::path::Path) -> Result<Self> {
        Ok(Self::over(Pools::Sqlite(sqlite::File::open(file).await?)))
    }

    /// Opens a PostgreSQL database and brings its schema up to date.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`], [`StoreError::Schema`], [`StoreError::Pooler`].
    pub async fn postgres(url: &str) -> Result<Self> {
        Ok(Self::over(Pools::Postgres(postgres::Server::open(url).await?)))
    }

    /// Opens a SQLite file for reading, without bringing anything up to date. `None` when there is no such file, which is not made.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`].
    pub async fn look_at_sqlite(file: &std::path::Path) -> Result<Option<Self>> {
        Ok(sqlite::File::look(file).await?.map(|file| Self::over(Pools::Sqlite(file))))
    }

    /// Opens a PostgreSQL database for reading, without bringing anything up to date.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`].
    pub async fn look_at_postgres(url: &str) -> Result<Self> {
        Ok(Self::over(Pools::Postgres(postgres::Server::look(url).await?)))
    }

    /// Writes a consistent copy of a SQLite file into a new one of mode 0600, whoever works on it meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`], [`StoreError::Backup`]: nothing is left of the copy then, and nothing was overwritten.
    pub async fn backup_sqlite(file: &std::path::Path, copy: &std::path::Path) -> Result<()> {
        sqlite::File::backup(file, copy).await
    }

    fn over(pools: Pools) -> Self {
        let committer = commit::Committer::start(pools.clone());
        let (keys, policies) = (Looks::start(pools.clone()), Looks::start(pools.clone()));
        Self { pools, committer, keys, policies, client_changes: Arc::default(), last_ping: Arc::default() }
    }

    /// The rows of one issuer, by our key of it.
    pub fn of(&self, issuer: Arc<str>) -> Store {
        Store { database: self.clone(), issuer }
    }

    /// A transaction across issuers that may write. On SQLite it takes the one writer at once: a read that later writes would fail
    /// instead of waiting.
    ///
    /// # Errors
    /// That it is busy ([`Busy`](crate::domain::refusal::Refusal::Busy) to whoever asked), and what the database says.
    pub async fn begin(&self) -> Result<HostTx> {
        Ok(HostTx(self.of("".into()).begin().await?))
    }

    /// A handle across issuers that only reads, each statement for itself.
    ///
    /// # Errors
    /// That it is busy ([`Busy`](crate::domain::refusal::Refusal::Busy) to whoever asked), and what the database says.
    pub async fn read(&self) -> Result<HostTx> {
        Ok(HostTx(self.of("".into()).read().await?))
    }

    /// Whether the database would take a write now, within a second. Who asks again at once is told the same.
    ///
    /// # Errors
    /// Why not.
    pub async fn ping(&self) -> std::result::Result<(), Outage> {
        let mut last = self.last_ping.lock().await;
        let fresh = last.filter(|(at, _)| at.elapsed() < PING_FRESH);
        let found = if let Some((_, found)) = fresh { found } else { self.look().await };
        *last = fresh.or_else(|| Some((Instant::now(), found)));
        found.map_or(Ok(()), Err)
    }

    async fn look(&self) -> Option<Outage> {
        let looked = match &self.pools {
            Pools::Sqlite(file) => tokio::time::timeout(PING, file.ping()).await,
            Pools::Postgres(server) => Ok(server.ping()),
        };
        let error = match looked {
            Ok(Ok(())) => return None,
            // Whoever has the writer for as long is another process, or waits for one.
            Err(_) => StoreError::unavailable(Outage::Locked, "no transaction could begin in time"),
            Ok(Err(error)) => error,
        };
        tracing::warn!(error = &error as &dyn std::error::Error, "not ready");
        Some(if let StoreError::Unavailable { outage, .. } = error { outage } else { Outage::Unusable })
    }

    /// Does work that waits for the database, as long as that answers: a server that is frozen would keep it for ever.
    ///
    /// # Errors
    /// Why it does not answer; what of the work has happened is unknown then.
    pub async fn while_it_answers<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        self.pools.while_it_answers(work).await
    }

    /// Grows with every transaction committed here that wrote a client: what was read of clients at another number may be stale.
    pub fn client_changes(&self) -> u64 {
        self.client_changes.load(Ordering::Acquire)
    }

    /// Whether only this process writes to the database: then a lease found at start is a dead process's.
    pub fn is_private(&self) -> bool {
        matches!(self.pools, Pools::Sqlite(_))
    }

    /// Hears from now on when any server of this database changes an issuer. On SQLite nothing is ever heard: only a command beside the one
    /// server changes anything, which looks each second.
    ///
    /// # Errors
    /// What the database says.
    pub async fn changes(&self) -> Result<Changes> {
        Ok(match &self.pools {
            Pools::Sqlite(_) => Changes(None),
            Pools::Postgres(server) => Changes(Some(server.listen().await?)),
        })
    }

    /// Writes down attempts at notices and settles these, in a transaction shared with those that wait at the same time. Where the lease had run
    /// out under which one was made, its outcome does not count.
    ///
    /// # Errors
    /// What the database says; nothing was written then, unless it was cut off at its end.
    pub async fn settle(&self, settlements: Vec<Settlement>) -> Result<()> {
        self.committer.settle(settlements).await
    }

    /// How many transactions the committer has run.
    pub fn batches(&self) -> u64 {
        self.committer.batches()
    }

    /// Closes the connections.
    pub async fn close(&self) {
        match &self.pools {
            Pools::Sqlite(file) => file.close().await,
            Pools::Postgres(server) => server.close().await,
        }
    }
}

impl Store {
    /// A transaction that may write. On SQLite it takes the one writer at once.
    ///
    /// # Errors
    /// That it is busy ([`Busy`](crate::domain::refusal::Refusal::Busy) to whoever asked), and what the database says.
    pub async fn begin(&self) -> Result<Tx> {
        Ok(self.tx(self.database.pools.begin().await?))
    }

    /// A handle that only reads, each statement for itself.
    ///
    /// # Errors
    /// That it is busy ([`Busy`](crate::domain::refusal::Refusal::Busy) to whoever asked), and what the database says.
    pub async fn read(&self) -> Result<Tx> {
        Ok(self.tx(self.database.pools.read().await?))
    }

    fn tx(&self, handle: Handle) -> Tx {
        let client_changes = self.database.client_changes.clone();
        Tx { handle, issuer: self.issuer.clone(), client_changes, wrote_client: false, lines: Vec::new() }
    }

    /// Decides on a mint and writes down what comes of it, in a transaction shared with those that wait at the same time. The `jti` of its
    /// client's assertion is spent there first, whatever else is wrong.
    ///
    /// # Errors
    /// What the database says; nothing was written then, and the `jti` is not spent.
    pub async fn mint(&self, mint: Mint, unspent: Option<UnspentJti>) -> Result<Outcome> {
        self.database.committer.mint(self.issuer.clone(), mint, unspent).await
    }

    /// Whether a key signs, by a look that is shared with those who ask at the same time.
    ///
    /// # Errors
    /// What the database says.
    pub async fn key_signs(&self, kid: &Kid) -> Result<bool> {
        Ok(self.database.keys.find((self.issuer.clone(), kid.clone())).await?.is_some())
    }

    /// What is known of a service, also of one that is disabled, by a look that is shared with those who ask at the same time. `None` where
    /// nothing is.
    ///
    /// # Errors
    /// What the database says; [`StoreError::Broken`].
    pub async fn service_policy(&self, audience: &str) -> Result<Option<Arc<ServicePolicy>>> {
        let found = self.database.policies.find((self.issuer.clone(), audience.to_owned())).await?;
        found.map(|policy| policy.ok_or(StoreError::Broken("service"))).transpose()
    }

    /// Spends the `jti` of a client's assertion. `false` when it was spent before.
    ///
    /// # Errors
    /// What the database says.
    pub async fn spend(&self, unspent: UnspentJti) -> Result<bool> {
        self.database.committer.spend(self.issuer.clone(), unspent).await
    }
}

/// A transaction across issuers, for what a process does for all of them: the statements on it name no issuer.
pub struct HostTx(Tx);

impl HostTx {
    /// Makes it durable.
    ///
    /// # Errors
    /// What the database says; whether it happened is then unknown.
    pub async fn commit(self) -> Result<()> {
        self.0.commit().await
    }
}

/// A transaction on the rows of one issuer. Dropped without [`Tx::commit`], nothing of it happened.
pub struct Tx {
    handle: Handle,
    issuer: Arc<str>,
    client_changes: Arc<AtomicU64>,
    wrote_client: bool,
    /// Of what was recorded, for the log.
    lines: Vec<journal::Line>,
}

enum Handle {
    Sqlite(Transaction<'static, Sqlite>),
    SqliteRead(PoolConnection<Sqlite>),
    Postgres(Transaction<'static, Postgres>),
    PostgresRead(PoolConnection<Postgres>),
}

enum Connection<'a> {
    Sqlite(&'a mut SqliteConnection),
    Postgres(&'a mut PgConnection),
}

impl Tx {
    /// On the rows of all issuers: for what is done for many at once, where each statement names theirs.
    fn over(handle: Handle) -> Self {
        Self { handle, issuer: "".into(), client_changes: Arc::default(), wrote_client: false, lines: Vec::new() }
    }

    fn connection(&mut self) -> Connection<'_> {
        match &mut self.handle {
            Handle::Sqlite(tx) => Connection::Sqlite(&mut *tx),
            Handle::SqliteRead(c) => Connection::Sqlite(&mut *c),
            Handle::Postgres(tx) => Connection::Postgres(&mut *tx),
            Handle::PostgresRead(c) => Connection::Postgres(&mut *c),
        }
    }

    /// Makes it durable.
    ///
    /// # Errors
    /// What the database says; whether it happened is then unknown.
    pub async fn commit(mut self) -> Result<()> {
        if self.wrote_client {
            // What an issuer says of itself depends on its clients.
            self.touch_issuer().await?;
        }
        match self.handle {
            Handle::Sqlite(tx) => tx.commit().await.map_err(StoreError::of_commit)?,
            Handle::Postgres(tx) => tx.commit().await.map_err(StoreError::of_commit)?,
            Handle::SqliteRead(_) | Handle::PostgresRead(_) => {}
        }
        if self.wrote_client {
            self.client_changes.fetch_add(1, Ordering::AcqRel);
        }
        self.lines.into_iter().map(journal::Line::durable).for_each(drop);
        Ok(())
    }
}

/// Writes the body once and type-checks it against each driver.
macro_rules! on {
    ($tx:expr, |$c:ident| $body:expr) => {
        match $tx.connection() {
            $crate::store::Connection::Sqlite($c) => $body,
            $crate::store::Connection::Postgres($c) => $body,
        }
    };
}
use on;

/// One text for each engine, where they need two.
macro_rules! per_engine {
    ($tx:expr, $sqlite:expr, $postgres:expr) => {
        if $tx.is_postgres() { $postgres } else { $sqlite }
    };
}
use per_engine;

impl Tx {
    fn is_postgres(&self) -> bool {
        matches!(self.handle, Handle::Postgres(_) | Handle::PostgresRead(_))
    }
}

//! The only place with SQL: one text for SQLite and PostgreSQL, its body type-checked against each driver.
//!
//! A [`Tx`] *is* the transaction: every read and write goes through one, and every one belongs to an issuer, which each statement
//! names, so that no row of another issuer can be reached by accident. Portable rules: `migrations/README.md`.

mod accounts;
mod bind;
mod clients;
mod commit;
mod consents;
mod delegations;
mod grants;
mod issuers;
mod journal;
mod json_row;
mod keys;
mod mint;
mod outbox;
mod record;
mod services;
mod sessions;
mod sweep;
mod throttle;
mod tickets;

use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions, PgRow};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{Connection as _, Postgres, Row as _, SqlSafeStr as _, Sqlite, Transaction};

pub use accounts::{NewAccount, StoredAccount};
pub use grants::{Family, NewFamily, TokenSubject};
pub use journal::Entry;
pub use keys::KeyRow;
pub use mint::{Mint, Outcome, SubjectToken, Unanswered, UnspentJti};
pub use outbox::{NewDelivery, Settled};
pub use sessions::NewSession;
pub use sweep::{SWEPT, Swept};

use crate::domain::consent::Consent;
use crate::domain::time::Timestamp;

/// What went wrong below. The text never leaves the process.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached or opened.
    #[error("the database cannot be opened: {0}")]
    Unreachable(#[source] sqlx::Error),
    /// Its schema is not ours.
    #[error("the database's schema cannot be brought up to date: {0}")]
    Schema(#[from] sqlx::migrate::MigrateError),
    /// No connection was free in time: a moment later it may work.
    #[error("the database is busy")]
    Busy,
    /// A statement failed.
    #[error("a statement failed: {0}")]
    Statement(#[source] sqlx::Error),
    /// A text with U+0000, which PostgreSQL cannot hold: no row is named by it.
    #[error("a text contains U+0000")]
    Unstorable,
    /// A row does not say what every row of its table must.
    #[error("a row is broken: {0}")]
    Broken(&'static str),
    /// The committer is gone: the process is ending.
    #[error("the store is closing")]
    Closing,
}

impl StoreError {
    /// Whether PostgreSQL broke a deadlock by ending this transaction: nothing of it happened, and it may be run again.
    #[must_use]
    pub fn is_deadlock(&self) -> bool {
        let Self::Statement(error) = self else { return false };
        error.as_database_error().and_then(sqlx::error::DatabaseError::code).is_some_and(|code| code == "40P01")
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::PoolTimedOut => Self::Busy,
            // `character_not_in_repertoire`; our texts are UTF-8, so it is that one character.
            sqlx::Error::Database(error) if error.code().is_some_and(|code| code == "22021") => Self::Unstorable,
            other => Self::Statement(other),
        }
    }
}

type Result<T> = std::result::Result<T, StoreError>;

/// Where the rows live.
#[derive(Clone)]
enum Pools {
    /// One connection writes, some read: WAL lets them.
    Sqlite {
        write: SqlitePool,
        read: SqlitePool,
    },
    Postgres(PgPool),
}

/// The rows of all issuers: the pools, and the one committer. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    pools: Pools,
    committer: commit::Committer,
    client_changes: Arc<AtomicU64>,
}

/// The rows of one issuer. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    database: Database,
    issuer: Arc<str>,
}

impl Database {
    /// Opens a SQLite file, creating it and its folder's file if need be.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`], [`StoreError::Schema`].
    pub async fn sqlite(file: &std::path::Path) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // A row must be durable before its caller hears of it: NORMAL would lose commits with the power.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(10))
            // A batch needs somewhere to undo a statement: not a file, each time.
            .pragma("temp_store", "MEMORY")
            .foreign_keys(true);
        let write = SqlitePoolOptions::new().max_connections(1).acquire_timeout(Duration::from_secs(10));
        let write = write.connect_with(options.clone()).await.map_err(StoreError::Unreachable)?;
        migrator().run(&write).await?;
        let read = SqlitePoolOptions::new().max_connections(4).acquire_timeout(Duration::from_secs(10));
        let read = read.connect_lazy_with(options.read_only(true));
        Ok(Self::over(Pools::Sqlite { write, read }))
    }

    /// Opens a PostgreSQL database.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`], [`StoreError::Schema`].
    pub async fn postgres(url: &str) -> Result<Self> {
        let options = PgConnectOptions::from_str(url).map_err(StoreError::Unreachable)?;
        // The pool tries a refused connection again until its time is up and then says no more than that; one on its own says why.
        PgConnection::connect_with(&options).await.map_err(StoreError::Unreachable)?.close().await?;
        let pool = PgPoolOptions::new().max_connections(16).acquire_timeout(Duration::from_secs(10));
        let pool = pool.connect_with(options).await.map_err(StoreError::Unreachable)?;
        migrator().run(&pool).await?;
        Ok(Self::over(Pools::Postgres(pool)))
    }

    fn over(pools: Pools) -> Self {
        let committer = commit::Committer::start(pools.clone());
        Self { pools, committer, client_changes: Arc::default() }
    }

    /// The rows of one issuer, by our key of it.
    pub fn of(&self, issuer: Arc<str>) -> Store {
        Store { database: self.clone(), issuer }
    }

    /// A transaction across issuers that may write. On SQLite it takes the one writer at once: a read that later writes would fail
    /// instead of waiting.
    ///
    /// # Errors
    /// [`StoreError::Busy`] and what the database says.
    pub async fn begin(&self) -> Result<HostTx> {
        Ok(HostTx(self.of("".into()).begin().await?))
    }

    /// A handle across issuers that only reads, each statement for itself.
    ///
    /// # Errors
    /// [`StoreError::Busy`] and what the database says.
    pub async fn read(&self) -> Result<HostTx> {
        Ok(HostTx(self.of("".into()).read().await?))
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// Why it does not.
    pub async fn ping(&self) -> Result<()> {
        self.read().await?.issuer_revision().await.map(drop)
    }

    /// Grows with every transaction committed here that wrote a client: what was read of clients at another number may be stale.
    pub fn client_changes(&self) -> u64 {
        self.client_changes.load(Ordering::Acquire)
    }

    /// Whether only this process writes to the database: then a lease found at start is a dead process's.
    pub fn is_private(&self) -> bool {
        matches!(self.pools, Pools::Sqlite { .. })
    }

    /// How many transactions the committer has run.
    pub fn batches(&self) -> u64 {
        self.committer.batches()
    }

    /// Closes the connections.
    pub async fn close(&self) {
        match &self.pools {
            Pools::Sqlite { write, read } => {
                read.close().await;
                write.close().await;
            }
            Pools::Postgres(pool) => pool.close().await,
        }
    }
}

impl Store {
    /// A transaction that may write. On SQLite it takes the one writer at once.
    ///
    /// # Errors
    /// [`StoreError::Busy`] and what the database says.
    pub async fn begin(&self) -> Result<Tx> {
        Ok(self.tx(self.database.pools.begin().await?))
    }

    /// A handle that only reads, each statement for itself.
    ///
    /// # Errors
    /// [`StoreError::Busy`] and what the database says.
    pub async fn read(&self) -> Result<Tx> {
        let handle = match &self.database.pools {
            Pools::Sqlite { read, .. } => Handle::SqliteRead(read.acquire().await?),
            Pools::Postgres(pool) => Handle::PostgresRead(pool.acquire().await?),
        };
        Ok(self.tx(handle))
    }

    fn tx(&self, handle: Handle) -> Tx {
        let client_changes = self.database.client_changes.clone();
        Tx { handle, issuer: self.issuer.clone(), client_changes, wrote_client: false }
    }

    /// Decides on a mint and writes down what comes of it, in a transaction shared with those that wait at the same time. The `jti` of its
    /// client's assertion is spent there first, whatever else is wrong.
    ///
    /// # Errors
    /// What the database says; nothing was written then, and the `jti` is not spent.
    pub async fn mint(&self, mint: Mint, unspent: Option<UnspentJti>) -> Result<Outcome> {
        self.database.committer.mint(self.issuer.clone(), mint, unspent).await
    }

    /// Spends the `jti` of a client's assertion. `false` when it was spent before.
    ///
    /// # Errors
    /// What the database says.
    pub async fn spend(&self, unspent: UnspentJti) -> Result<bool> {
        self.database.committer.spend(self.issuer.clone(), unspent).await
    }
}

impl Pools {
    async fn begin(&self) -> Result<Handle> {
        Ok(match self {
            Self::Sqlite { write, .. } => Handle::Sqlite(write.begin_with("BEGIN IMMEDIATE").await?),
            Self::Postgres(pool) => Handle::Postgres(pool.begin().await?),
        })
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
    pub async fn commit(self) -> Result<()> {
        match self.handle {
            Handle::Sqlite(tx) => tx.commit().await?,
            Handle::Postgres(tx) => tx.commit().await?,
            Handle::SqliteRead(_) | Handle::PostgresRead(_) => {}
        }
        if self.wrote_client {
            self.client_changes.fetch_add(1, Ordering::AcqRel);
        }
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

/// The four kinds of column there are: text and whole number, each perhaps null.
trait Columns {
    fn text(&self, name: &'static str) -> Result<String>;
    fn maybe_text(&self, name: &'static str) -> Result<Option<String>>;
    fn int(&self, name: &'static str) -> Result<i64>;
    fn maybe_int(&self, name: &'static str) -> Result<Option<i64>>;

    /// An identifier.
    fn id<T: TryFrom<String>>(&self, name: &'static str) -> Result<T> {
        self.text(name)?.try_into().map_err(|_| StoreError::Broken(name))
    }

    /// A nullable identifier.
    fn maybe_id<T: TryFrom<String>>(&self, name: &'static str) -> Result<Option<T>> {
        self.maybe_text(name)?.map(T::try_from).transpose().map_err(|_| StoreError::Broken(name))
    }

    /// A time.
    fn time(&self, name: &'static str) -> Result<Timestamp> {
        self.int(name).map(Timestamp)
    }

    /// A nullable time.
    fn maybe_time(&self, name: &'static str) -> Result<Option<Timestamp>> {
        Ok(self.maybe_int(name)?.map(Timestamp))
    }

    /// A nullable time read as yes or no.
    fn is_set(&self, name: &'static str) -> Result<bool> {
        Ok(self.maybe_int(name)?.is_some())
    }

    /// A column that holds JSON.
    fn json<T: serde::de::DeserializeOwned>(&self, name: &'static str) -> Result<T> {
        serde_json::from_str(&self.text(name)?).map_err(|_| StoreError::Broken(name))
    }
}

macro_rules! columns {
    ($row:ty) => {
        impl Columns for $row {
            fn text(&self, name: &'static str) -> Result<String> {
                Ok(self.try_get(name)?)
            }
            fn maybe_text(&self, name: &'static str) -> Result<Option<String>> {
                Ok(self.try_get(name)?)
            }
            fn int(&self, name: &'static str) -> Result<i64> {
                Ok(self.try_get(name)?)
            }
            fn maybe_int(&self, name: &'static str) -> Result<Option<i64>> {
                Ok(self.try_get(name)?)
            }
        }
    };
}
columns!(SqliteRow);
columns!(PgRow);

/// A column whose text is one of an enum's words.
fn word<T>(row: &impl Columns, name: &'static str, parse: fn(&str) -> Option<T>) -> Result<T> {
    parse(&row.text(name)?).ok_or(StoreError::Broken(name))
}

/// A column's JSON.
fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("lists and maps of text are JSON")
}

fn migrator() -> Migrator {
    let files = [
        (1, "people", include_str!("../../migrations/0001_people.sql")),
        (2, "clients", include_str!("../../migrations/0002_clients.sql")),
        (3, "grants", include_str!("../../migrations/0003_grants.sql")),
        (4, "delegations", include_str!("../../migrations/0004_delegations.sql")),
        (5, "keys and outbox", include_str!("../../migrations/0005_keys_and_outbox.sql")),
    ];
    let migration = |(version, name, sql): (i64, &'static str, &'static str)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(files.into_iter().map(migration).collect())
}

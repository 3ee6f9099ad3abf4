//! A PostgreSQL server and the ways to it: a pool of connections, and a heartbeat on one of its own.
//!
//! The pool cannot tell whether a server is slow or gone: it tries again until its time is up, and then says no more than that; and on a
//! server that is frozen every statement waits for ever. So somebody looks all the time. While there is no answer everyone is refused at
//! once, those who wait are let go, and the pool is thrown away, since the connections in it may never come to an end.

use std::str::FromStr as _;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgListener, PgPool, PgPoolOptions};
use sqlx::{Connection as _, Executor as _, Postgres, Row as _, Transaction};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::error::{Cause, Outage};
use super::{Result, StoreError, migrator};

/// Connections at the same time.
const CONNECTIONS: u32 = 16;
/// How long anyone waits for one of them.
const ACQUIRE: Duration = Duration::from_secs(5);
/// What the server ends by itself. A process that was stopped in the middle of a transaction holds its locks no longer than this: others
/// wait for them longer than that, and hardly longer. Schema changes go over a connection without.
const LIMITS: &str =
    "SET idle_in_transaction_session_timeout = '2s'; SET lock_timeout = '5s'; SET statement_timeout = '10s'";
/// Where servers of one database tell each other that an issuer has changed.
pub(super) const CHANGED: &str = "avouch_issuer";
/// How long a connection may lie idle and be used without a look: no server is started again in less.
const ASK_AFTER: Duration = Duration::from_millis(100);
/// Between two heartbeats, and between two tries while there is none.
const BEAT: Duration = Duration::from_secs(1);
const BEAT_AGAIN: Duration = Duration::from_millis(200);
/// A server that says nothing for as long is not merely slow.
const SILENCE: Duration = Duration::from_secs(3);

#[derive(Clone)]
pub(super) struct Server {
    state: watch::Receiver<State>,
    heart: AbortHandle,
}

#[derive(Clone)]
enum State {
    Alive { pool: PgPool, takes_writes: bool },
    Dead(Outage, Cause),
}

impl Server {
    /// Connects and brings the schema up to date.
    pub(super) async fn open(url: &str) -> Result<Self> {
        // Digits of floating point numbers, which we have none of, are a setting that poolers refuse.
        let options = PgConnectOptions::from_str(url).map_err(StoreError::Unreachable)?.extra_float_digits(None);
        // The pool would try a refused connection again until its time is up, and not say why.
        let mut heart = PgConnection::connect_with(&options).await.map_err(StoreError::Unreachable)?;
        let first = PgPoolOptions::new().max_connections(1).connect_with(options.clone()).await;
        let first = first.map_err(StoreError::Unreachable)?;
        // Both are open: only what stands between can have led them to the same process.
        if process(&mut heart).await? == process(&mut *first.acquire().await?).await? {
            return Err(StoreError::Pooler);
        }
        migrator().run(&first).await.map_err(StoreError::of_schema)?;
        first.close().await;
        let takes_writes = beat(&mut heart).await?;
        let (state, seen) = watch::channel(State::Alive { pool: pool(&options), takes_writes });
        let heart = tokio::spawn(watch_over(options, heart, state)).abort_handle();
        Ok(Self { state: seen, heart })
    }

    /// Connects for reading, and changes nothing.
    pub(super) async fn look(url: &str) -> Result<Self> {
        let options = PgConnectOptions::from_str(url).map_err(StoreError::Unreachable)?.extra_float_digits(None);
        let first = PgConnection::connect_with(&options).await.map_err(StoreError::Unreachable)?;
        first.close().await?;
        let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(ACQUIRE).after_connect(|connection, _| {
            Box::pin(async move { connection.execute("SET default_transaction_read_only = on").await.map(drop) })
        });
        let (_, seen) = watch::channel(State::Alive { pool: pool.connect_lazy_with(options), takes_writes: false });
        Ok(Self { state: seen, heart: tokio::spawn(async {}).abort_handle() })
    }

    fn pool(&self) -> Result<PgPool> {
        match &*self.state.borrow() {
            State::Alive { pool, .. } => Ok(pool.clone()),
            State::Dead(outage, cause) => Err(dead(*outage, cause)),
        }
    }

    pub(super) async fn begin(&self) -> Result<Transaction<'static, Postgres>> {
        Ok(self.pool()?.begin().await?)
    }

    pub(super) async fn read(&self) -> Result<PoolConnection<Postgres>> {
        Ok(self.pool()?.acquire().await?)
    }

    /// Hears from now on of what servers say to each other.
    pub(super) async fn listen(&self) -> Result<PgListener> {
        // A connection of its own: it is kept for as long as the server runs.
        let options = PgConnectOptions::clone(&self.pool()?.connect_options());
        let own = PgPoolOptions::new().max_connections(1).acquire_timeout(ACQUIRE).connect_lazy_with(options);
        let mut listener = PgListener::connect_with(&own).await?;
        listener.listen(CHANGED).await?;
        Ok(listener)
    }

    /// Whether it answers and takes writes, as of the last heartbeat.
    pub(super) fn ping(&self) -> Result<()> {
        match &*self.state.borrow() {
            State::Alive { takes_writes: true, .. } => Ok(()),
            State::Alive { .. } => Err(StoreError::unavailable(Outage::ReadOnly, "transaction_read_only is on")),
            State::Dead(outage, cause) => Err(dead(*outage, cause)),
        }
    }

    /// Waits until it no longer answers, and says why.
    pub(super) async fn death(&self) -> StoreError {
        let mut state = self.state.clone();
        let found = state.wait_for(|state| matches!(state, State::Dead(..))).await;
        let error = found.ok().and_then(|state| match &*state {
            State::Dead(outage, cause) => Some(dead(*outage, cause)),
            State::Alive { .. } => None,
        });
        match error {
            Some(error) => error,
            // Nobody looks any more: the process is ending.
            None => std::future::pending().await,
        }
    }

    pub(super) async fn close(&self) {
        self.heart.abort();
        if let Ok(pool) = self.pool() {
            // One that is used for longer is not worth waiting for: what it does is written or not, as after a crash.
            let _ = tokio::time::timeout(SILENCE, pool.close()).await;
        }
    }
}

fn dead(outage: Outage, cause: &Cause) -> StoreError {
    StoreError::Unavailable { outage, cause: cause.clone(), cut_off: false }
}

fn pool(options: &PgConnectOptions) -> PgPool {
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(ACQUIRE)
        .test_before_acquire(false)
        .before_acquire(|connection, meta| Box::pin(is_there(connection, meta.idle_for)));
    let limited =
        pool.after_connect(|connection, _| Box::pin(async move { connection.execute(LIMITS).await.map(drop) }));
    limited.connect_lazy_with(options.clone())
}

/// Whether a connection that lay idle can be used. One that was well when it was given back a moment ago is not asked again: under load that
/// would be a round trip more for every transaction.
async fn is_there(connection: &mut PgConnection, idle: Duration) -> std::result::Result<bool, sqlx::Error> {
    if idle >= ASK_AFTER {
        connection.ping().await?;
    }
    Ok(true)
}

/// The server's process behind a connection.
async fn process(connection: &mut PgConnection) -> Result<i32> {
    Ok(sqlx::query("SELECT pg_backend_pid()").persistent(false).fetch_one(connection).await?.try_get(0)?)
}

/// Whether writes are taken, which a server that stands by for another one does not.
async fn beat(connection: &mut PgConnection) -> Result<bool> {
    let row = connection.fetch_one("SHOW transaction_read_only").await?;
    Ok(row.try_get::<&str, _>(0)? == "off")
}

/// A heartbeat on the connection there is, else on a new one: that one was lost proves nothing.
async fn beat_somehow(options: &PgConnectOptions, connection: &mut Option<PgConnection>) -> Result<bool> {
    if let Some(mut open) = connection.take()
        && let Ok(takes_writes) = beat(&mut open).await
    {
        *connection = Some(open);
        return Ok(takes_writes);
    }
    let mut new = PgConnection::connect_with(options).await?;
    let takes_writes = beat(&mut new).await?;
    *connection = Some(new);
    Ok(takes_writes)
}

/// Looks until nobody wants to know any more.
async fn watch_over(options: PgConnectOptions, connection: PgConnection, state: watch::Sender<State>) {
    let mut connection = Some(connection);
    loop {
        let alive = matches!(&*state.borrow(), State::Alive { .. });
        tokio::select! {
            () = state.closed() => return,
            () = tokio::time::sleep(if alive { BEAT } else { BEAT_AGAIN }) => {}
        }
        let beat = tokio::time::timeout(SILENCE, beat_somehow(&options, &mut connection)).await;
        let silence = || Err(StoreError::unavailable(Outage::Silent, format!("no answer in {} s", SILENCE.as_secs())));
        match beat.unwrap_or_else(|_| silence()) {
            Ok(takes_writes) if alive => {
                state.send_if_modified(|state| match state {
                    State::Alive { takes_writes: before, .. } => {
                        std::mem::replace(before, takes_writes) != takes_writes
                    }
                    State::Dead(..) => false,
                });
            }
            Ok(takes_writes) => {
                tracing::info!("the database answers again");
                state.send_replace(State::Alive { pool: pool(&options), takes_writes });
            }
            Err(error) => lose(&state, error, alive),
        }
    }
}

/// Notes that there was no answer.
fn lose(state: &watch::Sender<State>, error: StoreError, was_alive: bool) {
    if was_alive {
        tracing::error!(error = &error as &dyn std::error::Error, "the database does not answer");
    }
    let (outage, cause) = match error {
        StoreError::Unavailable { outage, cause, .. } => (outage, cause),
        other => (Outage::Silent, std::sync::Arc::new(other) as Cause),
    };
    if let State::Alive { pool, .. } = state.send_replace(State::Dead(outage, cause)) {
        // Whoever uses one of its connections is let go, and it ends with them.
        tokio::spawn(async move { pool.close().await });
    }
}

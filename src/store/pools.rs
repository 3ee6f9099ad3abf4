//! The two engines, and the ways to either.

use std::future::Future;

use super::{Handle, Result, postgres, sqlite};

/// Where the rows live.
#[derive(Clone)]
pub(super) enum Pools {
    Sqlite(sqlite::File),
    Postgres(postgres::Server),
}

impl Pools {
    // To wait for a connection takes four kilobytes, since it may have to be made: on the heap, or whatever ever asks for one would hold as
    // much, and be moved with it.

    /// A transaction that may write.
    pub(super) async fn begin(&self) -> Result<Handle> {
        Ok(match self {
            Self::Sqlite(file) => Handle::Sqlite(Box::pin(file.begin()).await?),
            Self::Postgres(server) => Handle::Postgres(Box::pin(server.begin()).await?),
        })
    }

    /// A connection that only reads.
    pub(super) async fn read(&self) -> Result<Handle> {
        Ok(match self {
            Self::Sqlite(file) => Handle::SqliteRead(Box::pin(file.read()).await?),
            Self::Postgres(server) => Handle::PostgresRead(Box::pin(server.read()).await?),
        })
    }

    /// Does work for as long as the database answers.
    pub(super) async fn while_it_answers<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        let Self::Postgres(server) = self else { return Ok(work.await) };
        tokio::select! {
            biased;
            done = work => Ok(done),
            error = server.death() => Err(error),
        }
    }
}

//! Users, sessions, tokens, delegations and journal rows in numbers that no form could make, written into the database directly.

use std::time::Duration;

use avouch::clock::Clock;
use avouch::domain::time::Seconds;
use avouch::host::DEFAULT_ISSUER;
use avouch::rng::Rng;
use avouch::secret::token_hash;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, SqliteConnection};

use crate::Outcome;
use crate::assertion::AUDIENCE;
use crate::statements::{DECLARED, JOURNAL, QUEUED, STATEMENTS, USED};

/// What a database is filled with.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    /// Each with a session, an access token of `secret-agent`, and a delegation with a consent for good.
    pub(crate) users: usize,
    /// Assertions in the journal, for each of them.
    pub(crate) assertions: usize,
}

/// Users that are written by one statement.
const CHUNK: usize = 5000;

enum Database {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Database {
    async fn open(url: &str) -> Outcome<Self> {
        if url.starts_with("sqlite:") {
            return Ok(Self::Sqlite(SqliteConnection::connect(url).await?));
        }
        Ok(Self::Postgres(PgConnection::connect(url).await?))
    }

    async fn run(&mut self, (issuer, aud): (&str, &str), sql: &str, rows: &str, number: i64) -> Outcome<()> {
        // Sorted by the time in front, like ours.
        let (values, id) = match self {
            Self::Sqlite(_) => ("json_each($1) AS e", "printf('%012x', $2) || lower(hex(randomblob(10)))"),
            Self::Postgres(_) => (
                "json_array_elements($1::json) AS e(value)",
                "lpad(to_hex($2), 12, '0') || substr(md5(random()::text), 1, 20)",
            ),
        };
        let sql = sql.replace("{rows}", values).replace("{id}", id).replace("{aud}", aud).replace("{issuer}", issuer);
        let sql = AssertSqlSafe(sql);
        match self {
            Self::Sqlite(c) => sqlx::query(sql).bind(rows).bind(number).execute(c).await.map(drop)?,
            Self::Postgres(c) => sqlx::query(sql).bind(rows).bind(number).execute(c).await.map(drop)?,
        }
        Ok(())
    }

    /// As after a night's rest.
    async fn settle(self) -> Outcome<()> {
        match self {
            Self::Sqlite(mut c) => {
                c.execute("PRAGMA wal_checkpoint(TRUNCATE)").await?;
                c.close().await?;
            }
            Self::Postgres(mut c) => {
                c.execute("VACUUM ANALYZE").await?;
                c.execute("CHECKPOINT").await?;
                c.close().await?;
            }
        }
        Ok(())
    }
}

/// Fills the database of a running server. Answers with the access tokens of the users, in no order.
pub(crate) async fn fill(url: &str, size: Size) -> Outcome<Vec<String>> {
    let mut database = Database::open(url).await?;
    let tokens = people(&mut database, (DEFAULT_ISSUER, AUDIENCE), size.users).await?;
    let now = Clock::System.now();
    for n in 0..size.assertions {
        let at = now - Seconds(i64::try_from(size.assertions - n)?);
        database.run((DEFAULT_ISSUER, AUDIENCE), JOURNAL, "", at.0).await?;
    }
    database.settle().await?;
    Ok(tokens)
}

/// Gives a service delegations that were used, of so many users.
pub(crate) async fn fill_used(url: &str, aud: &str, users: usize) -> Outcome<()> {
    let mut database = Database::open(url).await?;
    people(&mut database, (DEFAULT_ISSUER, aud), users).await?;
    database.run((DEFAULT_ISSUER, aud), USED, aud, 1).await?;
    database.settle().await
}

/// Lets so many notices be due in a while, one to each of the hosts and so on, and waits for that.
pub(crate) async fn queue(url: &str, notices: usize, host: impl Fn(usize) -> String) -> Outcome<()> {
    let mut database = Database::open(url).await?;
    let due_at = Clock::System.now() + Seconds(4);
    let rows = (0..notices).map(|n| {
        let host = host(n);
        (Rng::Os.id(due_at), format!("http://{host}/revoke"), host)
    });
    for some in rows.collect::<Vec<_>>().chunks(CHUNK) {
        database.run((DEFAULT_ISSUER, AUDIENCE), QUEUED, &serde_json::to_string(some)?, due_at.0).await?;
    }
    database.settle().await?;
    while Clock::System.now() < due_at {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// How many are left.
pub(crate) async fn queued(url: &str) -> Outcome<u64> {
    number(url, "SELECT COUNT(*) FROM delivery WHERE state = 'queued'").await
}

/// Ends those that are left.
pub(crate) async fn end_queue(url: &str) -> Outcome<()> {
    let end = "UPDATE delivery SET state = 'cancelled', lease = NULL, leased_until = NULL WHERE state = 'queued'";
    match Database::open(url).await? {
        Database::Sqlite(mut c) => c.execute(end).await.map(drop)?,
        Database::Postgres(mut c) => c.execute(end).await.map(drop)?,
    }
    Ok(())
}

/// Gives path issuers a client, a service, and `users` users each. Answers with the users' access tokens, by issuer.
pub(crate) async fn fill_issuers(url: &str, issuers: &[String], users: usize) -> Outcome<Vec<(String, String)>> {
    let mut database = Database::open(url).await?;
    let mut tokens = Vec::new();
    for issuer in issuers {
        for sql in DECLARED {
            database.run((issuer, AUDIENCE), sql, issuer, Clock::System.now().0).await?;
        }
        let of_issuer = people(&mut database, (issuer, AUDIENCE), users).await?;
        tokens.extend(of_issuer.into_iter().map(|token| (issuer.clone(), token)));
    }
    database.settle().await?;
    Ok(tokens)
}

/// How many assertions the delegations of all issuers say were minted.
pub(crate) async fn minted(url: &str) -> Outcome<u64> {
    number(url, "SELECT CAST(SUM(mint_count) AS BIGINT) FROM delegation").await
}

/// How many delegations have ended.
pub(crate) async fn ended(url: &str) -> Outcome<u64> {
    number(url, "SELECT COUNT(*) FROM delegation WHERE ended_at IS NOT NULL").await
}

async fn number(url: &str, sql: &'static str) -> Outcome<u64> {
    let count: i64 = match Database::open(url).await? {
        Database::Sqlite(mut c) => sqlx::query_scalar(sql).fetch_one(&mut c).await?,
        Database::Postgres(mut c) => sqlx::query_scalar(sql).fetch_one(&mut c).await?,
    };
    Ok(count.try_into()?)
}

async fn people(database: &mut Database, place: (&str, &str), count: usize) -> Outcome<Vec<String>> {
    let now = Clock::System.now();
    let mut tokens = Vec::with_capacity(count);
    while tokens.len() < count {
        let first = tokens.len();
        let rows: Vec<_> = (first..count.min(first + CHUNK))
            .map(|n| {
                let token = Rng::Os.token();
                let row = (Rng::Os.id(now), n.to_string(), token_hash(&token));
                tokens.push(token);
                row
            })
            .collect();
        let rows = serde_json::to_string(&rows)?;
        for sql in STATEMENTS {
            database.run(place, sql, &rows, now.0).await?;
        }
    }
    Ok(tokens)
}

//! Users, sessions, tokens, delegations and journal rows in numbers that no form could make, written into the database directly.

use avouch::clock::Clock;
use avouch::domain::time::Seconds;
use avouch::host::DEFAULT_ISSUER;
use avouch::rng::Rng;
use avouch::secret::token_hash;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, SqliteConnection};

use crate::Outcome;
use crate::assertion::AUDIENCE;

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

/// For `{rows}`, the rows of `$1`: our key (of everything), a number, and the hash of the access token. `$2` is the time, `{issuer}` the
/// issuer.
const STATEMENTS: [&str; 6] = [
    "INSERT INTO account (id, issuer_id, sub, email, email_verified_at, name, origin, version, decisions, created_at)
     SELECT e.value ->> 0, '{issuer}', e.value ->> 0, 'seed' || (e.value ->> 1) || '@example.com', $2, 'User', 'bench', 1, 1, $2 FROM {rows}",
    "INSERT INTO session (id, issuer_id, account_id, token_hash, csrf, auth_time, created_at, expires_at)
     SELECT e.value ->> 0, '{issuer}', e.value ->> 0, e.value ->> 0, 'csrf', $2, $2, $2 + 1000000 FROM {rows}",
    "INSERT INTO token_family (id, issuer_id, account_id, client_id, session_id, scope, offline, generation, created_at, expires_at)
     SELECT e.value ->> 0, '{issuer}', e.value ->> 0, k.id, e.value ->> 0, 'openid', 0, 0, $2, $2 + 1000000 FROM {rows}, client k WHERE k.issuer_id = '{issuer}' AND k.client_id = 'secret-agent'",
    "INSERT INTO access_token (hash, issuer_id, family_id, scope, created_at, expires_at)
     SELECT e.value ->> 2, '{issuer}', e.value ->> 0, 'openid', $2, $2 + 1000000 FROM {rows}",
    "INSERT INTO delegation (id, issuer_id, account_id, iss, sub, aud, created_at, mint_count, last_exp)
     SELECT e.value ->> 0, '{issuer}', e.value ->> 0, i.url, e.value ->> 0, '{aud}', $2, 0, 0 FROM {rows}, issuer i WHERE i.id = '{issuer}'",
    "INSERT INTO consent (id, issuer_id, delegation_id, account_id, client_id, aud, mode, asked_scope, scope, resources, claims, ground,
                          request_key, session_id, number, created_at)
     SELECT e.value ->> 0, '{issuer}', e.value ->> 0, e.value ->> 0, k.id, '{aud}', 'always', 'api.read', 'api.read', '[]', 'email email_verified name', 'user',
            e.value ->> 0, e.value ->> 0, 1, $2 FROM {rows}, client k WHERE k.issuer_id = '{issuer}' AND k.client_id = 'secret-agent'",
];

/// The `$2`-th assertion of everybody.
const JOURNAL: &str = "
    INSERT INTO journal (id, issuer_id, at, kind, account_id, client_id, delegation_id, consent_id, jti, body)
    SELECT {id}, '{issuer}', $2, 'assertion', d.account_id, k.id, d.id, d.id, {id},
           '{\"sub\":\"' || d.sub || '\",\"aud\":\"' || d.aud || '\",\"exp\":1,\"kid\":\"0123456789abcdefghijklmnopqrstuvwxyzABCDEFG\",\"scope\":\"api.read\"}'
      FROM delegation d, client k WHERE k.issuer_id = '{issuer}' AND k.client_id = 'secret-agent' AND $1 = ''";

/// Gives an issuer what the default one has declared: a client and the service, `$1` being in front of our keys.
const DECLARED: [&str; 2] = [
    "INSERT INTO client (id, issuer_id, client_id, client_name, token_endpoint_auth_method, secret_hash, redirect_uris, grant_types, audiences,
                         first_party, origin, version, created_at)
     SELECT $1 || id, '{issuer}', client_id, client_name, token_endpoint_auth_method, secret_hash, redirect_uris, grant_types, audiences,
            first_party, origin, version, $2 FROM client WHERE issuer_id = 'default' AND client_id = 'secret-agent'",
    "INSERT INTO service (id, issuer_id, audience, place, name, resources, scopes, client_ids, claims, max_auth_age, requires_verified_contact,
                          client_id_source, takes_id_jag, notices, origin, version, created_at)
     SELECT $1 || id, '{issuer}', audience, place, name, resources, scopes, client_ids, claims, max_auth_age, requires_verified_contact,
            client_id_source, takes_id_jag, notices, origin, version, $2 FROM service WHERE issuer_id = 'default'",
];

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

    async fn run(&mut self, issuer: &str, sql: &str, rows: &str, number: i64) -> Outcome<()> {
        // Sorted by the time in front, like ours.
        let (values, id) = match self {
            Self::Sqlite(_) => ("json_each($1) AS e", "printf('%012x', $2) || lower(hex(randomblob(10)))"),
            Self::Postgres(_) => (
                "json_array_elements($1::json) AS e(value)",
                "lpad(to_hex($2), 12, '0') || substr(md5(random()::text), 1, 20)",
            ),
        };
        let sql =
            sql.replace("{rows}", values).replace("{id}", id).replace("{aud}", AUDIENCE).replace("{issuer}", issuer);
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
    let tokens = people(&mut database, DEFAULT_ISSUER, size.users).await?;
    let now = Clock::System.now();
    for n in 0..size.assertions {
        database.run(DEFAULT_ISSUER, JOURNAL, "", (now - Seconds(i64::try_from(size.assertions - n)?)).0).await?;
    }
    database.settle().await?;
    Ok(tokens)
}

/// Gives path issuers a client, a service, and `users` users each. Answers with the users' access tokens, by issuer.
pub(crate) async fn fill_issuers(url: &str, issuers: &[String], users: usize) -> Outcome<Vec<(String, String)>> {
    let mut database = Database::open(url).await?;
    let mut tokens = Vec::new();
    for issuer in issuers {
        for sql in DECLARED {
            database.run(issuer, sql, issuer, Clock::System.now().0).await?;
        }
        let of_issuer = people(&mut database, issuer, users).await?;
        tokens.extend(of_issuer.into_iter().map(|token| (issuer.clone(), token)));
    }
    database.settle().await?;
    Ok(tokens)
}

/// How many assertions the delegations of all issuers say were minted.
pub(crate) async fn minted(url: &str) -> Outcome<u64> {
    let sql = "SELECT CAST(SUM(mint_count) AS BIGINT) FROM delegation";
    let count: i64 = match Database::open(url).await? {
        Database::Sqlite(mut c) => sqlx::query_scalar(sql).fetch_one(&mut c).await?,
        Database::Postgres(mut c) => sqlx::query_scalar(sql).fetch_one(&mut c).await?,
    };
    Ok(count.try_into()?)
}

async fn people(database: &mut Database, issuer: &str, count: usize) -> Outcome<Vec<String>> {
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
            database.run(issuer, sql, &rows, now.0).await?;
        }
    }
    Ok(tokens)
}

//! The schema: what brings it up to date, and how far a database is.

use std::cmp::Ordering;

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};

use super::{Columns, HostTx, Result, on, per_engine};

/// How far a database is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schema {
    /// It has no tables of ours.
    Empty,
    /// A start would bring it up to date.
    Older,
    /// As this version needs it.
    Current,
    /// A later version has worked on it, up to this number.
    Newer(i64),
}

impl HostTx {
    /// How far the schema is, without touching it.
    pub async fn schema(&mut self) -> Result<Schema> {
        let there = per_engine!(
            self.0,
            "SELECT COUNT(*) AS n FROM sqlite_master WHERE name = '_sqlx_migrations'",
            "SELECT COUNT(to_regclass('_sqlx_migrations')) AS n"
        );
        let there = on!(self.0, |c| sqlx::query(there).fetch_one(c).await?.int("n")?);
        if there == 0 {
            return Ok(Schema::Empty);
        }
        let last = on!(self.0, |c| {
            let row =
                sqlx::query("SELECT COALESCE(MAX(version), 0) AS version FROM _sqlx_migrations").fetch_one(c).await?;
            row.int("version")?
        });
        let newest = migrator().iter().map(|migration| migration.version).max().unwrap_or_default();
        Ok(match last.cmp(&newest) {
            Ordering::Less => Schema::Older,
            Ordering::Equal => Schema::Current,
            Ordering::Greater => Schema::Newer(last),
        })
    }
}

pub(super) fn migrator() -> Migrator {
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

//! Issuers, and how other processes hear that one has changed.

use super::{Columns, HostTx, Result, Tx, on};

/// An issuer's row.
#[derive(Clone, Debug)]
pub struct IssuerRow {
    /// Our key of it.
    pub id: String,
    /// Its identifier.
    pub url: String,
    /// What it calls itself.
    pub name: String,
    /// JSON: what its Client ID Metadata Document says beside what follows from the URL.
    pub cimd: String,
    /// SHA-256 of its administrator's token.
    pub admin_token_hash: String,
    /// Seconds since the epoch.
    pub disabled_at: Option<i64>,
}

macro_rules! issuer_columns {
    () => {
        "id, url, name, cimd, admin_token_hash, disabled_at"
    };
}

fn issuer(r: &impl Columns) -> Result<IssuerRow> {
    Ok(IssuerRow {
        id: r.text("id")?,
        url: r.text("url")?,
        name: r.text("name")?,
        cimd: r.text("cimd")?,
        admin_token_hash: r.text("admin_token_hash")?,
        disabled_at: r.maybe_int("disabled_at")?,
    })
}

impl Tx {
    /// This issuer's row, if the database knows it.
    pub async fn issuer(&mut self) -> Result<Option<IssuerRow>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let row = sqlx::query(concat!("SELECT ", issuer_columns!(), " FROM issuer WHERE id = $1"))
                .bind(&*id)
                .fetch_optional(c)
                .await?;
            row.map(|r| issuer(&r)).transpose()
        })
    }

    /// Writes this issuer's row. `false` when another process was first, or when its identifier is another issuer's.
    pub async fn create_issuer(&mut self, new: &IssuerRow, now: i64) -> Result<bool> {
        let id = self.issuer.clone();
        let revision = self.next_revision().await?;
        on!(self, |c| {
            let done = sqlx::query(
                "INSERT INTO issuer (id, url, name, cimd, admin_token_hash, revision, created_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
            )
            .bind(&*id)
            .bind(&new.url)
            .bind(&new.name)
            .bind(&new.cimd)
            .bind(&new.admin_token_hash)
            .bind(revision)
            .bind(now)
            .execute(c)
            .await?;
            Ok(done.rows_affected() == 1)
        })
    }

    /// Writes what this issuer says of itself. `false` when it says that already.
    pub async fn describe_issuer(&mut self, name: &str, cimd: &str) -> Result<bool> {
        let id = self.issuer.clone();
        let changed = on!(self, |c| {
            sqlx::query("UPDATE issuer SET name = $2, cimd = $3 WHERE id = $1 AND (name <> $2 OR cimd <> $3)")
                .bind(&*id)
                .bind(name)
                .bind(cimd)
                .execute(c)
                .await?
                .rows_affected()
                == 1
        });
        if changed {
            self.touch_issuer().await?;
        }
        Ok(changed)
    }

    /// Says that something of this issuer has changed that processes keep in memory: its row or its keys. Part of every transaction
    /// that changes any of it.
    pub async fn touch_issuer(&mut self) -> Result<()> {
        let id = self.issuer.clone();
        let revision = self.next_revision().await?;
        on!(self, |c| {
            sqlx::query("UPDATE issuer SET revision = $2 WHERE id = $1").bind(&*id).bind(revision).execute(c).await?;
            Ok(())
        })
    }

    /// The next revision. Its row stays locked until the transaction ends, so that revisions become visible in their order: whoever
    /// has seen one has seen all before it.
    async fn next_revision(&mut self) -> Result<i64> {
        on!(self, |c| {
            let row = sqlx::query("UPDATE counter SET value = value + 1 WHERE name = 'issuer' RETURNING value")
                .fetch_one(c)
                .await?;
            row.int("value")
        })
    }
}

impl HostTx {
    /// The revision of the last change to any issuer.
    pub async fn issuer_revision(&mut self) -> Result<i64> {
        on!(self.0, |c| {
            let row = sqlx::query("SELECT value FROM counter WHERE name = 'issuer'").fetch_one(c).await?;
            row.int("value")
        })
    }

    /// At most `limit` issuers that have changed after a revision, with the revision of each, in that order.
    pub async fn issuers_changed_since(&mut self, revision: i64, limit: i64) -> Result<Vec<(String, i64)>> {
        on!(self.0, |c| {
            let rows = sqlx::query("SELECT id, revision FROM issuer WHERE revision > $1 ORDER BY revision LIMIT $2")
                .bind(revision)
                .bind(limit)
                .fetch_all(c)
                .await?;
            rows.iter().map(|r| Ok((r.text("id")?, r.int("revision")?))).collect()
        })
    }
}

//! Issuers, and how other processes hear that one has changed.

use super::postgres::CHANGED;
use super::{Columns, Connection, HostTx, Result, StoreError, Tx, on, word};
use crate::domain::issuer::{Colour, IssuerRecord, Logo, Origin};
use crate::domain::time::Timestamp;

macro_rules! issuer_columns {
    () => {
        "id, url, name, colour, logo_hash, cimd, admin_token_hash, origin, created_at, disabled_at"
    };
}

fn issuer(r: &impl Columns) -> Result<IssuerRecord> {
    let colour = r.maybe_text("colour")?.map(|text| Colour::parse(&text)).transpose();
    Ok(IssuerRecord {
        id: r.text("id")?,
        url: r.text("url")?,
        name: r.text("name")?,
        colour: colour.map_err(|_| StoreError::Broken("colour"))?,
        logo_hash: r.maybe_text("logo_hash")?,
        cimd: r.text("cimd")?,
        admin_token_hash: r.text("admin_token_hash")?,
        origin: word(r, "origin", Origin::parse)?,
        created_at: r.time("created_at")?,
        disabled_at: r.maybe_time("disabled_at")?,
    })
}

impl Tx {
    /// This issuer's row, if the database knows it.
    pub async fn issuer(&mut self) -> Result<Option<IssuerRecord>> {
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
    pub async fn create_issuer(&mut self, new: &IssuerRecord) -> Result<bool> {
        let id = self.issuer.clone();
        if self.is_postgres() {
            // Before the counter, as whoever has changed the row already holds it.
            on!(self, |c| {
                let query = sqlx::query("SELECT id FROM issuer WHERE id = $1 FOR NO KEY UPDATE").bind(&*id);
                query.execute(c).await?;
            });
        }
        let revision = self.next_revision().await?;
        on!(self, |c| {
            let done = sqlx::query(
                "INSERT INTO issuer (id, url, name, colour, cimd, admin_token_hash, origin, revision, created_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING",
            )
            .bind(&*id)
            .bind(&new.url)
            .bind(&new.name)
            .bind(new.colour.as_ref().map(Colour::as_str))
            .bind(&new.cimd)
            .bind(&new.admin_token_hash)
            .bind(new.origin.as_str())
            .bind(revision)
            .bind(new.created_at)
            .execute(c)
            .await?;
            Ok(done.rows_affected() == 1)
        })
    }

    /// Writes what this issuer says of itself, and whose word that is. `false` when it says that already.
    pub async fn describe_issuer(
        &mut self,
        name: &str,
        colour: Option<&Colour>,
        cimd: &str,
        origin: Origin,
    ) -> Result<bool> {
        let id = self.issuer.clone();
        let changed = on!(self, |c| {
            sqlx::query(
                "UPDATE issuer SET name = $2, colour = $3, cimd = $4, origin = $5
                  WHERE id = $1 AND (name <> $2 OR COALESCE(colour, '') <> COALESCE($3, '') OR cimd <> $4 OR origin <> $5)",
            )
            .bind(&*id)
            .bind(name)
            .bind(colour.map(Colour::as_str))
            .bind(cimd)
            .bind(origin.as_str())
            .execute(c)
            .await?
            .rows_affected()
        });
        self.touched(changed).await
    }

    /// Writes this issuer's logo, or takes it away. `false` when it has that one already.
    pub async fn set_issuer_logo(&mut self, logo: Option<&Logo>) -> Result<bool> {
        let id = self.issuer.clone();
        let changed = on!(self, |c| {
            sqlx::query(
                "UPDATE issuer SET logo = $2, logo_hash = $3 WHERE id = $1 AND COALESCE(logo_hash, '') <> COALESCE($3, '')",
            )
            .bind(&*id)
            .bind(logo.map(Logo::base64))
            .bind(logo.map(Logo::hash))
            .execute(c)
            .await?
            .rows_affected()
        });
        self.touched(changed).await
    }

    /// This issuer's logo.
    pub async fn issuer_logo(&mut self) -> Result<Option<Logo>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let row =
                sqlx::query("SELECT logo, logo_hash FROM issuer WHERE id = $1").bind(&*id).fetch_optional(c).await?;
            let Some(row) = row else { return Ok(None) };
            let (Some(text), Some(hash)) = (row.maybe_text("logo")?, row.maybe_text("logo_hash")?) else {
                return Ok(None);
            };
            Ok(Some(Logo::stored(&text, hash).ok_or(StoreError::Broken("logo"))?))
        })
    }

    /// Disables this issuer, or enables it again. `false` when it is so already.
    pub async fn set_issuer_disabled(&mut self, disabled_at: Option<Timestamp>) -> Result<bool> {
        let id = self.issuer.clone();
        let changed = on!(self, |c| {
            sqlx::query("UPDATE issuer SET disabled_at = $2 WHERE id = $1 AND (disabled_at IS NULL) <> ($2 IS NULL)")
                .bind(&*id)
                .bind(disabled_at)
                .execute(c)
                .await?
                .rows_affected()
        });
        self.touched(changed).await
    }

    /// Writes the hash of this issuer's admin token. `false` when there is no such issuer.
    pub async fn set_admin_token(&mut self, hash: &str) -> Result<bool> {
        let id = self.issuer.clone();
        let changed = on!(self, |c| {
            sqlx::query("UPDATE issuer SET admin_token_hash = $2 WHERE id = $1")
                .bind(&*id)
                .bind(hash)
                .execute(c)
                .await?
                .rows_affected()
        });
        self.touched(changed).await
    }

    async fn touched(&mut self, rows: u64) -> Result<bool> {
        if rows == 1 {
            self.touch_issuer().await?;
        }
        Ok(rows == 1)
    }

    /// Says that something of this issuer has changed that processes keep in memory: its row, its keys or its clients. Part of every transaction
    /// that changes any of it.
    pub async fn touch_issuer(&mut self) -> Result<()> {
        let id = self.issuer.clone();
        if self.is_postgres() {
            // Before the counter, as whoever has changed the row already holds it.
            on!(self, |c| {
                let query = sqlx::query("SELECT id FROM issuer WHERE id = $1 FOR NO KEY UPDATE").bind(&*id);
                query.execute(c).await?;
            });
        }
        let revision = self.next_revision().await?;
        on!(self, |c| {
            sqlx::query("UPDATE issuer SET revision = $2 WHERE id = $1").bind(&*id).bind(revision).execute(c).await?;
        });
        // The others hear of it when this is committed; whoever does not hears of it at their next look.
        if let Connection::Postgres(c) = self.connection() {
            sqlx::query("SELECT pg_notify($1, '')").bind(CHANGED).execute(c).await?;
        }
        Ok(())
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

    /// A page of issuers, by our key.
    pub async fn issuers(&mut self, after: Option<&str>, limit: i64) -> Result<Vec<IssuerRecord>> {
        on!(self.0, |c| {
            let rows =
                sqlx::query(concat!("SELECT ", issuer_columns!(), " FROM issuer WHERE id > $1 ORDER BY id LIMIT $2"))
                    .bind(after.unwrap_or_default())
                    .bind(limit)
                    .fetch_all(c)
                    .await?;
            rows.iter().map(issuer).collect()
        })
    }

    /// The enabled issuers that the configuration declared.
    pub async fn configured_issuers(&mut self) -> Result<Vec<String>> {
        on!(self.0, |c| {
            let rows = sqlx::query(
                "SELECT id FROM issuer WHERE origin = 'config' AND disabled_at IS NULL AND id <> 'default' ORDER BY id",
            )
            .fetch_all(c)
            .await?;
            rows.iter().map(|r| r.text("id")).collect()
        })
    }
}

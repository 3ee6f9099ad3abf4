//! What was removed and still has something that stands under it.

use super::disabled::of;
use super::{Columns, HostTx, Result, StoreError, Tx, on, per_engine};
use crate::domain::delegation::Removed;
use crate::domain::time::Timestamp;

const USER: &str = "user";
const CLIENT: &str = "client";
const SERVICE: &str = "service";

fn columns(removed: &Removed) -> (&'static str, &str) {
    match removed {
        Removed::User(id) => (USER, id.as_str()),
        Removed::Client(key) => (CLIENT, key.as_str()),
        Removed::Service(audience) => (SERVICE, audience),
    }
}

fn removed(r: &impl Columns) -> Result<Removed> {
    Ok(match r.text("kind")?.as_str() {
        USER => Removed::User(r.id("name")?),
        CLIENT => Removed::Client(r.id("name")?),
        SERVICE => Removed::Service(r.text("name")?),
        _ => return Err(StoreError::Broken("kind")),
    })
}

impl Tx {
    /// Notes that what stands under it is to be ended, and that it does not live before that is done.
    pub async fn begin_ending(&mut self, removed: &Removed, now: Timestamp) -> Result<()> {
        let id = self.issuer.clone();
        let (kind, name) = columns(removed);
        let mark = of!(removed, ["UPDATE "][" SET ending_at = COALESCE(ending_at, $3) WHERE "]);
        on!(self, |c| {
            sqlx::query(mark).bind(&*id).bind(name).bind(now).execute(c).await?;
        });
        on!(self, |c| {
            sqlx::query("INSERT INTO removed (issuer_id, kind, name) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
                .bind(&*id)
                .bind(kind)
                .bind(name)
                .execute(c)
                .await?;
            Ok(())
        })
    }

    /// Locks the row of what was removed, before [`Tx::lock_removed`] and whatever is under it.
    pub async fn lock_what(&mut self, removed: &Removed) -> Result<()> {
        // SQLite has one writer anyway, and never prepares this text.
        if self.is_postgres() {
            let id = self.issuer.clone();
            let sql = of!(removed, ["SELECT id FROM "][" WHERE "][" FOR NO KEY UPDATE"]);
            on!(self, |c| {
                sqlx::query(sql).bind(&*id).bind(columns(removed).1).execute(c).await?;
            });
        }
        Ok(())
    }

    /// Whether what stands under it is still to be ended; nobody else decides on that before the transaction ends.
    pub async fn lock_removed(&mut self, removed: &Removed) -> Result<bool> {
        let id = self.issuer.clone();
        let (kind, name) = columns(removed);
        let sql = per_engine!(
            self,
            "SELECT name FROM removed WHERE issuer_id = $1 AND kind = $2 AND name = $3",
            "SELECT name FROM removed WHERE issuer_id = $1 AND kind = $2 AND name = $3 FOR UPDATE"
        );
        on!(self, |c| {
            let row = sqlx::query(sql).bind(&*id).bind(kind).bind(name).fetch_optional(c).await?;
            Ok(row.is_some())
        })
    }

    /// Notes that nothing stands under it any more: unless somebody disabled it, it lives again.
    pub async fn finish_ending(&mut self, removed: &Removed) -> Result<()> {
        self.wrote_client |= matches!(removed, Removed::Client(_));
        let id = self.issuer.clone();
        let (kind, name) = columns(removed);
        let mark = of!(removed, ["UPDATE "][" SET ending_at = NULL, version = version + 1 WHERE "]);
        on!(self, |c| {
            sqlx::query(mark).bind(&*id).bind(name).execute(c).await?;
        });
        on!(self, |c| {
            sqlx::query("DELETE FROM removed WHERE issuer_id = $1 AND kind = $2 AND name = $3")
                .bind(&*id)
                .bind(kind)
                .bind(name)
                .execute(c)
                .await?;
            Ok(())
        })
    }
}

impl HostTx {
    /// (Our key of the issuer, what was removed there), at most `limit`.
    pub async fn removed(&mut self, limit: i64) -> Result<Vec<(String, Removed)>> {
        on!(self.0, |c| {
            let rows = sqlx::query("SELECT issuer_id, kind, name FROM removed ORDER BY issuer_id, kind, name LIMIT $1")
                .bind(limit)
                .fetch_all(c)
                .await?;
            rows.iter().map(|r| Ok((r.text("issuer_id")?, removed(r)?))).collect()
        })
    }
}

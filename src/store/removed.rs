//! What was removed and still has delegations that stand under it.

use super::{Columns, HostTx, Result, StoreError, Tx, on, per_engine};
use crate::domain::delegation::Removed;

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
    /// Notes that what stands under it is to be withdrawn.
    pub async fn add_removed(&mut self, removed: &Removed) -> Result<()> {
        let id = self.issuer.clone();
        let (kind, name) = columns(removed);
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

    /// Whether what stands under it is still to be withdrawn; nobody else decides on that before the transaction ends.
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

    /// Notes that nothing stands under it any more.
    pub async fn forget_removed(&mut self, removed: &Removed) -> Result<()> {
        let id = self.issuer.clone();
        let (kind, name) = columns(removed);
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

    /// What was removed, came back, and still has something that stood before.
    pub async fn removed_and_back(&mut self) -> Result<Vec<Removed>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let rows = sqlx::query(
                "SELECT kind, name FROM removed r WHERE r.issuer_id = $1 AND (
                    (kind = 'user' AND EXISTS (SELECT 1 FROM account a WHERE a.id = r.name AND a.disabled_at IS NULL))
                    OR (kind = 'client' AND EXISTS (SELECT 1 FROM client k WHERE k.id = r.name AND k.disabled_at IS NULL))
                    OR (kind = 'service' AND EXISTS (SELECT 1 FROM service s
                            WHERE s.issuer_id = r.issuer_id AND s.audience = r.name AND s.disabled_at IS NULL)))
                  ORDER BY kind, name",
            )
            .bind(&*id)
            .fetch_all(c)
            .await?;
            rows.iter().map(removed).collect()
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

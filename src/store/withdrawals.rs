//! What withdrawals read and write, for a batch of delegations by as few statements as for one.

use std::collections::{BTreeMap, BTreeSet};

use super::json_row::{elements, one_of};
use super::{Columns, Result, Tx, json, on, per_engine};
use crate::domain::consent::Mode;
use crate::domain::delegation::Part;
use crate::domain::ids::{AccountId, Subject};
use crate::domain::notice::Format;
use crate::domain::service_policy::NoticeEndpoint;
use crate::domain::time::Timestamp;

// The ids alone first: by them an index finds the few rows that are compared with the pairs.
macro_rules! cancel {
    ($engine:ident) => {
        concat!(
            "UPDATE delivery SET state = 'cancelled', ended_at = $3, lease = NULL, leased_until = NULL
              WHERE issuer_id = $1 AND state = 'queued' AND (leased_until IS NULL OR leased_until <= $3)
                AND delegation_id",
            cancel!(@ids $engine),
            " AND (delegation_id, format) IN (SELECT e.value ->> 0, e.value ->> 1 FROM ",
            elements!($engine, "$2"),
            ") RETURNING delegation_id, id"
        )
    };
    (@ids sqlite) => {
        concat!(" IN (SELECT e.value ->> 0 FROM ", elements!(sqlite, "$2"), ")")
    };
    (@ids postgres) => {
        concat!(" = ANY (ARRAY(SELECT e.value ->> 0 FROM ", elements!(postgres, "$2"), "))")
    };
}

/// A delegation under its lock.
#[derive(Clone, Debug)]
pub struct LockedDelegation {
    /// Our own key.
    pub id: String,
    /// Whose.
    pub account_id: AccountId,
    /// As first emitted.
    pub iss: String,
    /// As first emitted.
    pub sub: Subject,
    /// As first emitted.
    pub aud: String,
    /// How many assertions were minted.
    pub mint_count: i64,
    /// The latest `exp` of them.
    pub last_exp: Timestamp,
    /// Whether it has ended.
    pub is_over: bool,
}

impl Tx {
    /// Locks delegations for a withdrawal, by id, before their consents: every multi-row lock is taken in that order. Their last `exp`s are
    /// final from here on, since a mint locks the same rows.
    pub async fn lock_delegations(&mut self, delegation_ids: &[&str]) -> Result<Vec<LockedDelegation>> {
        macro_rules! select {
            () => {
                "SELECT id, account_id, iss, sub, aud, mint_count, last_exp, ended_at FROM delegation WHERE issuer_id = $1 AND id"
            };
        }
        let id = self.issuer.clone();
        // SQLite's transaction is the only one that writes.
        let sql = per_engine!(
            self,
            concat!(select!(), " IN (SELECT value FROM json_each($2)) ORDER BY id"),
            concat!(
                select!(),
                " = ANY (ARRAY(SELECT json_array_elements_text($2::json))) ORDER BY id FOR NO KEY UPDATE"
            )
        );
        on!(self, |c| {
            let rows = sqlx::query(sql).bind(&*id).bind(json(&delegation_ids)).fetch_all(c).await?;
            rows.iter().map(locked).collect()
        })
    }

    /// Ends consents under delegations: a part of what stands and, of that part, what was used up. Says for each delegation under which there
    /// was any how many decisions that ended.
    pub async fn end_consents(
        &mut self,
        delegation_ids: &[&str],
        part: &Part,
        now: Timestamp,
    ) -> Result<BTreeMap<String, u64>> {
        // All that are not over, those of a client, or those whose time is over.
        macro_rules! end {
            ($narrowed:literal) => {
                one_of!(
                    self,
                    ["UPDATE consent SET ended_at = COALESCE(ended_at, $3), over_at = $3
                       WHERE issuer_id = $1 AND over_at IS NULL", $narrowed, " AND delegation_id"]
                    "$2" [" RETURNING delegation_id, mode, last_used_at"]
                )
            };
        }
        let id = self.issuer.clone();
        let ids = json(&delegation_ids);
        let (sql, client) = match part {
            Part::Whole => (end!(""), None),
            Part::OfClient(key) => (end!(" AND client_id = $4"), Some(key)),
            Part::Lapsed => (end!(" AND ended_at IS NULL AND until_at <= $3"), None),
        };
        let mut ended = BTreeMap::new();
        on!(self, |c| {
            let mut query = sqlx::query(sql).bind(&*id).bind(&ids).bind(now);
            if let Some(key) = client {
                query = query.bind(key);
            }
            for row in query.fetch_all(c).await? {
                // One for once that was used ended then.
                let used_up = row.text("mode")? == Mode::Once.as_str() && row.is_set("last_used_at")?;
                *ended.entry(row.text("delegation_id")?).or_insert(0) += u64::from(!used_up);
            }
        });
        Ok(ended)
    }

    /// Lets be over what was used up under delegations: a notice ends what anybody got.
    pub async fn end_used_up(&mut self, delegation_ids: &[&str], now: Timestamp) -> Result<()> {
        let id = self.issuer.clone();
        let sql = one_of!(
            self,
            ["UPDATE consent SET over_at = $3 WHERE issuer_id = $1 AND over_at IS NULL AND ended_at IS NOT NULL AND delegation_id"]
            "$2" [""]
        );
        on!(self, |c| {
            sqlx::query(sql).bind(&*id).bind(json(&delegation_ids)).bind(now).execute(c).await?;
            Ok(())
        })
    }

    /// Which delegations have a consent that still stands.
    pub async fn with_standing_consent(&mut self, delegation_ids: &[&str]) -> Result<BTreeSet<String>> {
        let id = self.issuer.clone();
        let sql = one_of!(
            self,
            ["SELECT DISTINCT delegation_id FROM consent WHERE issuer_id = $1 AND ended_at IS NULL AND delegation_id"] "$2" [""]
        );
        on!(self, |c| {
            let rows = sqlx::query(sql).bind(&*id).bind(json(&delegation_ids)).fetch_all(c).await?;
            rows.iter().map(|row| row.text("delegation_id")).collect()
        })
    }

    /// Ends delegations that are not over. Says how many those were.
    pub async fn end_delegations(&mut self, delegation_ids: &[&str], now: Timestamp) -> Result<u64> {
        let id = self.issuer.clone();
        let sql = one_of!(
            self,
            ["UPDATE delegation SET ended_at = $3 WHERE issuer_id = $1 AND ended_at IS NULL AND id"] "$2" [""]
        );
        on!(self, |c| {
            let done = sqlx::query(sql).bind(&*id).bind(json(&delegation_ids)).bind(now).execute(c).await?;
            Ok(done.rows_affected())
        })
    }

    /// Where services take notices, also those that are disabled, by their audiences.
    pub async fn receivers(&mut self, audiences: &BTreeSet<&str>) -> Result<BTreeMap<String, Vec<NoticeEndpoint>>> {
        let id = self.issuer.clone();
        let sql = one_of!(
            self,
            ["SELECT audience, notices FROM service WHERE issuer_id = $1 AND audience"] "$2" [""]
        );
        on!(self, |c| {
            let rows = sqlx::query(sql).bind(&*id).bind(json(&audiences)).fetch_all(c).await?;
            rows.iter().map(|row| Ok((row.text("audience")?, row.json("notices")?))).collect()
        })
    }

    /// Ends the notices of delegations that others of their format now stand for, but for those that are being sent. Their ids, by the
    /// delegation's.
    pub async fn cancel_notices(
        &mut self,
        of: &[(&str, Format)],
        now: Timestamp,
    ) -> Result<BTreeMap<String, Vec<String>>> {
        let id = self.issuer.clone();
        let sql = per_engine!(self, cancel!(sqlite), cancel!(postgres));
        let mut cancelled = BTreeMap::<String, Vec<String>>::new();
        on!(self, |c| {
            for row in sqlx::query(sql).bind(&*id).bind(json(&of)).bind(now).fetch_all(c).await? {
                cancelled.entry(row.text("delegation_id")?).or_default().push(row.text("id")?);
            }
        });
        Ok(cancelled)
    }
}

fn locked(r: &impl Columns) -> Result<LockedDelegation> {
    Ok(LockedDelegation {
        id: r.text("id")?,
        account_id: r.id("account_id")?,
        iss: r.text("iss")?,
        sub: r.id("sub")?,
        aud: r.text("aud")?,
        mint_count: r.int("mint_count")?,
        last_exp: r.time("last_exp")?,
        is_over: r.is_set("ended_at")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Connection, Database};

    /// What is on its way of others is not looked at.
    #[tokio::test]
    async fn notices_are_cancelled_by_the_index() {
        let folder = tempfile::TempDir::new().unwrap();
        let database = Database::sqlite(&folder.path().join("avouch.db")).await.unwrap();
        let mut tx = database.begin().await.unwrap();
        let Connection::Sqlite(c) = tx.0.connection() else { panic!("it is SQLite") };
        let sql = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", cancel!(sqlite)));
        let rows = sqlx::query(sql).bind("i").bind("[]").bind(0).fetch_all(&mut *c).await.unwrap();
        let steps: Vec<String> = rows.iter().map(|row| row.text("detail").unwrap()).collect();
        let index = "SEARCH delivery USING INDEX delivery_waiting (issuer_id=? AND delegation_id=?)";
        assert_eq!(steps.iter().filter(|step| step.contains("delivery")).collect::<Vec<_>>(), [index], "{steps:#?}");
    }
}

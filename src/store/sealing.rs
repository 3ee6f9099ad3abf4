//! Which sealing key seals, what each row is sealed by, and which servers have which key.

use super::{Columns, HostTx, Result, Tx, json, on, per_engine, word};
use crate::domain::ids::SealingKeyId;
use crate::domain::rotation::SigningAlg;
use crate::domain::sealing::{SealedKey, SealingState, Server};
use crate::domain::time::Timestamp;

const SEALED_BY_AFTER: &str = "SELECT MIN(sealed_by) AS id FROM signing_key WHERE sealed_by > $1";
const COUNT_SEALED_BY: &str = "SELECT COUNT(*) AS n FROM signing_key WHERE sealed_by = $1";
const RETIRE: &str = "UPDATE sealing_key SET state = 'retired', since = $1
  WHERE state = 'leaving' AND NOT EXISTS (SELECT 1 FROM signing_key k WHERE k.sealed_by = sealing_key.id) RETURNING id";

macro_rules! sealed_keys {
    ($lock:literal) => {
        concat!(
            "SELECT issuer_id, kid, alg, sealed FROM signing_key WHERE sealed_by = $1 AND (issuer_id, kid) > ($2, $3)
              ORDER BY issuer_id, kid LIMIT $4",
            $lock
        )
    };
}

fn server(r: &impl Columns) -> Result<Server> {
    Ok(Server {
        id: r.text("id")?,
        place: r.text("place")?,
        sealing_keys: r.json("sealing_keys")?,
        beats: r.int("beats")?,
    })
}

fn sealed_key(r: &impl Columns) -> Result<SealedKey> {
    Ok(SealedKey {
        issuer_id: r.text("issuer_id")?,
        kid: r.id("kid")?,
        alg: word(r, "alg", SigningAlg::parse)?,
        sealed: r.text("sealed")?,
    })
}

impl Tx {
    /// What is sealed in this transaction is sealed by this one. Read after whatever [`Tx::touch_issuer`] locks, it stays so until the end.
    pub async fn current_sealing_key(&mut self) -> Result<Option<SealingKeyId>> {
        on!(self, |c| {
            let row = sqlx::query("SELECT id FROM sealing_key WHERE state = 'current'").fetch_optional(c).await?;
            row.map(|r| r.id("id")).transpose()
        })
    }

    /// Writes the first sealing key of a database.
    pub async fn add_first_sealing_key(&mut self, id: &SealingKeyId, now: Timestamp) -> Result<()> {
        on!(self, |c| {
            let sql = "INSERT INTO sealing_key (id, state, since) VALUES ($1, 'current', $2)";
            sqlx::query(sql).bind(id).bind(now).execute(c).await?;
            Ok(())
        })
    }

    /// What a sealing key is to the database, if it was ever named there.
    pub async fn sealing_state(&mut self, id: &SealingKeyId) -> Result<Option<SealingState>> {
        on!(self, |c| {
            let row = sqlx::query("SELECT state FROM sealing_key WHERE id = $1").bind(id).fetch_optional(c).await?;
            row.map(|r| word(&r, "state", SealingState::parse)).transpose()
        })
    }

    /// Names the sealing key that is to follow, in the place of another that did not come to it. `false` when it is, or was, something else.
    pub async fn announce_sealing_key(&mut self, id: &SealingKeyId, now: Timestamp) -> Result<bool> {
        on!(self, |c| {
            let sql = "DELETE FROM sealing_key WHERE state = 'next' AND id <> $1";
            sqlx::query(sql).bind(id).execute(c).await?;
        });
        on!(self, |c| {
            let sql = "INSERT INTO sealing_key (id, state, since) VALUES ($1, 'next', $2) ON CONFLICT DO NOTHING";
            sqlx::query(sql).bind(id).bind(now).execute(c).await?;
        });
        Ok(self.sealing_state(id).await? == Some(SealingState::Next))
    }

    /// Lets the announced sealing key seal from the end of this transaction on. `false` when it is not announced.
    pub async fn switch_sealing_key(&mut self, id: &SealingKeyId, now: Timestamp) -> Result<bool> {
        on!(self, |c| {
            let sql = "UPDATE sealing_key SET state = 'leaving', since = $1 WHERE state = 'current'";
            sqlx::query(sql).bind(now).execute(c).await?;
        });
        on!(self, |c| {
            let sql = "UPDATE sealing_key SET state = 'current', since = $2 WHERE id = $1 AND state = 'next'";
            Ok(sqlx::query(sql).bind(id).bind(now).execute(c).await?.rows_affected() == 1)
        })
    }

    /// Lets the sealing keys go that open nothing any more, and says which those are.
    pub async fn retire_sealing_keys(&mut self, now: Timestamp) -> Result<Vec<SealingKeyId>> {
        on!(self, |c| {
            let rows = sqlx::query(RETIRE).bind(now).fetch_all(c).await?;
            rows.iter().map(|r| r.id("id")).collect()
        })
    }

    /// The servers that were heard of lately, by name.
    pub async fn servers(&mut self) -> Result<Vec<Server>> {
        on!(self, |c| {
            let rows =
                sqlx::query("SELECT id, place, sealing_keys, beats FROM server ORDER BY id").fetch_all(c).await?;
            rows.iter().map(server).collect()
        })
    }
}

impl HostTx {
    /// The sealing keys that are needed, or will be.
    pub async fn sealing_keys(&mut self) -> Result<Vec<(SealingKeyId, SealingState)>> {
        on!(self.0, |c| {
            let rows = sqlx::query("SELECT id, state FROM sealing_key WHERE state IN ('next', 'current', 'leaving')")
                .fetch_all(c)
                .await?;
            rows.iter().map(|r| Ok((r.id("id")?, word(r, "state", SealingState::parse)?))).collect()
        })
    }

    /// The servers that were heard of lately, by name.
    pub async fn servers(&mut self) -> Result<Vec<Server>> {
        self.0.servers().await
    }

    /// The first of the names that rows are sealed by, after another.
    pub async fn sealed_by_after(&mut self, after: &str) -> Result<Option<SealingKeyId>> {
        on!(self.0, |c| { sqlx::query(SEALED_BY_AFTER).bind(after).fetch_one(c).await?.maybe_id("id") })
    }

    /// How many keys a sealing key opens.
    pub async fn count_sealed_by(&mut self, id: &SealingKeyId) -> Result<i64> {
        on!(self.0, |c| { sqlx::query(COUNT_SEALED_BY).bind(id).fetch_one(c).await?.int("n") })
    }

    /// At most `limit` keys that a sealing key opens, by issuer and name after those of another. In a transaction they stay as they are until
    /// its end; one that somebody else is about to change is left out, so that nobody waits for whoever waits for him.
    pub async fn sealed_keys(
        &mut self,
        id: &SealingKeyId,
        (issuer_id, kid): (&str, &str),
        limit: i64,
    ) -> Result<Vec<SealedKey>> {
        let sql = per_engine!(self.0, sealed_keys!(""), sealed_keys!(" FOR NO KEY UPDATE SKIP LOCKED"));
        on!(self.0, |c| {
            let rows = sqlx::query(sql).bind(id).bind(issuer_id).bind(kid).bind(limit).fetch_all(c).await?;
            rows.iter().map(sealed_key).collect()
        })
    }

    /// Writes a key that is sealed by another sealing key. `false` when it is not as it was read.
    pub async fn reseal_key(&mut self, read: &SealedKey, sealed: &str, by: &SealingKeyId) -> Result<bool> {
        on!(self.0, |c| {
            let done = sqlx::query(
                "UPDATE signing_key SET sealed = $4, sealed_by = $5 WHERE kid = $1 AND issuer_id = $2 AND sealed = $3",
            )
            .bind(&read.kid)
            .bind(&read.issuer_id)
            .bind(&read.sealed)
            .bind(sealed)
            .bind(by)
            .execute(c)
            .await?;
            Ok(done.rows_affected() == 1)
        })
    }

    /// A server says that it runs, and which sealing keys it has.
    pub async fn server_runs(&mut self, id: &str, place: &str, keys: &[SealingKeyId], now: Timestamp) -> Result<()> {
        let keys = json(&keys);
        on!(self.0, |c| {
            sqlx::query(
                "INSERT INTO server (id, place, sealing_keys, beats, seen_at) VALUES ($1, $2, $3, 1, $4)
                 ON CONFLICT (id) DO UPDATE SET sealing_keys = $3, beats = server.beats + 1, seen_at = $4",
            )
            .bind(id)
            .bind(place)
            .bind(&keys)
            .bind(now)
            .execute(c)
            .await?;
            Ok(())
        })
    }

    /// A server has ended. Says nothing where it was not known to run.
    pub async fn server_ended(&mut self, id: &str) -> Result<()> {
        on!(self.0, |c| {
            sqlx::query("DELETE FROM server WHERE id = $1").bind(id).execute(c).await?;
            Ok(())
        })
    }

    /// All servers have ended, whatever was last heard of them.
    pub async fn no_server_runs(&mut self) -> Result<()> {
        on!(self.0, |c| {
            sqlx::query("DELETE FROM server").execute(c).await?;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Connection, Database};

    /// What other sealing keys open is not looked at, nor what other issuers have before.
    #[tokio::test]
    async fn sealed_keys_are_found_by_their_index() {
        let folder = tempfile::TempDir::new().unwrap();
        let database = Database::sqlite(&folder.path().join("avouch.db")).await.unwrap();
        let mut tx = database.begin().await.unwrap();
        let Connection::Sqlite(c) = tx.0.connection() else { panic!("it is SQLite") };
        for (sql, values) in [(SEALED_BY_AFTER, 1), (COUNT_SEALED_BY, 1), (sealed_keys!(""), 4), (RETIRE, 1)] {
            let mut explain = sqlx::query(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")));
            for _ in 0..values {
                explain = explain.bind("1");
            }
            let rows = explain.fetch_all(&mut *c).await.unwrap();
            let steps: Vec<String> = rows.iter().map(|row| row.text("detail").unwrap()).collect();
            let step =
                steps.iter().find(|step| step.contains("signing_key_sealed")).unwrap_or_else(|| panic!("{steps:?}"));
            assert!(step.starts_with("SEARCH"), "{steps:?}");
            assert!(!steps.iter().any(|step| step.contains("TEMP B-TREE")), "{steps:?}");
            if values == 4 {
                assert!(step.contains("(sealed_by=? AND (issuer_id,kid)>(?,?))"), "{steps:?}");
            }
        }
    }
}

//! The count of failed sign-ins.

use super::{Columns, Result, Tx, on};
use crate::domain::time::{Seconds, Timestamp};

impl Tx {
    /// Counts an attempt under a name, before its outcome is known, and says the how-manieth it is and until when nobody may try.
    /// Attempts older than `forget` no longer count, nor those as far ahead, which a wrong clock has counted. One statement: a look at the block before it would, on PostgreSQL, miss
    /// the block of an attempt that is counted at the same time.
    pub async fn count_attempt(&mut self, name: &str, now: Timestamp, forget: Seconds) -> Result<(i64, Timestamp)> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let row = sqlx::query(
                "INSERT INTO throttle (issuer_id, name, failures, failed_at, blocked_until) VALUES ($1, $2, 1, $3, 0)
                 ON CONFLICT (issuer_id, name) DO UPDATE
                    SET failures = CASE WHEN throttle.failed_at < $4 OR throttle.failed_at > $5 THEN 1 ELSE throttle.failures + 1 END, failed_at = $3
                 RETURNING failures, blocked_until",
            )
            .bind(&*id)
            .bind(name)
            .bind(now)
            .bind(now - forget)
            .bind(now + forget)
            .fetch_one(c)
            .await?;
            Ok((row.int("failures")?, row.time("blocked_until")?))
        })
    }

    /// Lets nobody try under a name before a time.
    pub async fn block(&mut self, name: &str, until: Timestamp) -> Result<()> {
        let id = self.issuer.clone();
        on!(self, |c| {
            sqlx::query("UPDATE throttle SET blocked_until = $3 WHERE issuer_id = $1 AND name = $2")
                .bind(&*id)
                .bind(name)
                .bind(until)
                .execute(c)
                .await?;
            Ok(())
        })
    }

    /// Takes one attempt under a name back: it succeeded. With `all`, forgets the failures before it as well.
    pub async fn forgive(&mut self, name: &str, all: bool) -> Result<()> {
        let id = self.issuer.clone();
        on!(self, |c| {
            sqlx::query(
                "UPDATE throttle SET failures = CASE WHEN $3 = 1 OR failures < 1 THEN 0 ELSE failures - 1 END, blocked_until = 0
                  WHERE issuer_id = $1 AND name = $2",
            )
            .bind(&*id)
            .bind(name)
            .bind(i64::from(all))
            .execute(c)
            .await?;
            Ok(())
        })
    }
}

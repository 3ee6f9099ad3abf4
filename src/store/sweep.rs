//! Housekeeping: rows that can no longer matter to anyone. The journal and the records are never swept.

use super::{Columns as _, HostTx, Result, json, on, per_engine};
use crate::domain::time::{Seconds, Timestamp};

/// What is swept: a table, and which of its rows are over, given a time.
pub const SWEPT: [Swept; 9] = [
    Swept("used_jti", "expires_at < $1", DAY),
    Swept("access_token", "expires_at < $1", DAY),
    Swept("authorization_code", "expires_at < $1", DAY),
    Swept("refresh_token", "expires_at < $1", DAY),
    // Nothing is counted together for longer, and whoever guesses from many addresses makes many.
    Swept("throttle", "failed_at < $1 AND blocked_until < $1", HOUR),
    // One that runs is heard of every few seconds, and writes itself down again.
    Swept("server", "seen_at < $1", HOUR),
    Swept("ticket", "expires_at < $1", DAY),
    Swept("key_fetch", "last_at < $1", FORTNIGHT),
    // After its tokens.
    Swept(
        "token_family",
        "expires_at < $1 AND NOT EXISTS (SELECT 1 FROM authorization_code t WHERE t.family_id = token_family.id)
         AND NOT EXISTS (SELECT 1 FROM access_token t WHERE t.family_id = token_family.id)
         AND NOT EXISTS (SELECT 1 FROM refresh_token t WHERE t.family_id = token_family.id)",
        DAY,
    ),
];

const HOUR: Seconds = Seconds(3600);
const DAY: Seconds = Seconds(86_400);
const FORTNIGHT: Seconds = Seconds(14 * 86_400);

/// A table, a condition, and how long rows stay that are over.
#[derive(Clone, Copy, Debug)]
pub struct Swept(&'static str, &'static str, Seconds);

impl HostTx {
    /// Deletes at most `limit` rows of a table that have been over for long enough, and says how many it were. A used refresh token stays as
    /// long as it would have been valid, since its reuse ends its family.
    pub async fn sweep(&mut self, Swept(table, over, kept): Swept, now: Timestamp, limit: i64) -> Result<u64> {
        let row = per_engine!(self.0, "rowid", "ctid");
        let sql = format!("DELETE FROM {table} WHERE {row} IN (SELECT {row} FROM {table} WHERE {over} LIMIT $2)");
        on!(self.0, |c| {
            let done = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(now - kept).bind(limit).execute(c).await?;
            Ok(done.rows_affected())
        })
    }

    /// Sessions that expired more than a day ago and that no tokens rest on, at most `limit`. Looked for apart from their deletion: of very
    /// many that tokens outlive, it has to pass by each.
    pub async fn sessions_over(&mut self, now: Timestamp, limit: i64) -> Result<Vec<String>> {
        on!(self.0, |c| {
            let rows = sqlx::query(
                "SELECT id FROM session WHERE expires_at < $1
                    AND NOT EXISTS (SELECT 1 FROM token_family f WHERE f.session_id = session.id) LIMIT $2",
            )
            .bind(now - DAY)
            .bind(limit)
            .fetch_all(c)
            .await?;
            rows.iter().map(|row| row.text("id")).collect()
        })
    }

    /// Deletes what [`HostTx::sessions_over`] has found, and says how many they were.
    pub async fn delete_sessions(&mut self, ids: &[String]) -> Result<u64> {
        let sql = per_engine!(
            self.0,
            "DELETE FROM session WHERE id IN (SELECT value FROM json_each($1))",
            "DELETE FROM session WHERE id IN (SELECT json_array_elements_text($1::json))"
        );
        let ids = json(&ids);
        on!(self.0, |c| Ok(sqlx::query(sql).bind(&ids).execute(c).await?.rows_affected()))
    }
}

//! Housekeeping: rows that can no longer matter to anyone. The journal and the records are never swept.

use super::{HostTx, Result, on, per_engine};
use crate::domain::time::{Seconds, Timestamp};

/// What is swept: a table, and which of its rows are over, given a time.
pub const SWEPT: [Swept; 6] = [
    Swept("used_jti", "expires_at < $1"),
    Swept("access_token", "expires_at < $1"),
    Swept("authorization_code", "expires_at < $1"),
    Swept("refresh_token", "expires_at < $1"),
    Swept("throttle", "failed_at < $1 AND blocked_until < $1"),
    Swept("ticket", "expires_at < $1"),
];

/// How long rows stay that are over.
const KEPT: Seconds = Seconds(86_400);

/// A table and a condition.
#[derive(Clone, Copy, Debug)]
pub struct Swept(&'static str, &'static str);

impl HostTx {
    /// Deletes at most `limit` rows of a table that expired more than a day ago, and says how many it were. A used refresh token stays as
    /// long as it would have been valid, since its reuse ends its family.
    pub async fn sweep(&mut self, Swept(table, over): Swept, now: Timestamp, limit: i64) -> Result<u64> {
        let row = per_engine!(self.0, "rowid", "ctid");
        let sql = format!("DELETE FROM {table} WHERE {row} IN (SELECT {row} FROM {table} WHERE {over} LIMIT $2)");
        on!(self.0, |c| {
            let done = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(now - KEPT).bind(limit).execute(c).await?;
            Ok(done.rows_affected())
        })
    }
}

//! Housekeeping: rows that can no longer matter to anyone. The journal and the records are never swept.

use super::{HostTx, Result, on};

impl HostTx {
    /// Deletes what expired more than a day ago, and says how many rows that were. A used refresh token stays as long as it would have
    /// been valid, since its reuse ends its family.
    pub async fn sweep(&mut self, now: i64) -> Result<u64> {
        let before = now - 86_400;
        let mut swept = 0;
        for sql in [
            "DELETE FROM used_jti WHERE expires_at < $1",
            "DELETE FROM access_token WHERE expires_at < $1",
            "DELETE FROM authorization_code WHERE expires_at < $1",
            "DELETE FROM refresh_token WHERE expires_at < $1",
            "DELETE FROM throttle WHERE failed_at < $1 AND blocked_until < $1",
            "DELETE FROM ticket WHERE expires_at < $1",
        ] {
            swept += on!(self.0, |c| sqlx::query(sql).bind(before).execute(c).await?.rows_affected());
        }
        Ok(swept)
    }
}

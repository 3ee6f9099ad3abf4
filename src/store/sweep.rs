//! Housekeeping: rows that can no longer matter to anyone. The journal and the records are never swept.

use super::{Result, Tx, on};

impl Tx {
    /// Deletes what expired more than a day ago, and says how many rows that were. A used refresh token stays as long as it would have
    /// been valid, since its reuse ends its family.
    pub async fn sweep(&mut self, now: i64) -> Result<u64> {
        let id = self.issuer.clone();
        let before = now - 86_400;
        let mut swept = 0;
        for sql in [
            "DELETE FROM used_jti WHERE issuer_id = $1 AND expires_at < $2",
            "DELETE FROM access_token WHERE issuer_id = $1 AND expires_at < $2",
            "DELETE FROM authorization_code WHERE issuer_id = $1 AND expires_at < $2",
            "DELETE FROM refresh_token WHERE issuer_id = $1 AND expires_at < $2",
            "DELETE FROM throttle WHERE issuer_id = $1 AND failed_at < $2 AND blocked_until < $2",
            "DELETE FROM ticket WHERE issuer_id = $1 AND expires_at < $2",
        ] {
            swept += on!(self, |c| sqlx::query(sql).bind(&*id).bind(before).execute(c).await?.rows_affected());
        }
        Ok(swept)
    }
}

//! Issuers.

use super::{Columns as _, Result, Tx, on};

impl Tx {
    /// URL and hash of the admin token of this issuer, if the database knows it.
    pub async fn issuer(&mut self) -> Result<Option<(String, String)>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let row = sqlx::query("SELECT url, admin_token_hash FROM issuer WHERE id = $1")
                .bind(&*id)
                .fetch_optional(c)
                .await?;
            row.map(|r| Ok((r.text("url")?, r.text("admin_token_hash")?))).transpose()
        })
    }

    /// Writes the issuer's row. `false` when another process was first.
    pub async fn found_issuer(&mut self, url: &str, admin_token_hash: &str, now: i64) -> Result<bool> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let done = sqlx::query("INSERT INTO issuer (id, url, admin_token_hash, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING")
                .bind(&*id).bind(url).bind(admin_token_hash).bind(now).execute(c).await?;
            Ok(done.rows_affected() == 1)
        })
    }
}

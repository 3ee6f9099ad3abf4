//! Signing keys: sealed rows whose `state` says what they are for.

use super::{Columns as _, HostTx, Result, Tx, on, word};
use crate::domain::ids::Kid;
use crate::domain::rotation::KeyState;
use crate::domain::time::Timestamp;

/// A key's row.
#[derive(Debug)]
pub struct KeyRow {
    /// RFC 7638 thumbprint.
    pub kid: Kid,
    /// Pending, active or retiring: the published ones.
    pub state: KeyState,
    /// The public half, as JSON.
    pub public_jwk: String,
    /// The private half, sealed.
    pub sealed: String,
}

impl Tx {
    /// The published keys, the oldest first.
    pub async fn published_keys(&mut self) -> Result<Vec<KeyRow>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let rows = sqlx::query(
                "SELECT kid, state, public_jwk, sealed FROM signing_key
                  WHERE issuer_id = $1 AND state IN ('pending', 'active', 'retiring') ORDER BY created_at, kid",
            )
            .bind(&*id)
            .fetch_all(c)
            .await?;
            rows.iter()
                .map(|r| {
                    Ok(KeyRow {
                        kid: r.id("kid")?,
                        state: word(r, "state", KeyState::parse)?,
                        public_jwk: r.text("public_jwk")?,
                        sealed: r.text("sealed")?,
                    })
                })
                .collect()
        })
    }

    /// Writes a key that signs from now on. `false` when there is an active one already.
    pub async fn add_active_key(&mut self, kid: &Kid, public_jwk: &str, sealed: &str, now: Timestamp) -> Result<bool> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let done = sqlx::query(
                "INSERT INTO signing_key (kid, issuer_id, alg, state, public_jwk, sealed, created_at, activated_at)
                 VALUES ($1, $2, 'ES256', 'active', $3, $4, $5, $5) ON CONFLICT DO NOTHING",
            )
            .bind(kid)
            .bind(&*id)
            .bind(public_jwk)
            .bind(sealed)
            .bind(now)
            .execute(c)
            .await?;
            Ok(done.rows_affected() == 1)
        })
    }
}

impl HostTx {
    /// Since when the oldest key of all issuers signs.
    pub async fn oldest_active_key(&mut self) -> Result<Option<Timestamp>> {
        on!(self.0, |c| {
            let row = sqlx::query("SELECT MIN(activated_at) AS at FROM signing_key WHERE state = 'active'")
                .fetch_one(c)
                .await?;
            row.maybe_time("at")
        })
    }
}

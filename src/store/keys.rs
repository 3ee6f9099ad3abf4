//! Signing keys: sealed rows whose `state` says what they are for.

use super::{Columns, HostTx, Result, Tx, on, word};
use crate::domain::ids::{Kid, SealingKeyId};
use crate::domain::rotation::{Key, KeyState, SigningAlg};
use crate::domain::time::Timestamp;

/// A published key's row.
#[derive(Clone, Debug)]
pub struct KeyRow {
    /// What is known of it.
    pub key: Key,
    /// The public half, as JSON.
    pub public_jwk: String,
    /// The private half, sealed.
    pub sealed: String,
    /// By which sealing key.
    pub sealed_by: SealingKeyId,
}

/// A key to write.
#[derive(Debug)]
pub struct NewKey<'a> {
    /// RFC 7638 thumbprint.
    pub kid: &'a Kid,
    /// What it signs with.
    pub alg: SigningAlg,
    /// The public half, as JSON.
    pub public_jwk: &'a str,
    /// The private half, sealed.
    pub sealed: &'a str,
    /// By which sealing key.
    pub sealed_by: &'a SealingKeyId,
}

macro_rules! key_columns {
    () => {
        "kid, alg, state, created_at, activated_at, rotates_from, retired_at, ended_at, reason"
    };
}

fn key(r: &impl Columns) -> Result<Key> {
    Ok(Key {
        kid: r.id("kid")?,
        alg: word(r, "alg", SigningAlg::parse)?,
        state: word(r, "state", KeyState::parse)?,
        created_at: r.time("created_at")?,
        activated_at: r.maybe_time("activated_at")?,
        rotates_from: r.maybe_time("rotates_from")?,
        retired_at: r.maybe_time("retired_at")?,
        ended_at: r.maybe_time("ended_at")?,
        reason: r.maybe_text("reason")?,
    })
}

fn key_row(r: &impl Columns) -> Result<KeyRow> {
    Ok(KeyRow {
        key: key(r)?,
        public_jwk: r.text("public_jwk")?,
        sealed: r.text("sealed")?,
        sealed_by: r.id("sealed_by")?,
    })
}

impl Tx {
    /// The published keys, the oldest first.
    pub async fn published_keys(&mut self) -> Result<Vec<KeyRow>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let rows = sqlx::query(concat!(
                "SELECT ",
                key_columns!(),
                ", public_jwk, sealed, sealed_by FROM signing_key
                  WHERE issuer_id = $1 AND state IN ('pending', 'active', 'retiring') ORDER BY created_at, kid"
            ))
            .bind(&*id)
            .fetch_all(c)
            .await?;
            rows.iter().map(key_row).collect()
        })
    }

    /// All keys there ever were, the newest first; at most `limit` of those that have ended.
    pub async fn keys(&mut self, limit: i64) -> Result<Vec<Key>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let rows = sqlx::query(concat!(
                "SELECT ",
                key_columns!(),
                " FROM signing_key WHERE issuer_id = $1 ORDER BY CASE WHEN ended_at IS NULL THEN 0 ELSE 1 END, created_at DESC, kid LIMIT $2"
            ))
            .bind(&*id)
            .bind(limit)
            .fetch_all(c)
            .await?;
            rows.iter().map(key).collect()
        })
    }

    /// The public half of a key of this issuer, whatever became of it.
    pub async fn public_key(&mut self, kid: &Kid) -> Result<Option<String>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let row = sqlx::query("SELECT public_jwk FROM signing_key WHERE kid = $1 AND issuer_id = $2")
                .bind(kid)
                .bind(&*id)
                .fetch_optional(c)
                .await?;
            row.map(|r| r.text("public_jwk")).transpose()
        })
    }

    /// Whether a key signs.
    pub async fn key_signs(&mut self, kid: &Kid) -> Result<bool> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let row = sqlx::query("SELECT kid FROM signing_key WHERE kid = $1 AND issuer_id = $2 AND state = 'active'")
                .bind(kid)
                .bind(&*id)
                .fetch_optional(c)
                .await?;
            Ok(row.is_some())
        })
    }

    /// When a key of this issuer was revoked last.
    pub async fn last_revocation(&mut self) -> Result<Option<Timestamp>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let sql = "SELECT MAX(ended_at) AS at FROM signing_key WHERE issuer_id = $1 AND state = 'revoked'";
            sqlx::query(sql).bind(&*id).fetch_one(c).await?.maybe_time("at")
        })
    }

    /// Publishes a key that does not sign yet. `false` when there is such a key already, or another one is pending.
    pub async fn add_pending_key(&mut self, new: &NewKey<'_>, now: Timestamp) -> Result<bool> {
        let id = self.issuer.clone();
        let added = on!(self, |c| {
            sqlx::query(
                "INSERT INTO signing_key (kid, issuer_id, alg, state, public_jwk, sealed, sealed_by, created_at, succeeded)
                 VALUES ($1, $2, $3, 'pending', $4, $5, $6, $7, 0) ON CONFLICT DO NOTHING",
            )
            .bind(new.kid)
            .bind(&*id)
            .bind(new.alg.as_str())
            .bind(new.public_jwk)
            .bind(new.sealed)
            .bind(new.sealed_by)
            .bind(now)
            .execute(c)
            .await?
            .rows_affected()
        });
        self.set_succeeded(new.alg, true).await?;
        Ok(added == 1)
    }

    async fn set_succeeded(&mut self, alg: SigningAlg, succeeded: bool) -> Result<()> {
        let id = self.issuer.clone();
        on!(self, |c| {
            sqlx::query("UPDATE signing_key SET succeeded = $3 WHERE issuer_id = $1 AND alg = $2 AND state = 'active'")
                .bind(&*id)
                .bind(alg.as_str())
                .bind(i64::from(succeeded))
                .execute(c)
                .await?;
            Ok(())
        })
    }

    /// Lets a pending key sign; its age counts from `rotates_from`. `false` when it is not pending, or another one signs.
    pub async fn activate_key(&mut self, kid: &Kid, rotates_from: Timestamp, now: Timestamp) -> Result<bool> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let done = sqlx::query(
                "UPDATE signing_key SET state = 'active', activated_at = $3, rotates_from = $4, succeeded = 0
                  WHERE kid = $1 AND issuer_id = $2 AND state = 'pending'",
            )
            .bind(kid)
            .bind(&*id)
            .bind(now)
            .bind(rotates_from)
            .execute(c)
            .await?;
            Ok(done.rows_affected() == 1)
        })
    }

    /// Lets an active key sign no more. `false` when it does not sign.
    pub async fn retire_key(&mut self, kid: &Kid, now: Timestamp) -> Result<bool> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let done = sqlx::query(
                "UPDATE signing_key SET state = 'retiring', retired_at = $3 WHERE kid = $1 AND issuer_id = $2 AND state = 'active'",
            )
            .bind(kid)
            .bind(&*id)
            .bind(now)
            .execute(c)
            .await?;
            Ok(done.rows_affected() == 1)
        })
    }

    /// Takes a key that stands at `from` out of the key set, for good: its private half is destroyed. `false` when it does not stand there.
    pub async fn end_key(&mut self, key: &Key, to: KeyState, reason: Option<&str>, now: Timestamp) -> Result<bool> {
        let id = self.issuer.clone();
        let ended = on!(self, |c| {
            sqlx::query(
                "UPDATE signing_key SET state = $4, sealed = NULL, sealed_by = NULL, ended_at = $5, reason = $6
                  WHERE kid = $1 AND issuer_id = $2 AND state = $3",
            )
            .bind(&key.kid)
            .bind(&*id)
            .bind(key.state.as_str())
            .bind(to.as_str())
            .bind(now)
            .bind(reason)
            .execute(c)
            .await?
            .rows_affected()
        });
        if key.state == KeyState::Pending {
            self.set_succeeded(key.alg, false).await?;
        }
        Ok(ended == 1)
    }
}

/// The issuers of keys of which something is to be done, and with which algorithm.
type Due = Vec<(String, SigningAlg)>;

impl HostTx {
    /// Those whose active key's age counts from `before` or earlier: without a pending one beside it, or with one that is published since
    /// `published` or earlier.
    pub async fn keys_to_rotate(&mut self, published: Option<Timestamp>, before: Timestamp, limit: i64) -> Result<Due> {
        on!(self.0, |c| {
            let rows = sqlx::query(
                "SELECT issuer_id, alg FROM signing_key k WHERE state = 'active' AND succeeded = $1 AND rotates_from <= $2
                    AND ($1 = 0 OR EXISTS (SELECT 1 FROM signing_key p WHERE p.issuer_id = k.issuer_id AND p.alg = k.alg
                                              AND p.state = 'pending' AND p.created_at <= $3))
                  ORDER BY rotates_from LIMIT $4",
            )
            .bind(i64::from(published.is_some()))
            .bind(before)
            .bind(published)
            .bind(limit)
            .fetch_all(c)
            .await?;
            rows.iter().map(due).collect()
        })
    }

    /// Those with a key that retired before `before`.
    pub async fn keys_to_remove(&mut self, before: Timestamp, limit: i64) -> Result<Due> {
        on!(self.0, |c| {
            let rows = sqlx::query(
                "SELECT issuer_id, alg FROM signing_key WHERE state = 'retiring' AND retired_at <= $1 ORDER BY retired_at LIMIT $2",
            )
            .bind(before)
            .bind(limit)
            .fetch_all(c)
            .await?;
            rows.iter().map(due).collect()
        })
    }

    /// Since when the oldest key of all issuers signs.
    pub async fn oldest_active_key(&mut self) -> Result<Option<Timestamp>> {
        on!(self.0, |c| {
            let row = sqlx::query("SELECT MIN(activated_at) AS at FROM signing_key WHERE state = 'active'")
                .fetch_one(c)
                .await?;
            row.maybe_time("at")
        })
    }

    /// What the oldest key of all issuers counts its age from.
    pub async fn first_to_rotate(&mut self) -> Result<Option<Timestamp>> {
        on!(self.0, |c| {
            let row = sqlx::query(
                "SELECT MIN(rotates_from) AS at FROM (
                    SELECT MIN(rotates_from) AS rotates_from FROM signing_key WHERE state = 'active' AND succeeded = 0
                    UNION ALL SELECT MIN(rotates_from) FROM signing_key WHERE state = 'active' AND succeeded = 1) AS firsts",
            )
            .fetch_one(c)
            .await?;
            row.maybe_time("at")
        })
    }
}

fn due(r: &impl Columns) -> Result<(String, SigningAlg)> {
    Ok((r.text("issuer_id")?, word(r, "alg", SigningAlg::parse)?))
}

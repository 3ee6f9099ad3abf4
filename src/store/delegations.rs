//! Delegations: one row per user and audience.

use super::{Columns, HostTx, Result, Tx, on};
use crate::domain::delegation::{Delegation, Filter, Status};
use crate::domain::ids::{AccountId, ClientKey, Subject};
use crate::domain::time::Timestamp;

macro_rules! delegation_query {
    ($rest:literal) => {
        concat!(
            "SELECT d.id, d.account_id, d.iss, d.sub, d.aud, d.created_at, d.last_used_at, d.mint_count, d.last_exp, d.ended_at,
                    (SELECT COALESCE(k.client_name, k.client_id) FROM client k WHERE k.id = d.last_client_id) AS last_client,
                    (SELECT COUNT(*) FROM delivery o WHERE o.delegation_id = d.id AND o.state = 'queued') AS pending_notices
               FROM delegation d WHERE d.issuer_id = $1 AND ",
            $rest
        )
    };
}

fn delegation(r: &impl Columns) -> Result<Delegation> {
    Ok(Delegation {
        id: r.text("id")?,
        account_id: r.id("account_id")?,
        iss: r.text("iss")?,
        sub: r.id("sub")?,
        aud: r.text("aud")?,
        created_at: r.time("created_at")?,
        last_used_at: r.maybe_time("last_used_at")?,
        last_client: r.maybe_text("last_client")?,
        mint_count: r.int("mint_count")?,
        last_exp: r.time("last_exp")?,
        ended_at: r.maybe_time("ended_at")?,
        pending_notices: r.int("pending_notices")?,
    })
}

impl Tx {
    /// A delegation by its name.
    pub async fn delegation(&mut self, delegation_id: &str) -> Result<Option<Delegation>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let row =
                sqlx::query(delegation_query!("d.id = $2")).bind(&*id).bind(delegation_id).fetch_optional(c).await?;
            row.map(|r| delegation(&r)).transpose()
        })
    }

    /// The delegation of a user at a service.
    pub async fn delegation_for(&mut self, account_id: &AccountId, aud: &str) -> Result<Option<Delegation>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let row = sqlx::query(delegation_query!("d.account_id = $2 AND d.aud = $3"))
                .bind(&*id)
                .bind(account_id)
                .bind(aud)
                .fetch_optional(c)
                .await?;
            row.map(|r| delegation(&r)).transpose()
        })
    }

    /// A user's delegations, the newest first.
    pub async fn latest_delegations(&mut self, account_id: &AccountId, limit: i64) -> Result<Vec<Delegation>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let rows = sqlx::query(delegation_query!("d.account_id = $2 ORDER BY d.id DESC LIMIT $3"))
                .bind(&*id)
                .bind(account_id)
                .bind(limit)
                .fetch_all(c)
                .await?;
            rows.iter().map(delegation).collect()
        })
    }

    /// A page of delegations, by id.
    pub async fn delegations(&mut self, filter: Filter<'_>) -> Result<Vec<Delegation>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let rows = sqlx::query(delegation_query!(
                "($2 IS NULL OR d.account_id = $2) AND ($3 IS NULL OR d.sub = $3) AND ($4 IS NULL OR d.aud = $4)
                 AND ($5 IS NULL OR EXISTS (SELECT 1 FROM consent s JOIN client k ON k.id = s.client_id
                                             WHERE s.delegation_id = d.id AND k.client_id = $5))
                 AND ($6 IS NULL OR $6 = CASE WHEN d.ended_at IS NULL THEN 'active'
                        WHEN EXISTS (SELECT 1 FROM delivery o WHERE o.delegation_id = d.id AND o.state = 'queued') THEN 'withdrawing'
                        ELSE 'withdrawn' END)
                 AND ($7 IS NULL OR d.id > $7)
               ORDER BY d.id LIMIT $8"
            ))
            .bind(&*id)
            .bind(filter.account_id)
            .bind(filter.sub)
            .bind(filter.aud)
            .bind(filter.client_id)
            .bind(filter.status.map(Status::as_str))
            .bind(filter.after)
            .bind(filter.limit)
            .fetch_all(c)
            .await?;
            rows.iter().map(delegation).collect()
        })
    }

    /// The delegation of a user at a service, made or made active again; `iss` and `sub` count only for a new one.
    pub async fn open_delegation(
        &mut self,
        new_id: &str,
        account_id: &AccountId,
        iss: &str,
        sub: &Subject,
        aud: &str,
        now: Timestamp,
    ) -> Result<String> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let row = sqlx::query(
                "INSERT INTO delegation (id, issuer_id, account_id, iss, sub, aud, created_at, mint_count, last_exp)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, 0, 0)
                 ON CONFLICT (issuer_id, account_id, aud) DO UPDATE SET ended_at = NULL
                 RETURNING id",
            )
            .bind(new_id)
            .bind(&*id)
            .bind(account_id)
            .bind(iss)
            .bind(sub)
            .bind(aud)
            .bind(now)
            .fetch_one(c)
            .await?;
            row.text("id")
        })
    }

    /// Locks a delegation for a withdrawal, before its consents: every multi-row lock is taken in that order. Its last `exp` is final
    /// from here on, since a mint locks the same row.
    pub async fn lock_delegation(&mut self, delegation_id: &str) -> Result<Option<Delegation>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            // An update that changes nothing is a lock both engines know.
            sqlx::query("UPDATE delegation SET mint_count = mint_count WHERE issuer_id = $1 AND id = $2")
                .bind(&*id)
                .bind(delegation_id)
                .execute(c)
                .await?;
        });
        self.delegation(delegation_id).await
    }

    /// Ends a delegation. `false` when it was over.
    pub async fn end_delegation(&mut self, delegation_id: &str, now: Timestamp) -> Result<bool> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let done = sqlx::query(
                "UPDATE delegation SET ended_at = $3 WHERE issuer_id = $1 AND id = $2 AND ended_at IS NULL",
            )
            .bind(&*id)
            .bind(delegation_id)
            .bind(now)
            .execute(c)
            .await?;
            Ok(done.rows_affected() == 1)
        })
    }

    /// (id, audience) of the delegations with a standing consent of a client, by id.
    pub async fn delegations_of_client(&mut self, client: &ClientKey) -> Result<Vec<(String, String)>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let rows = sqlx::query(
                "SELECT DISTINCT delegation_id, aud FROM consent
                  WHERE issuer_id = $1 AND client_id = $2 AND ended_at IS NULL AND delegation_id IS NOT NULL ORDER BY delegation_id",
            )
            .bind(&*id)
            .bind(client)
            .fetch_all(c)
            .await?;
            rows.iter().map(|r| Ok((r.text("delegation_id")?, r.text("aud")?))).collect()
        })
    }

    /// The active delegations of a user, of a service, or of both, by id.
    pub async fn active_delegations(
        &mut self,
        account_id: Option<&AccountId>,
        aud: Option<&str>,
    ) -> Result<Vec<Delegation>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let rows = sqlx::query(delegation_query!(
                "($2 IS NULL OR d.account_id = $2) AND ($3 IS NULL OR d.aud = $3) AND d.ended_at IS NULL ORDER BY d.id"
            ))
            .bind(&*id)
            .bind(account_id)
            .bind(aud)
            .fetch_all(c)
            .await?;
            rows.iter().map(delegation).collect()
        })
    }
}

impl HostTx {
    /// (Our key of the issuer, id) of the delegations that have a consent whose time is over, those first that are over for longest.
    /// At most `limit`, after the first `passed`; one may come twice.
    pub async fn lapsed_delegations(
        &mut self,
        now: Timestamp,
        passed: i64,
        limit: i64,
    ) -> Result<Vec<(String, String)>> {
        on!(self.0, |c| {
            let rows = sqlx::query(
                "SELECT issuer_id, delegation_id FROM consent
                  WHERE ended_at IS NULL AND until_at IS NOT NULL AND until_at <= $1 AND delegation_id IS NOT NULL
                  ORDER BY until_at, id LIMIT $2 OFFSET $3",
            )
            .bind(now)
            .bind(limit)
            .bind(passed)
            .fetch_all(c)
            .await?;
            rows.iter().map(|r| Ok((r.text("issuer_id")?, r.text("delegation_id")?))).collect()
        })
    }
}

//! Consents to an audience: written once; only their use and their end come later.

use std::collections::BTreeMap;

use super::json_row::{list, one_of};
use super::{Columns, Consent, Result, Tx, json, on};
use crate::domain::consent::Mode;
use crate::domain::disclosure::ClaimSet;
use crate::domain::ids::{AccountId, ClientKey};
use crate::domain::scope::Scope;
use crate::domain::time::Timestamp;

macro_rules! consent_columns {
    ($shape:ident $($table:literal)?) => {
        $shape!(
            $($table,)? id, delegation_id, client_id, mode, until_at, asked_scope, scope, resources, claims, shown, request_key, number,
            created_at, last_used_at, ended_at
        )
    };
}
pub(super) use consent_columns;

pub(super) fn consent(r: &impl Columns) -> Result<Consent> {
    Ok(Consent {
        id: r.text("id")?,
        delegation_id: r.maybe_text("delegation_id")?,
        client_key: r.id("client_id")?,
        mode: Mode::stored(&r.text("mode")?, r.maybe_time("until_at")?),
        asked_scope: Scope::stored(&r.text("asked_scope")?),
        scope: Scope::stored(&r.text("scope")?),
        resources: r.json("resources")?,
        claims: ClaimSet::stored(&r.text("claims")?),
        shown: r.maybe_text("shown")?,
        request_key: r.text("request_key")?,
        number: r.int("number")?,
        created_at: r.time("created_at")?,
        last_used_at: r.maybe_time("last_used_at")?,
        ended_at: r.maybe_time("ended_at")?,
    })
}

impl Tx {
    /// A user's standing decisions for a service and client.
    pub async fn consents(&mut self, account_id: &AccountId, aud: &str, client: &ClientKey) -> Result<Vec<Consent>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let rows = sqlx::query(concat!(
                "SELECT ",
                consent_columns!(list),
                " FROM consent WHERE issuer_id = $1 AND account_id = $2 AND aud = $3 AND client_id = $4 AND ended_at IS NULL"
            ))
            .bind(&*id)
            .bind(account_id)
            .bind(aud)
            .bind(client)
            .fetch_all(c)
            .await?;
            rows.iter().map(consent).collect()
        })
    }

    /// Every decision under delegations, the oldest first.
    pub async fn delegation_consents(&mut self, delegation_ids: &[&str]) -> Result<Vec<Consent>> {
        let id = self.issuer.clone();
        let sql = one_of!(
            self,
            ["SELECT ", consent_columns!(list), " FROM consent WHERE issuer_id = $1 AND delegation_id"] "$2" [" ORDER BY number"]
        );
        on!(self, |c| {
            let rows = sqlx::query(sql).bind(&*id).bind(json(&delegation_ids)).fetch_all(c).await?;
            rows.iter().map(consent).collect()
        })
    }

    /// The browsers in which the decisions under delegations were made, by the decision's id.
    pub async fn consent_browsers(&mut self, delegation_ids: &[&str]) -> Result<BTreeMap<String, String>> {
        let id = self.issuer.clone();
        let sql = one_of!(
            self,
            ["SELECT n.id, s.user_agent FROM consent n JOIN session s ON s.id = n.session_id
               WHERE s.user_agent IS NOT NULL AND n.issuer_id = $1 AND n.delegation_id"]
            "$2" [""]
        );
        on!(self, |c| {
            let rows = sqlx::query(sql).bind(&*id).bind(json(&delegation_ids)).fetch_all(c).await?;
            rows.iter().map(|r| Ok((r.text("id")?, r.text("user_agent")?))).collect()
        })
    }

    /// A page of a user's standing denials, with their audiences: the newest first, of those before the decision numbered `before`.
    pub async fn denials(&mut self, account_id: &AccountId, before: i64, limit: i64) -> Result<Vec<(String, Consent)>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let rows = sqlx::query(concat!(
                "SELECT aud, ",
                consent_columns!(list),
                " FROM consent WHERE issuer_id = $1 AND account_id = $2 AND mode = 'denied' AND ended_at IS NULL AND number < $3
                 ORDER BY number DESC LIMIT $4"
            ))
            .bind(&*id)
            .bind(account_id)
            .bind(before)
            .bind(limit)
            .fetch_all(c)
            .await?;
            rows.iter().map(|r| Ok((r.text("aud")?, consent(r)?))).collect()
        })
    }

    /// What a decision was.
    pub async fn consent_mode(&mut self, consent_id: &str) -> Result<Option<Mode>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let row = sqlx::query("SELECT mode, until_at FROM consent WHERE issuer_id = $1 AND id = $2")
                .bind(&*id)
                .bind(consent_id)
                .fetch_optional(c)
                .await?;
            row.map(|r| Ok(Mode::stored(&r.text("mode")?, r.maybe_time("until_at")?))).transpose()
        })
    }

    /// Whether a user ever agreed to anything for a service, and whether to anything of a client.
    pub async fn agreed_before(
        &mut self,
        account_id: &AccountId,
        aud: &str,
        client: &ClientKey,
    ) -> Result<(bool, bool)> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let row = sqlx::query(
                // Whoever agrees gets a delegation.
                "SELECT (SELECT COUNT(*) FROM delegation WHERE issuer_id = $1 AND account_id = $2 AND aud = $3) AS service,
                        (SELECT COUNT(*) FROM (SELECT 1 FROM consent WHERE client_id = $4 AND account_id = $2
                                                 AND delegation_id IS NOT NULL LIMIT 1) AS found) AS agent",
            )
            .bind(&*id)
            .bind(account_id)
            .bind(aud)
            .bind(client)
            .fetch_one(c)
            .await?;
            Ok((row.int("service")? > 0, row.int("agent")? > 0))
        })
    }

    /// Draws the number of a user's next decision. It locks the user's row, which everyone locks first.
    pub async fn next_decision(&mut self, account_id: &AccountId) -> Result<i64> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let row = sqlx::query(
                "UPDATE account SET decisions = decisions + 1 WHERE issuer_id = $1 AND id = $2 RETURNING decisions",
            )
            .bind(&*id)
            .bind(account_id)
            .fetch_one(c)
            .await?;
            row.int("decisions")
        })
    }

    /// Writes a decision of the user's.
    pub async fn add_consent(
        &mut self,
        new: &Consent,
        account_id: &AccountId,
        aud: &str,
        session_id: &str,
    ) -> Result<()> {
        let id = self.issuer.clone();
        let until = if let Mode::Until(at) = new.mode { Some(at) } else { None };
        on!(self, |c| {
            sqlx::query(
                "INSERT INTO consent (id, issuer_id, delegation_id, account_id, client_id, aud, mode, until_at, asked_scope, scope, resources,
                                      claims, ground, request_key, session_id, number, created_at, shown)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 'user', $13, $14, $15, $16, $17)",
            )
            .bind(&new.id)
            .bind(&*id)
            .bind(&new.delegation_id)
            .bind(account_id)
            .bind(&new.client_key)
            .bind(aud)
            .bind(new.mode.as_str())
            .bind(until)
            .bind(new.asked_scope.to_string())
            .bind(new.scope.to_string())
            .bind(json(&new.resources))
            .bind(new.claims.to_string())
            .bind(&new.request_key)
            .bind(session_id)
            .bind(new.number)
            .bind(new.created_at)
            .bind(&new.shown)
            .execute(c)
            .await?;
            Ok(())
        })
    }

    /// Ends a user's denial. `false` when there is none of that name.
    pub async fn end_denial(&mut self, account_id: &AccountId, consent_id: &str, now: Timestamp) -> Result<bool> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let done = sqlx::query(
                "UPDATE consent SET ended_at = $4 WHERE issuer_id = $1 AND account_id = $2 AND id = $3 AND mode = 'denied' AND ended_at IS NULL",
            )
            .bind(&*id)
            .bind(account_id)
            .bind(consent_id)
            .bind(now)
            .execute(c)
            .await?;
            Ok(done.rows_affected() == 1)
        })
    }

    /// Whether anything was ever decided for a client under a delegation.
    pub async fn has_consented(&mut self, delegation_id: &str, client: &ClientKey) -> Result<bool> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let row = sqlx::query(
                "SELECT id FROM consent WHERE issuer_id = $1 AND client_id = $2 AND delegation_id = $3 LIMIT 1",
            )
            .bind(&*id)
            .bind(client)
            .bind(delegation_id)
            .fetch_optional(c)
            .await?;
            Ok(row.is_some())
        })
    }
}

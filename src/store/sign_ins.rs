//! Which clients a user lets sign them in, and what they have of it.

use super::json_row::one_of;
use super::{Columns, Result, Tx, json, on};
use crate::domain::ids::{AccountId, ClientKey};
use crate::domain::scope::Scope;
use crate::domain::session::Stays;
use crate::domain::time::Timestamp;

/// What a user agreed to for one client, or what that client has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignIn {
    /// Which client.
    pub client: ClientKey,
    /// What it may know.
    pub scope: Scope,
    /// Since when.
    pub since: Timestamp,
    /// For how long.
    pub stays: Stays,
}

/// What clients have of a user's sign-ins and is alive, `$3` being now.
macro_rules! live_families {
    () => {
        "token_family f JOIN session s ON s.id = f.session_id
          WHERE f.issuer_id = $1 AND f.account_id = $2 AND f.ended_at IS NULL AND f.expires_at > $3
            AND (f.offline = 1 OR (s.ended_at IS NULL AND s.expires_at > $3))"
    };
}

impl Tx {
    /// The scopes a user agreed to for a client's sign-in.
    pub async fn signin_scope(&mut self, account_id: &AccountId, client: &ClientKey) -> Result<Option<Scope>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let rows = sqlx::query(
                "SELECT scope FROM signin_consent WHERE issuer_id = $1 AND account_id = $2 AND client_id = $3 AND ended_at IS NULL",
            )
            .bind(&*id)
            .bind(account_id)
            .bind(client)
            .fetch_all(c)
            .await?;
            let mut agreed: Option<Scope> = None;
            for row in &rows {
                let scope = Scope::stored(&row.text("scope")?);
                agreed = Some(agreed.unwrap_or_default().or(&scope));
            }
            Ok(agreed)
        })
    }

    /// Records that a user agreed to a client's sign-in.
    pub async fn add_signin_consent(
        &mut self,
        row_id: &str,
        account_id: &AccountId,
        client: &ClientKey,
        scope: &Scope,
        now: Timestamp,
    ) -> Result<()> {
        let id = self.issuer.clone();
        on!(self, |c| {
            sqlx::query(
                "INSERT INTO signin_consent (id, issuer_id, account_id, client_id, scope, created_at) VALUES ($1, $2, $3, $4, $5, $6)
                 ON CONFLICT (account_id, client_id, scope) DO UPDATE SET ended_at = NULL",
            )
            .bind(row_id)
            .bind(&*id)
            .bind(account_id)
            .bind(client)
            .bind(scope.to_string())
            .bind(now)
            .execute(c)
            .await?;
            Ok(())
        })
    }

    /// A page of the clients that a user lets sign them in, or that have something of it which is alive, by name.
    pub async fn signed_in_clients(
        &mut self,
        account_id: &AccountId,
        now: Timestamp,
        passed: i64,
        limit: i64,
    ) -> Result<Vec<ClientKey>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let rows = sqlx::query(concat!(
                "SELECT k.id FROM client k WHERE k.id IN (
                    SELECT client_id FROM signin_consent WHERE issuer_id = $1 AND account_id = $2 AND ended_at IS NULL
                    UNION SELECT f.client_id FROM ",
                live_families!(),
                ") ORDER BY COALESCE(k.client_name, k.client_id), k.id LIMIT $4 OFFSET $5"
            ))
            .bind(&*id)
            .bind(account_id)
            .bind(now)
            .bind(limit)
            .bind(passed)
            .fetch_all(c)
            .await?;
            rows.iter().map(|r| r.id("id")).collect()
        })
    }

    /// What a user agreed to for the sign-ins of some clients, and what those have of it which is alive.
    pub async fn sign_ins(
        &mut self,
        account_id: &AccountId,
        clients: &[&ClientKey],
        now: Timestamp,
    ) -> Result<Vec<SignIn>> {
        let id = self.issuer.clone();
        let clients: Vec<&str> = clients.iter().map(|key| key.as_str()).collect();
        let sql = one_of!(
            self,
            ["SELECT client_id, scope, CAST(MAX(stays) AS BIGINT) AS stays, MIN(created_at) AS since FROM (
                SELECT client_id, scope, created_at, 0 AS stays FROM signin_consent
                 WHERE issuer_id = $1 AND account_id = $2 AND ended_at IS NULL
                UNION ALL
                SELECT f.client_id, f.scope, f.created_at, 1 + f.offline FROM ", live_families!(), ") AS found
               WHERE client_id"]
            "$4" [" GROUP BY client_id, scope"]
        );
        on!(self, |c| {
            let query = sqlx::query(sql).bind(&*id).bind(account_id).bind(now).bind(json(&clients));
            query.fetch_all(c).await?.iter().map(sign_in).collect()
        })
    }

    /// Ends what a user agreed to for the sign-in of a client, and all that it has of it. `false` when there was nothing.
    pub async fn end_sign_ins(&mut self, account_id: &AccountId, client: &ClientKey, now: Timestamp) -> Result<bool> {
        let id = self.issuer.clone();
        let mut ended = 0;
        for sql in [
            "UPDATE signin_consent SET ended_at = $4 WHERE issuer_id = $1 AND account_id = $2 AND client_id = $3 AND ended_at IS NULL",
            "UPDATE token_family SET ended_at = $4 WHERE issuer_id = $1 AND account_id = $2 AND client_id = $3 AND ended_at IS NULL",
        ] {
            ended += on!(self, |c| {
                let query = sqlx::query(sql).bind(&*id).bind(account_id).bind(client).bind(now);
                query.execute(c).await?.rows_affected()
            });
        }
        Ok(ended > 0)
    }
}

fn sign_in(r: &impl Columns) -> Result<SignIn> {
    Ok(SignIn {
        client: r.id("client_id")?,
        scope: Scope::stored(&r.text("scope")?),
        since: r.time("since")?,
        stays: match r.int("stays")? {
            0 => Stays::Out,
            1 => Stays::UntilSignOut,
            _ => Stays::WhileAway,
        },
    })
}

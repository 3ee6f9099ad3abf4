//! Which clients a user lets sign them in, and what they have of it.

use super::{Columns, Result, Tx, on};
use crate::domain::ids::{AccountId, ClientKey};
use crate::domain::scope::Scope;
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
    /// Whether it outlives the session.
    pub offline: bool,
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

    /// What a user agreed to for the sign-ins of clients, each consent for itself.
    pub async fn signin_consents(&mut self, account_id: &AccountId) -> Result<Vec<SignIn>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let rows = sqlx::query(
                "SELECT client_id, scope, created_at, CAST(0 AS BIGINT) AS offline FROM signin_consent
                  WHERE issuer_id = $1 AND account_id = $2 AND ended_at IS NULL",
            )
            .bind(&*id)
            .bind(account_id)
            .fetch_all(c)
            .await?;
            rows.iter().map(sign_in).collect()
        })
    }

    /// The sign-ins of a user that clients have something of which is alive.
    pub async fn live_families(&mut self, account_id: &AccountId, now: Timestamp) -> Result<Vec<SignIn>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let rows = sqlx::query(
                "SELECT f.client_id, f.scope, f.offline, f.created_at FROM token_family f JOIN session s ON s.id = f.session_id
                  WHERE f.issuer_id = $1 AND f.account_id = $2 AND f.ended_at IS NULL AND f.expires_at > $3
                    AND (f.offline = 1 OR (s.ended_at IS NULL AND s.expires_at > $3))",
            )
            .bind(&*id)
            .bind(account_id)
            .bind(now)
            .fetch_all(c)
            .await?;
            rows.iter().map(sign_in).collect()
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
        since: r.time("created_at")?,
        offline: r.int("offline")? == 1,
    })
}

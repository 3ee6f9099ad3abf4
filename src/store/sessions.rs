//! Browser sessions.

use super::accounts::account;
use super::{Columns, Result, Tx, on};
use crate::domain::ids::AccountId;
use crate::domain::session::{Account, OpenSession, Session};
use crate::domain::time::Timestamp;

/// A session to write.
#[derive(Debug)]
pub struct NewSession<'a> {
    /// The `sid`.
    pub id: &'a str,
    /// Whose.
    pub account_id: &'a AccountId,
    /// Of the cookie.
    pub token_hash: &'a str,
    /// What the browser calls itself.
    pub user_agent: Option<&'a str>,
    /// Now: also its `auth_time`.
    pub now: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
}

pub(super) fn session(r: &impl Columns) -> Result<Session> {
    Ok(Session {
        id: r.text("session_id")?,
        account_id: r.id("account_id")?,
        auth_time: r.time("auth_time")?,
        expires_at: r.time("session_expires_at")?,
    })
}

impl Tx {
    /// Writes a session.
    pub async fn add_session(&mut self, new: &NewSession<'_>) -> Result<()> {
        let id = self.issuer.clone();
        on!(self, |c| {
            sqlx::query(
                "INSERT INTO session (id, issuer_id, account_id, token_hash, auth_time, user_agent, created_at, expires_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $5, $7)",
            )
            .bind(new.id)
            .bind(&*id)
            .bind(new.account_id)
            .bind(new.token_hash)
            .bind(new.now)
            .bind(new.user_agent)
            .bind(new.expires_at)
            .execute(c)
            .await?;
            Ok(())
        })
    }

    /// The live session behind a cookie, with its enabled account.
    pub async fn session_by_token(&mut self, token_hash: &str, now: Timestamp) -> Result<Option<(Session, Account)>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let row = sqlx::query(
                "SELECT s.id AS session_id, s.auth_time, s.expires_at AS session_expires_at,
                        a.id AS account_id, a.sub, a.email, a.email_verified_at, a.name, a.phone_number, a.phone_verified_at,
                        a.version AS account_version
                   FROM session s JOIN account a ON a.id = s.account_id
                  WHERE s.issuer_id = $1 AND s.token_hash = $2 AND s.ended_at IS NULL AND s.expires_at > $3 AND a.disabled_at IS NULL",
            )
            .bind(&*id)
            .bind(token_hash)
            .bind(now)
            .fetch_optional(c)
            .await?;
            row.map(|r| Ok((session(&r)?, account(&r)?))).transpose()
        })
    }

    /// Records that the user of a session has just authenticated again, and gives the browser a new token for it.
    pub async fn reauthenticate(&mut self, session_id: &str, token_hash: &str, now: Timestamp) -> Result<bool> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let done = sqlx::query(
                "UPDATE session SET auth_time = $4, token_hash = $3 WHERE issuer_id = $1 AND id = $2 AND ended_at IS NULL",
            )
            .bind(&*id)
            .bind(session_id)
            .bind(token_hash)
            .bind(now)
            .execute(c)
            .await?;
            Ok(done.rows_affected() == 1)
        })
    }

    /// Ends every session of an account, and every token that came of one. Says which sessions those were.
    pub async fn sign_out_everywhere(&mut self, account_id: &AccountId, now: Timestamp) -> Result<Vec<String>> {
        const SESSIONS: &str = "UPDATE session SET ended_at = $3 WHERE issuer_id = $1 AND account_id = $2 AND ended_at IS NULL RETURNING id";
        const FAMILIES: &str =
            "UPDATE token_family SET ended_at = $3 WHERE issuer_id = $1 AND account_id = $2 AND ended_at IS NULL";
        let id = self.issuer.clone();
        let mut ended: Vec<String> = on!(self, |c| {
            let rows = sqlx::query(SESSIONS).bind(&*id).bind(account_id).bind(now).fetch_all(c).await?;
            rows.iter().map(|row| row.text("id")).collect::<Result<_>>()?
        });
        on!(self, |c| {
            sqlx::query(FAMILIES).bind(&*id).bind(account_id).bind(now).execute(c).await?;
        });
        ended.sort_unstable();
        Ok(ended)
    }

    /// A page of the sessions of a user that are alive: the newest first, of those whose ids are before `before`.
    pub async fn open_sessions(
        &mut self,
        account_id: &AccountId,
        now: Timestamp,
        before: &str,
        limit: i64,
    ) -> Result<Vec<OpenSession>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let rows = sqlx::query(
                "SELECT id, user_agent, auth_time, expires_at FROM session
                  WHERE issuer_id = $1 AND account_id = $2 AND ended_at IS NULL AND expires_at > $3 AND id < $4
                  ORDER BY id DESC LIMIT $5",
            )
            .bind(&*id)
            .bind(account_id)
            .bind(now)
            .bind(before)
            .bind(limit)
            .fetch_all(c)
            .await?;
            rows.iter().map(open_session).collect()
        })
    }

    /// Ends a session of a user. `false` when it was over, or is somebody else's.
    pub async fn end_session(&mut self, account_id: &AccountId, session_id: &str, now: Timestamp) -> Result<bool> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let done = sqlx::query(
                "UPDATE session SET ended_at = $4 WHERE issuer_id = $1 AND account_id = $2 AND id = $3 AND ended_at IS NULL",
            )
            .bind(&*id)
            .bind(account_id)
            .bind(session_id)
            .bind(now)
            .execute(c)
            .await?;
            Ok(done.rows_affected() == 1)
        })
    }
}

fn open_session(r: &impl Columns) -> Result<OpenSession> {
    Ok(OpenSession {
        id: r.text("id")?,
        user_agent: r.maybe_text("user_agent")?,
        auth_time: r.time("auth_time")?,
        expires_at: r.time("expires_at")?,
    })
}

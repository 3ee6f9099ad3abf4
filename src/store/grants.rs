//! What an authorization gave: codes, and the token families that come of them.

use super::accounts::account;
use super::sessions::session;
use super::{Columns, Result, Tx, on};
use crate::domain::ids::{AccountId, ClientKey};
use crate::domain::scope::Scope;
use crate::domain::session::{Account, Session};
use crate::domain::time::Timestamp;

/// A family of tokens to write, with the code it starts from.
#[derive(Debug)]
pub struct NewFamily<'a> {
    /// Names the family.
    pub id: &'a str,
    /// Whose.
    pub account_id: &'a AccountId,
    /// For which client.
    pub client: &'a ClientKey,
    /// In which session.
    pub session_id: &'a str,
    /// What was granted.
    pub scope: &'a Scope,
    /// Whether it outlives its session.
    pub offline: bool,
    /// Of the code.
    pub code_hash: &'a str,
    /// Of the request.
    pub redirect_uri: &'a str,
    /// Of the request.
    pub code_challenge: Option<&'a str>,
    /// Of the request.
    pub nonce: Option<&'a str>,
    /// The time.
    pub now: Timestamp,
    /// When the code expires.
    pub expires_at: Timestamp,
}

/// A family, found by a code or refresh token of it.
#[derive(Debug)]
pub struct Family {
    /// Names it.
    pub id: String,
    /// The client it belongs to.
    pub client_key: ClientKey,
    /// What was granted.
    pub scope: Scope,
    /// Whether it is over: withdrawn, or its account is, or its session, unless it outlives that.
    pub ended: bool,
    /// Whose.
    pub account: Account,
    /// In which session.
    pub session: Session,
    /// When this code or refresh token expires.
    pub expires_at: Timestamp,
    /// When it was used first.
    pub used_at: Option<Timestamp>,
    /// Of this refresh token; 0 for a code.
    pub generation: i64,
    /// The last one of the family's refresh tokens that was used.
    pub used_generation: i64,
    /// Of the code's request; empty for a refresh token.
    pub redirect_uri: String,
    /// Of the code's request.
    pub code_challenge: Option<String>,
    /// Of the code's request.
    pub nonce: Option<String>,
}

/// Whom an access token speaks for.
#[derive(Clone, Debug)]
pub struct TokenSubject {
    /// Who.
    pub account: Account,
    /// The client the token was issued to.
    pub client_key: ClientKey,
    /// What the token may do.
    pub scope: Scope,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
}

macro_rules! family_columns {
    () => {
        "f.id AS family_id, f.client_id, f.scope, f.offline, f.generation AS used_generation, f.ended_at AS family_ended_at, s.ended_at AS session_ended_at,
         COALESCE(a.disabled_at, (SELECT k.disabled_at FROM client k WHERE k.id = f.client_id)) AS disabled_at,
         s.id AS session_id, s.auth_time, s.expires_at AS session_expires_at, a.id AS account_id, a.sub, a.email,
         a.email_verified_at, a.name, a.phone_number, a.phone_verified_at, a.version AS account_version"
    };
}

fn family(r: &impl Columns, now: Timestamp) -> Result<Family> {
    let session = session(r)?;
    let session_over = r.is_set("session_ended_at")? || session.expires_at <= now;
    let ended = r.is_set("family_ended_at")? || r.is_set("disabled_at")? || (session_over && r.int("offline")? == 0);
    Ok(Family {
        id: r.text("family_id")?,
        client_key: r.id("client_id")?,
        scope: Scope::stored(&r.text("scope")?),
        ended,
        account: account(r)?,
        session,
        expires_at: r.time("expires_at")?,
        used_at: r.maybe_time("used_at")?,
        generation: r.int("generation")?,
        used_generation: r.int("used_generation")?,
        redirect_uri: r.text("redirect_uri")?,
        code_challenge: r.maybe_text("code_challenge")?,
        nonce: r.maybe_text("nonce")?,
    })
}

impl Tx {
    /// Writes a family and its code.
    pub async fn add_family(&mut self, new: &NewFamily<'_>) -> Result<()> {
        let id = self.issuer.clone();
        on!(self, |c| {
            sqlx::query(
                "INSERT INTO token_family (id, issuer_id, account_id, client_id, session_id, scope, offline, generation, created_at, expires_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8, $9)",
            )
            .bind(new.id)
            .bind(&*id)
            .bind(new.account_id)
            .bind(new.client)
            .bind(new.session_id)
            .bind(new.scope.to_string())
            .bind(i64::from(new.offline))
            .bind(new.now)
            .bind(new.expires_at)
            .execute(c)
            .await?;
        });
        on!(self, |c| {
            sqlx::query(
                "INSERT INTO authorization_code (hash, issuer_id, family_id, redirect_uri, code_challenge, nonce, created_at, expires_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            )
            .bind(new.code_hash)
            .bind(&*id)
            .bind(new.id)
            .bind(new.redirect_uri)
            .bind(new.code_challenge)
            .bind(new.nonce)
            .bind(new.now)
            .bind(new.expires_at)
            .execute(c)
            .await?;
            Ok(())
        })
    }

    /// The family of a code.
    pub async fn family_by_code(&mut self, hash: &str, now: Timestamp) -> Result<Option<Family>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let row = sqlx::query(concat!(
                "SELECT ",
                family_columns!(),
                ", t.expires_at, t.used_at, CAST(0 AS BIGINT) AS generation, t.redirect_uri, t.code_challenge, t.nonce
                   FROM authorization_code t JOIN token_family f ON f.id = t.family_id JOIN session s ON s.id = f.session_id
                   JOIN account a ON a.id = f.account_id WHERE t.issuer_id = $1 AND t.hash = $2"
            ))
            .bind(&*id)
            .bind(hash)
            .fetch_optional(c)
            .await?;
            row.map(|r| family(&r, now)).transpose()
        })
    }

    /// Holds the family of a refresh token until the transaction ends, so that what is read of it stays true. SQLite has one writer anyway.
    pub async fn lock_family_of_refresh(&mut self, hash: &str) -> Result<()> {
        if self.is_postgres() {
            let id = self.issuer.clone();
            on!(self, |c| {
                sqlx::query(
                    "SELECT f.id FROM refresh_token t JOIN token_family f ON f.id = t.family_id
                      WHERE t.issuer_id = $1 AND t.hash = $2 FOR NO KEY UPDATE OF f",
                )
                .bind(&*id)
                .bind(hash)
                .execute(c)
                .await?;
            });
        }
        Ok(())
    }

    /// The family of a refresh token.
    pub async fn family_by_refresh(&mut self, hash: &str, now: Timestamp) -> Result<Option<Family>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let row = sqlx::query(concat!(
                "SELECT ",
                family_columns!(),
                ", t.expires_at, t.used_at, t.generation, '' AS redirect_uri, NULL AS code_challenge, NULL AS nonce
                   FROM refresh_token t JOIN token_family f ON f.id = t.family_id JOIN session s ON s.id = f.session_id
                   JOIN account a ON a.id = f.account_id WHERE t.issuer_id = $1 AND t.hash = $2"
            ))
            .bind(&*id)
            .bind(hash)
            .fetch_optional(c)
            .await?;
            row.map(|r| family(&r, now)).transpose()
        })
    }

    /// Uses a code. `false` when somebody used it before.
    pub async fn use_code(&mut self, hash: &str, now: Timestamp) -> Result<bool> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let done = sqlx::query(
                "UPDATE authorization_code SET used_at = $3 WHERE issuer_id = $1 AND hash = $2 AND used_at IS NULL",
            )
            .bind(&*id)
            .bind(hash)
            .bind(now)
            .execute(c)
            .await?;
            Ok(done.rows_affected() == 1)
        })
    }

    /// Uses a refresh token, and with it those that replaced the same one. `false` when one of them was used before.
    pub async fn use_refresh(&mut self, hash: &str, family: &Family, now: Timestamp) -> Result<bool> {
        let id = self.issuer.clone();
        let done = on!(self, |c| {
            sqlx::query("UPDATE token_family SET generation = $3 WHERE issuer_id = $1 AND id = $2 AND generation < $3")
                .bind(&*id)
                .bind(&family.id)
                .bind(family.generation)
                .execute(c)
                .await?
                .rows_affected()
        });
        on!(self, |c| {
            sqlx::query("UPDATE refresh_token SET used_at = $3 WHERE issuer_id = $1 AND hash = $2")
                .bind(&*id)
                .bind(hash)
                .bind(now)
                .execute(c)
                .await?;
        });
        Ok(done == 1)
    }

    /// Says how long the tokens of a family live at the longest.
    pub async fn extend_family(&mut self, family_id: &str, expires_at: Timestamp) -> Result<()> {
        let id = self.issuer.clone();
        on!(self, |c| {
            sqlx::query("UPDATE token_family SET expires_at = $3 WHERE issuer_id = $1 AND id = $2")
                .bind(&*id)
                .bind(family_id)
                .bind(expires_at)
                .execute(c)
                .await?;
            Ok(())
        })
    }

    /// Ends a family: every token of it is dead. `false` when it was over.
    pub async fn end_family(&mut self, family_id: &str, now: Timestamp) -> Result<bool> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let done = sqlx::query(
                "UPDATE token_family SET ended_at = $3 WHERE issuer_id = $1 AND id = $2 AND ended_at IS NULL",
            )
            .bind(&*id)
            .bind(family_id)
            .bind(now)
            .execute(c)
            .await?;
            Ok(done.rows_affected() == 1)
        })
    }

    /// Writes an access token.
    pub async fn add_access_token(
        &mut self,
        hash: &str,
        family_id: &str,
        scope: &Scope,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<()> {
        let id = self.issuer.clone();
        on!(self, |c| {
            sqlx::query("INSERT INTO access_token (hash, issuer_id, family_id, scope, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)")
                .bind(hash)
                .bind(&*id)
                .bind(family_id)
                .bind(scope.to_string())
                .bind(now)
                .bind(expires_at)
                .execute(c)
                .await?;
            Ok(())
        })
    }

    /// Writes a refresh token.
    pub async fn add_refresh_token(
        &mut self,
        hash: &str,
        family_id: &str,
        generation: i64,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<()> {
        let id = self.issuer.clone();
        on!(self, |c| {
            sqlx::query("INSERT INTO refresh_token (hash, issuer_id, family_id, generation, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)")
                .bind(hash)
                .bind(&*id)
                .bind(family_id)
                .bind(generation)
                .bind(now)
                .bind(expires_at)
                .execute(c)
                .await?;
            Ok(())
        })
    }

    /// Whether an access token of a client is worth nothing since its session is over.
    pub async fn session_is_over(&mut self, hash: &str, client: &ClientKey, now: Timestamp) -> Result<bool> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let row = sqlx::query(
                "SELECT COUNT(*) AS n FROM access_token t JOIN token_family f ON f.id = t.family_id JOIN session s ON s.id = f.session_id
                  WHERE t.issuer_id = $1 AND t.hash = $2 AND f.client_id = $3 AND f.offline = 0 AND (s.ended_at IS NOT NULL OR s.expires_at <= $4)",
            )
            .bind(&*id)
            .bind(hash)
            .bind(client)
            .bind(now)
            .fetch_one(c)
            .await?;
            Ok(row.int("n")? > 0)
        })
    }

    /// Whom an access token speaks for, while token, family and account are alive, and the session that the family ends with.
    pub async fn subject_by_access_token(&mut self, hash: &str, now: Timestamp) -> Result<Option<TokenSubject>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let row = sqlx::query(concat!(
                "SELECT ",
                family_columns!(),
                ", t.scope AS token_scope, t.created_at, t.expires_at
                   FROM access_token t JOIN token_family f ON f.id = t.family_id JOIN session s ON s.id = f.session_id
                   JOIN account a ON a.id = f.account_id
                  WHERE t.issuer_id = $1 AND t.hash = $2 AND t.expires_at > $3 AND f.ended_at IS NULL
                    AND (f.offline = 1 OR (s.ended_at IS NULL AND s.expires_at > $3)) AND a.disabled_at IS NULL
                    AND NOT EXISTS (SELECT 1 FROM client k WHERE k.id = f.client_id AND k.disabled_at IS NOT NULL)"
            ))
            .bind(&*id)
            .bind(hash)
            .bind(now)
            .fetch_optional(c)
            .await?;
            row.map(|r| {
                Ok(TokenSubject {
                    account: account(&r)?,
                    client_key: r.id("client_id")?,
                    scope: Scope::stored(&r.text("token_scope")?),
                    issued_at: r.time("created_at")?,
                    expires_at: r.time("expires_at")?,
                })
            })
            .transpose()
        })
    }
}

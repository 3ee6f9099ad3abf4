//! Accounts, their browser sessions, and the count of failed sign-ins.

use super::{Columns, Result, Tx, on};
use crate::domain::session::{Account, Session};
use crate::secret::Secret;

/// An account with what never leaves the store's callers.
#[derive(Debug)]
pub struct StoredAccount {
    /// Who.
    pub account: Account,
    /// In PHC string form.
    pub password_hash: Option<String>,
    /// May not sign in, nor be vouched for.
    pub disabled: bool,
}

/// An account to write.
#[derive(Debug)]
pub struct NewAccount<'a> {
    /// Used when there is none with this e-mail yet.
    pub id: &'a str,
    /// Used when there is none with this e-mail yet.
    pub sub: &'a str,
    /// Lower case.
    pub email: &'a str,
    /// Whether the platform verified it.
    pub email_verified: bool,
    /// To show.
    pub name: Option<&'a str>,
    /// E.164.
    pub phone_number: Option<&'a str>,
    /// Whether the platform verified it.
    pub phone_verified: bool,
}

/// A session to write.
#[derive(Debug)]
pub struct NewSession<'a> {
    /// The `sid`.
    pub id: &'a str,
    /// Whose.
    pub account_id: &'a str,
    /// Of the cookie.
    pub token_hash: &'a str,
    /// For its forms.
    pub csrf: &'a Secret,
    /// What the browser calls itself.
    pub user_agent: Option<&'a str>,
    /// Now: also its `auth_time`.
    pub now: i64,
    /// Seconds since the epoch.
    pub expires_at: i64,
}

pub(super) fn account(r: &impl Columns) -> Result<Account> {
    Ok(Account {
        id: r.text("account_id")?,
        sub: r.text("sub")?,
        email: r.text("email")?,
        email_verified: r.is_set("email_verified_at")?,
        name: r.maybe_text("name")?,
        phone_number: r.maybe_text("phone_number")?,
        phone_verified: r.is_set("phone_verified_at")?,
        version: r.int("account_version")?,
    })
}

pub(super) fn session(r: &impl Columns) -> Result<Session> {
    Ok(Session {
        id: r.text("session_id")?,
        account_id: r.text("account_id")?,
        csrf: Secret::new(r.text("csrf")?),
        auth_time: r.int("auth_time")?,
        expires_at: r.int("session_expires_at")?,
    })
}

impl Tx {
    /// The account with an e-mail address.
    pub async fn account_by_email(&mut self, email: &str) -> Result<Option<StoredAccount>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let row = sqlx::query(
                "SELECT id AS account_id, sub, email, email_verified_at, name, phone_number, phone_verified_at,
                        version AS account_version, password_hash, disabled_at
                   FROM account WHERE issuer_id = $1 AND email = $2",
            )
            .bind(&*id)
            .bind(email)
            .fetch_optional(c)
            .await?;
            row.map(|r| {
                Ok(StoredAccount {
                    account: account(&r)?,
                    password_hash: r.maybe_text("password_hash")?,
                    disabled: r.is_set("disabled_at")?,
                })
            })
            .transpose()
        })
    }

    /// Writes an account of the configuration: made, or changed if anything differs, or enabled again.
    pub async fn apply_account(&mut self, new: &NewAccount<'_>, now: i64) -> Result<()> {
        let id = self.issuer.clone();
        let email_verified_at = new.email_verified.then_some(now);
        let phone_verified_at = new.phone_verified.then_some(now);
        on!(self, |c| {
            sqlx::query(
                "INSERT INTO account (id, issuer_id, sub, email, email_verified_at, name, phone_number, phone_verified_at, origin, version, created_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'config', 1, $9)
                 ON CONFLICT (issuer_id, email) DO UPDATE
                    SET email_verified_at = CASE WHEN $5 IS NULL THEN NULL ELSE COALESCE(account.email_verified_at, $5) END,
                        name = $6, phone_number = $7,
                        phone_verified_at = CASE WHEN $8 IS NULL THEN NULL ELSE COALESCE(account.phone_verified_at, $8) END,
                        origin = 'config', disabled_at = NULL, version = account.version + 1
                  WHERE (account.email_verified_at IS NULL) <> ($5 IS NULL) OR COALESCE(account.name, '') <> COALESCE($6, '')
                     OR COALESCE(account.phone_number, '') <> COALESCE($7, '')
                     OR (account.phone_verified_at IS NULL) <> ($8 IS NULL)
                     OR account.disabled_at IS NOT NULL OR account.origin <> 'config'",
            )
            .bind(new.id)
            .bind(&*id)
            .bind(new.sub)
            .bind(new.email)
            .bind(email_verified_at)
            .bind(new.name)
            .bind(new.phone_number)
            .bind(phone_verified_at)
            .bind(now)
            .execute(c)
            .await?;
            Ok(())
        })
    }

    /// Takes the password of the account with an e-mail away.
    pub async fn clear_password(&mut self, email: &str) -> Result<()> {
        let id = self.issuer.clone();
        on!(self, |c| {
            sqlx::query("UPDATE account SET password_hash = NULL WHERE issuer_id = $1 AND email = $2")
                .bind(&*id)
                .bind(email)
                .execute(c)
                .await?;
            Ok(())
        })
    }

    /// Sets the password of the account with an e-mail.
    pub async fn set_password(&mut self, email: &str, hash: &str) -> Result<()> {
        let id = self.issuer.clone();
        on!(self, |c| {
            sqlx::query("UPDATE account SET password_hash = $3 WHERE issuer_id = $1 AND email = $2")
                .bind(&*id)
                .bind(email)
                .bind(hash)
                .execute(c)
                .await?;
            Ok(())
        })
    }

    /// (our key, e-mail) of the accounts that came from the configuration and are enabled, by key.
    pub async fn configured_accounts(&mut self) -> Result<Vec<(String, String)>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let rows = sqlx::query(
                "SELECT id, email FROM account WHERE issuer_id = $1 AND origin = 'config' AND disabled_at IS NULL ORDER BY id",
            )
            .bind(&*id)
            .fetch_all(c)
            .await?;
            rows.iter().map(|r| Ok((r.text("id")?, r.text("email")?))).collect()
        })
    }

    /// Disables an account and ends its sessions. `false` when it was disabled already.
    pub async fn disable_account(&mut self, account_id: &str, now: i64) -> Result<bool> {
        let id = self.issuer.clone();
        let disabled = on!(self, |c| {
            sqlx::query(
                "UPDATE account SET disabled_at = $3, version = version + 1 WHERE issuer_id = $1 AND id = $2 AND disabled_at IS NULL",
            )
            .bind(&*id)
            .bind(account_id)
            .bind(now)
            .execute(c)
            .await?
            .rows_affected()
        });
        on!(self, |c| {
            sqlx::query(
                "UPDATE session SET ended_at = $3 WHERE issuer_id = $1 AND account_id = $2 AND ended_at IS NULL",
            )
            .bind(&*id)
            .bind(account_id)
            .bind(now)
            .execute(c)
            .await?;
        });
        Ok(disabled == 1)
    }

    /// Writes a session.
    pub async fn add_session(&mut self, new: &NewSession<'_>) -> Result<()> {
        let id = self.issuer.clone();
        on!(self, |c| {
            sqlx::query(
                "INSERT INTO session (id, issuer_id, account_id, token_hash, csrf, auth_time, user_agent, created_at, expires_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $6, $8)",
            )
            .bind(new.id)
            .bind(&*id)
            .bind(new.account_id)
            .bind(new.token_hash)
            .bind(new.csrf.expose())
            .bind(new.now)
            .bind(new.user_agent)
            .bind(new.expires_at)
            .execute(c)
            .await?;
            Ok(())
        })
    }

    /// The live session behind a cookie, with its enabled account.
    pub async fn session_by_token(&mut self, token_hash: &str, now: i64) -> Result<Option<(Session, Account)>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let row = sqlx::query(
                "SELECT s.id AS session_id, s.csrf, s.auth_time, s.expires_at AS session_expires_at,
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
    pub async fn reauthenticate(&mut self, session_id: &str, token_hash: &str, now: i64) -> Result<bool> {
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

    /// Ends a session. `false` when it was over.
    pub async fn end_session(&mut self, session_id: &str, now: i64) -> Result<bool> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let done =
                sqlx::query("UPDATE session SET ended_at = $3 WHERE issuer_id = $1 AND id = $2 AND ended_at IS NULL")
                    .bind(&*id)
                    .bind(session_id)
                    .bind(now)
                    .execute(c)
                    .await?;
            Ok(done.rows_affected() == 1)
        })
    }

    /// Counts an attempt under a name, before its outcome is known, and says the how-manieth it is and until when nobody may try.
    /// Attempts older than `forget` seconds no longer count. One statement: a look at the block before it would, on PostgreSQL, miss
    /// the block of an attempt that is counted at the same time.
    pub async fn count_attempt(&mut self, name: &str, now: i64, forget: i64) -> Result<(i64, i64)> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let row = sqlx::query(
                "INSERT INTO throttle (issuer_id, name, failures, failed_at, blocked_until) VALUES ($1, $2, 1, $3, 0)
                 ON CONFLICT (issuer_id, name) DO UPDATE
                    SET failures = CASE WHEN throttle.failed_at < $4 THEN 1 ELSE throttle.failures + 1 END, failed_at = $3
                 RETURNING failures, blocked_until",
            )
            .bind(&*id)
            .bind(name)
            .bind(now)
            .bind(now - forget)
            .fetch_one(c)
            .await?;
            Ok((row.int("failures")?, row.int("blocked_until")?))
        })
    }

    /// Lets nobody try under a name before a time.
    pub async fn block(&mut self, name: &str, until: i64) -> Result<()> {
        let id = self.issuer.clone();
        on!(self, |c| {
            sqlx::query("UPDATE throttle SET blocked_until = $3 WHERE issuer_id = $1 AND name = $2")
                .bind(&*id)
                .bind(name)
                .bind(until)
                .execute(c)
                .await?;
            Ok(())
        })
    }

    /// Takes one attempt under a name back: it succeeded. With `all`, forgets the failures before it as well.
    pub async fn forgive(&mut self, name: &str, all: bool) -> Result<()> {
        let id = self.issuer.clone();
        on!(self, |c| {
            sqlx::query(
                "UPDATE throttle SET failures = CASE WHEN $3 = 1 OR failures < 1 THEN 0 ELSE failures - 1 END, blocked_until = 0
                  WHERE issuer_id = $1 AND name = $2",
            )
            .bind(&*id)
            .bind(name)
            .bind(i64::from(all))
            .execute(c)
            .await?;
            Ok(())
        })
    }
}

//! Accounts.

use super::{Columns, Result, Tx, on};
use crate::domain::display_name::DisplayName;
use crate::domain::ids::{AccountId, Subject};
use crate::domain::profile::Profile;
use crate::domain::session::Account;
use crate::domain::time::Timestamp;

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
    pub id: &'a AccountId,
    /// Used when there is none with this e-mail yet.
    pub sub: &'a Subject,
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

impl<'a> NewAccount<'a> {
    /// One with a profile.
    #[must_use]
    pub fn of(id: &'a AccountId, sub: &'a Subject, profile: &'a Profile) -> Self {
        Self {
            id,
            sub,
            email: &profile.email,
            email_verified: profile.email_verified,
            name: profile.name.as_ref().map(DisplayName::as_str),
            phone_number: profile.phone_number.as_deref(),
            phone_verified: profile.phone_number_verified,
        }
    }
}

pub(super) fn account(r: &impl Columns) -> Result<Account> {
    Ok(Account {
        id: r.id("account_id")?,
        sub: r.id("sub")?,
        email: r.text("email")?,
        email_verified: r.is_set("email_verified_at")?,
        name: r.maybe_text("name")?,
        phone_number: r.maybe_text("phone_number")?,
        phone_verified: r.is_set("phone_verified_at")?,
        version: r.int("account_version")?,
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

    /// Writes an account of the configuration: made, or changed if anything differs, or declared again.
    pub async fn apply_account(&mut self, new: &NewAccount<'_>, now: Timestamp) -> Result<()> {
        let id = self.issuer.clone();
        let email_verified_at = new.email_verified.then_some(now);
        let phone_verified_at = new.phone_verified.then_some(now);
        on!(self, |c| {
            sqlx::query(
                "INSERT INTO account (id, issuer_id, sub, email, email_verified_at, name, phone_number, phone_verified_at, origin, version, decisions,
                                      created_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'config', 1, 0, $9)
                 ON CONFLICT (issuer_id, email) DO UPDATE
                    SET email_verified_at = CASE WHEN $5 IS NULL THEN NULL ELSE COALESCE(account.email_verified_at, $5) END,
                        name = $6, phone_number = $7,
                        phone_verified_at = CASE WHEN $8 IS NULL THEN NULL ELSE COALESCE(account.phone_verified_at, $8) END,
                        origin = 'config', undeclared_at = NULL, version = account.version + 1
                  WHERE (account.email_verified_at IS NULL) <> ($5 IS NULL) OR COALESCE(account.name, '') <> COALESCE($6, '')
                     OR COALESCE(account.phone_number, '') <> COALESCE($7, '')
                     OR (account.phone_verified_at IS NULL) <> ($8 IS NULL)
                     OR account.undeclared_at IS NOT NULL OR account.origin <> 'config'",
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

    /// Adds an account by an administrator's word, with its password's hash. `false` when there is one with this e-mail.
    pub async fn add_account(&mut self, new: &NewAccount<'_>, hash: Option<&str>, now: Timestamp) -> Result<bool> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let done = sqlx::query(
                "INSERT INTO account (id, issuer_id, sub, email, email_verified_at, name, phone_number, phone_verified_at, password_hash, origin,
                                      version, decisions, created_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'admin', 1, 0, $10) ON CONFLICT (issuer_id, email) DO NOTHING",
            )
            .bind(new.id)
            .bind(&*id)
            .bind(new.sub)
            .bind(new.email)
            .bind(new.email_verified.then_some(now))
            .bind(new.name)
            .bind(new.phone_number)
            .bind(new.phone_verified.then_some(now))
            .bind(hash)
            .bind(now)
            .execute(c)
            .await?;
            Ok(done.rows_affected() == 1)
        })
    }

    /// Changes what is known of an account that an administrator added.
    pub async fn edit_account(&mut self, new: &NewAccount<'_>, now: Timestamp) -> Result<()> {
        let id = self.issuer.clone();
        on!(self, |c| {
            sqlx::query(
                "UPDATE account
                    SET email_verified_at = CASE WHEN $3 IS NULL THEN NULL ELSE COALESCE(email_verified_at, $3) END, name = $4, phone_number = $5,
                        phone_verified_at = CASE WHEN $6 IS NULL THEN NULL ELSE COALESCE(phone_verified_at, $6) END, version = version + 1
                  WHERE issuer_id = $1 AND id = $2 AND origin = 'admin'",
            )
            .bind(&*id)
            .bind(new.id)
            .bind(new.email_verified.then_some(now))
            .bind(new.name)
            .bind(new.phone_number)
            .bind(new.phone_verified.then_some(now))
            .execute(c)
            .await?;
            Ok(())
        })
    }

    /// Sets the password of the account with an e-mail, or takes it away. Says whose that is where it was another one before.
    pub async fn set_password(&mut self, email: &str, hash: Option<&str>) -> Result<Option<AccountId>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let row = sqlx::query(
                "UPDATE account SET password_hash = $3 WHERE issuer_id = $1 AND email = $2 AND password_hash IS DISTINCT FROM $3
                 RETURNING id",
            )
            .bind(&*id)
            .bind(email)
            .bind(hash)
            .fetch_optional(c)
            .await?;
            row.map(|r| r.id("id")).transpose()
        })
    }

    /// Id and e-mail of the accounts that the configuration declared last, by id.
    pub async fn configured_accounts(&mut self) -> Result<Vec<(AccountId, String)>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let rows = sqlx::query(
                "SELECT id, email FROM account WHERE issuer_id = $1 AND origin = 'config' AND undeclared_at IS NULL ORDER BY id",
            )
            .bind(&*id)
            .fetch_all(c)
            .await?;
            rows.iter().map(|r| Ok((r.id("id")?, r.text("email")?))).collect()
        })
    }
}

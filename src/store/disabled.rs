//! Users, clients and services that are disabled and enabled, in the same words.

use super::accounts::account;
use super::clients::{client, metadata_columns, policy_columns};
use super::json_row::list;
use super::services::{known, service_columns};
use super::{Columns, Result, Tx, on};
use crate::domain::administered::{AdministeredClient, AdministeredService, AdministeredUser, State};
use crate::domain::delegation::Removed;
use crate::domain::ids::{ClientId, Subject};
use crate::domain::issuer::Origin;
use crate::domain::time::Timestamp;

/// A statement about a row of whichever table: `$1` is the issuer, `$2` what the row is named by.
macro_rules! of {
    ($what:expr, [$($before:tt)*] [$($after:tt)*]) => {
        of!($what, [$($before)*] [$($after)*] [""])
    };
    ($what:expr, [$($before:tt)*] [$($after:tt)*] [$($tail:tt)*]) => {
        match $what {
            Removed::User(_) => concat!($($before)*, "account", $($after)*, "issuer_id = $1 AND id = $2", $($tail)*),
            Removed::Client(_) => concat!($($before)*, "client", $($after)*, "issuer_id = $1 AND id = $2", $($tail)*),
            Removed::Service(_) => {
                concat!($($before)*, "service", $($after)*, "issuer_id = $1 AND audience = $2", $($tail)*)
            }
        }
    };
}

pub(super) use of;

pub(super) fn name(what: &Removed) -> &str {
    match what {
        Removed::User(id) => id.as_str(),
        Removed::Client(key) => key.as_str(),
        Removed::Service(audience) => audience,
    }
}

fn state(r: &impl Columns) -> Result<State> {
    Ok(State {
        by_configuration: r.text("origin")? == Origin::Config.as_str(),
        created_at: r.time("created_at")?,
        stopped_at: r.maybe_time("stopped_at")?,
        undeclared_at: r.maybe_time("undeclared_at")?,
        ending_at: r.maybe_time("ending_at")?,
    })
}

/// What [`state`] is read from.
macro_rules! state_columns {
    () => {
        "origin, created_at, stopped_at, undeclared_at, ending_at"
    };
}

macro_rules! users {
    ($rest:literal) => {
        concat!(
            "SELECT id AS account_id, sub, email, email_verified_at, name, phone_number, phone_verified_at, version AS account_version, ",
            state_columns!(),
            " FROM account WHERE issuer_id = $1 AND ",
            $rest
        )
    };
}

fn user(r: &impl Columns) -> Result<AdministeredUser> {
    Ok(AdministeredUser { account: account(r)?, state: state(r)? })
}

macro_rules! clients {
    ($rest:literal) => {
        concat!(
            "SELECT id, client_id, secret_hash, version, ",
            state_columns!(),
            ", ",
            metadata_columns!(list),
            ", ",
            policy_columns!(list),
            " FROM client WHERE issuer_id = $1 AND ",
            $rest
        )
    };
}

fn administered(r: &impl Columns) -> Result<AdministeredClient> {
    Ok(AdministeredClient { client: client(r)?, state: state(r)? })
}

macro_rules! services {
    ($rest:literal) => {
        concat!(
            "SELECT ",
            service_columns!(list),
            ", created_at, stopped_at, undeclared_at, ending_at FROM service WHERE issuer_id = $1 AND ",
            $rest
        )
    };
}

fn service(r: &impl Columns) -> Result<AdministeredService> {
    Ok(AdministeredService { service: known(r)?.service, state: state(r)? })
}

impl Tx {
    /// Disables one: an administrator stops it, or the configuration declares it no longer. `false` when whoever it is had said so already.
    pub async fn disable(&mut self, what: &Removed, by: Origin, now: Timestamp) -> Result<bool> {
        let sql = match by {
            Origin::Admin => {
                of!(what, ["UPDATE "][" SET stopped_at = $3, version = version + 1 WHERE stopped_at IS NULL AND "])
            }
            Origin::Config => of!(
                what,
                ["UPDATE "][" SET undeclared_at = $3, version = version + 1 WHERE undeclared_at IS NULL AND "]
            ),
        };
        self.wrote_client |= matches!(what, Removed::Client(_));
        let id = self.issuer.clone();
        on!(self, |c| {
            let done = sqlx::query(sql).bind(&*id).bind(name(what)).bind(now).execute(c).await?;
            Ok(done.rows_affected() == 1)
        })
    }

    /// Takes back that an administrator stopped it. `false` when none had.
    pub async fn enable(&mut self, what: &Removed) -> Result<bool> {
        let sql =
            of!(what, ["UPDATE "][" SET stopped_at = NULL, version = version + 1 WHERE stopped_at IS NOT NULL AND "]);
        self.wrote_client |= matches!(what, Removed::Client(_));
        let id = self.issuer.clone();
        on!(self, |c| {
            let done = sqlx::query(sql).bind(&*id).bind(name(what)).execute(c).await?;
            Ok(done.rows_affected() == 1)
        })
    }

    /// How one stands.
    pub async fn state_of(&mut self, what: &Removed) -> Result<Option<State>> {
        let sql = of!(what, ["SELECT ", state_columns!(), " FROM "][" WHERE "]);
        let id = self.issuer.clone();
        on!(self, |c| {
            let row = sqlx::query(sql).bind(&*id).bind(name(what)).fetch_optional(c).await?;
            row.map(|r| state(&r)).transpose()
        })
    }

    /// A user, by what services call them.
    pub async fn user(&mut self, sub: &Subject) -> Result<Option<AdministeredUser>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let row = sqlx::query(users!("sub = $2")).bind(&*id).bind(sub).fetch_optional(c).await?;
            row.map(|r| user(&r)).transpose()
        })
    }

    /// A user, by their e-mail address.
    pub async fn user_by_email(&mut self, email: &str) -> Result<Option<AdministeredUser>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let row = sqlx::query(users!("email = $2")).bind(&*id).bind(email).fetch_optional(c).await?;
            row.map(|r| user(&r)).transpose()
        })
    }

    /// A page of the users, by what services call them, after one.
    pub async fn users(&mut self, after: &str, limit: i64) -> Result<Vec<AdministeredUser>> {
        let id = self.issuer.clone();
        on!(self, |c| {
            let rows = sqlx::query(users!("sub > $2 ORDER BY sub LIMIT $3"));
            let rows = rows.bind(&*id).bind(after).bind(limit).fetch_all(c).await?;
            rows.iter().map(user).collect()
        })
    }

    /// A client, enabled or not.
    pub async fn administered_client(&mut self, client_id: &ClientId) -> Result<Option<AdministeredClient>> {
        const SELECT: &str = clients!("client_id = $2");
        let id = self.issuer.clone();
        on!(self, |c| {
            let row = sqlx::query(SELECT).bind(&*id).bind(client_id).fetch_optional(c).await?;
            row.map(|r| administered(&r)).transpose()
        })
    }

    /// A page of the clients, enabled or not, by their ids, after one.
    pub async fn administered_clients(&mut self, after: &str, limit: i64) -> Result<Vec<AdministeredClient>> {
        const SELECT: &str = clients!("client_id > $2 ORDER BY client_id LIMIT $3");
        let id = self.issuer.clone();
        on!(self, |c| {
            let rows = sqlx::query(SELECT).bind(&*id).bind(after).bind(limit).fetch_all(c).await?;
            rows.iter().map(administered).collect()
        })
    }

    /// A service, enabled or not.
    pub async fn administered_service(&mut self, audience: &str) -> Result<Option<AdministeredService>> {
        const SELECT: &str = services!("audience = $2");
        let id = self.issuer.clone();
        on!(self, |c| {
            let row = sqlx::query(SELECT).bind(&*id).bind(audience).fetch_optional(c).await?;
            row.map(|r| service(&r)).transpose()
        })
    }

    /// A page of the services, by our keys, after one.
    pub async fn administered_services(&mut self, after: &str, limit: i64) -> Result<Vec<AdministeredService>> {
        const SELECT: &str = services!("id > $2 ORDER BY id LIMIT $3");
        let id = self.issuer.clone();
        on!(self, |c| {
            let rows = sqlx::query(SELECT).bind(&*id).bind(after).bind(limit).fetch_all(c).await?;
            rows.iter().map(service).collect()
        })
    }
}

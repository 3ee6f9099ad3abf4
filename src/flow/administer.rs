//! Users, clients and services under administration: listed, disabled and enabled, by whichever door. What stood under one that is disabled is
//! withdrawn afterwards, batch by batch; nothing is minted under it from the transaction on.

use super::withdraw_many;
use crate::domain::administered::{AdministeredClient, AdministeredUser};
use crate::domain::credentials;
use crate::domain::delegation::Removed;
use crate::domain::ids::{ClientId, Subject};
use crate::domain::issuer::Origin;
use crate::domain::journal::{Disabled, Event, Why};
use crate::domain::refusal::Refusal;
use crate::error::Error;
use crate::host::App;
use crate::store::{Entry, Tx};

/// Whether it is disabled from now on; `None`: as it is.
type Change = Option<bool>;

/// A page of the users, by what services call them.
///
/// # Errors
/// Faults.
pub async fn users(app: &App, after: Option<&str>, limit: i64) -> Result<Vec<AdministeredUser>, Error> {
    Ok(app.store.read().await?.users(after.unwrap_or_default(), limit).await?)
}

/// The user with an e-mail address.
///
/// # Errors
/// Faults.
pub async fn user_by_email(app: &App, email: &str) -> Result<Option<AdministeredUser>, Error> {
    Ok(app.store.read().await?.user_by_email(&credentials::email(email)).await?)
}

/// A user.
///
/// # Errors
/// [`Refusal::NotFound`]; faults.
pub async fn user(app: &App, sub: &Subject) -> Result<AdministeredUser, Error> {
    Ok(app.store.read().await?.user(sub).await?.ok_or(Refusal::NotFound)?)
}

/// A page of the clients, by their ids.
///
/// # Errors
/// Faults.
pub async fn clients(app: &App, after: Option<&str>, limit: i64) -> Result<Vec<AdministeredClient>, Error> {
    Ok(app.store.read().await?.administered_clients(after.unwrap_or_default(), limit).await?)
}

/// A client.
///
/// # Errors
/// [`Refusal::NotFound`]; faults.
pub async fn client(app: &App, client_id: &ClientId) -> Result<AdministeredClient, Error> {
    Ok(app.store.read().await?.administered_client(client_id).await?.ok_or(Refusal::NotFound)?)
}

/// Disables or enables one, or neither, in the caller's transaction. Says whether that changes anything.
///
/// # Errors
/// [`Refusal::NotDeclared`]; faults.
pub(super) async fn turn(app: &App, tx: &mut Tx, what: &Removed, name: &str, change: Change) -> Result<bool, Error> {
    match change {
        None => Ok(false),
        Some(true) => disable(app, tx, what, name, Origin::Admin).await,
        Some(false) => enable(app, tx, what, name).await,
    }
}

/// Disables one, and notes what stands under it, in the caller's transaction. From its end on nothing of that counts; it ends afterwards, batch
/// by batch. `false` when whoever it is had said so already.
///
/// # Errors
/// Faults.
pub(super) async fn disable(app: &App, tx: &mut Tx, what: &Removed, name: &str, by: Origin) -> Result<bool, Error> {
    let now = app.now();
    if !tx.disable(what, by, now).await? {
        return Ok(false);
    }
    let event = match what {
        Removed::User(_) => Event::AccountDisabled,
        Removed::Client(_) => Event::ClientDisabled,
        Removed::Service(_) => Event::ServiceDisabled,
    };
    let why = if by == Origin::Config { Why::Configuration } else { Why::Admin };
    let event = event(Disabled { name: name.to_owned(), why });
    tx.record(Entry::new(app.id(), now, event)).await?;
    if withdraw_many::stands_under(tx, what).await? {
        tx.begin_ending(what, now).await?;
    }
    Ok(true)
}

/// Takes back that an administrator disabled it. It lives again once nothing of before stands, and unless it is declared no longer.
async fn enable(app: &App, tx: &mut Tx, what: &Removed, name: &str) -> Result<bool, Error> {
    if !tx.enable(what).await? {
        let state = tx.state_of(what).await?.ok_or(Refusal::NotFound)?;
        return if state.undeclared_at.is_some() { Err(Refusal::NotDeclared.into()) } else { Ok(false) };
    }
    let event = match what {
        Removed::User(_) => Event::AccountEnabled,
        Removed::Client(_) => Event::ClientEnabled,
        Removed::Service(_) => Event::ServiceEnabled,
    };
    let event = event(Disabled { name: name.to_owned(), why: Why::Admin });
    tx.record(Entry::new(app.id(), app.now(), event)).await?;
    Ok(true)
}

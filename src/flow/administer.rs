//! Users, clients and services under administration: disabled and enabled, by whichever door. What stood under one that is disabled is
//! withdrawn afterwards, batch by batch; nothing is minted under it from the transaction on.

use super::{logout, withdraw_many};
use crate::domain::administered::{AdministeredClient, AdministeredUser, State};
use crate::domain::credentials;
use crate::domain::delegation::Removed;
use crate::domain::ids::{Audience, ClientId, Subject};
use crate::domain::issuer::Origin;
use crate::domain::journal::{Disabled, Event, Why};
use crate::domain::refusal::Refusal;
use crate::error::Error;
use crate::flow::services::{self, Record};
use crate::host::App;
use crate::store::{Entry, Tx};

/// What an administrator changes of a user, client or service: whether it is disabled, or nothing.
pub type Change = Option<bool>;

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

/// Disables or enables a user. A disabled one is signed out everywhere.
///
/// # Errors
/// [`Refusal::NotFound`]; [`Refusal::NotDeclared`] for who disappeared from the configuration and is to be enabled; faults.
pub async fn change_user(app: &App, sub: &Subject, change: Change) -> Result<AdministeredUser, Error> {
    let found = user(app, sub).await?;
    let id = found.account.id.clone();
    turn(app, &Removed::User(id), &found.account.email, change).await?;
    user(app, sub).await
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

/// Disables or enables a client. What users gave a disabled one ends: its tokens, their leave to sign them in, its open questions.
///
/// # Errors
/// [`Refusal::NotFound`]; [`Refusal::NotDeclared`] for one that disappeared from the configuration and is to be enabled; faults.
pub async fn change_client(app: &App, client_id: &ClientId, change: Change) -> Result<AdministeredClient, Error> {
    let found = client(app, client_id).await?;
    turn(app, &Removed::Client(found.client.key), client_id.as_str(), change).await?;
    client(app, client_id).await
}

/// Disables or enables a service, declared or not. Nobody is vouched for at a disabled one, whatever it says of itself.
///
/// # Errors
/// [`Refusal::NotFound`]; [`Refusal::NotDeclared`] for one that disappeared from the configuration and is to be enabled; faults.
pub async fn change_service(app: &App, audience: &Audience, change: Change) -> Result<Record, Error> {
    services::find(app, audience).await?;
    turn(app, &Removed::Service(audience.as_str().to_owned()), audience.as_str(), change).await?;
    services::find(app, audience).await
}

async fn turn(app: &App, what: &Removed, name: &str, change: Change) -> Result<(), Error> {
    let Some(disabled) = change else { return Ok(()) };
    let mut tx = app.store.begin().await?;
    let turned = if disabled {
        disable(app, &mut tx, what, name, Origin::Admin).await?
    } else {
        let State { disabled, .. } = tx.state_of(what).await?.ok_or(Refusal::NotFound)?;
        if disabled.is_some_and(|(_, by)| by == Origin::Config) {
            return Err(Refusal::NotDeclared.into());
        }
        enable(app, &mut tx, what, name).await?
    };
    if turned {
        tx.commit().await?;
        app.outbox_signal.notify_one();
        // What it says of itself depends on its clients; other processes hear of it by its revision.
        app.issuers.remove(&app.issuer.id);
    }
    Ok(())
}

/// Disables one, and notes that delegations stand under it, in the caller's transaction. Rows of several are locked in the order that everyone
/// keeps: users, clients, services. `false` when it was disabled already.
///
/// # Errors
/// Faults.
pub(super) async fn disable(app: &App, tx: &mut Tx, what: &Removed, name: &str, by: Origin) -> Result<bool, Error> {
    let now = app.now();
    if !tx.disable(what, by, now).await? {
        return Ok(false);
    }
    let event = match what {
        Removed::User(id) => {
            let sessions = tx.sign_out_everywhere(id, now).await?;
            logout::of_sessions(app, tx, &sessions).await?;
            Event::AccountDisabled
        }
        Removed::Client(key) => {
            tx.end_grants(key, now).await?;
            Event::ClientDisabled
        }
        Removed::Service(audience) => {
            tx.close_tickets_for(audience, now).await?;
            Event::ServiceDisabled
        }
    };
    let why = if by == Origin::Config { Why::Configuration } else { Why::Admin };
    let event = event(Disabled { name: name.to_owned(), why });
    tx.record(Entry::new(app.id(), now, event)).await?;
    if withdraw_many::stands_under(tx, what).await? {
        tx.add_removed(what).await?;
    }
    Ok(true)
}

/// Enables what an administrator disabled: nothing of before stands.
async fn enable(app: &App, tx: &mut Tx, what: &Removed, name: &str) -> Result<bool, Error> {
    if !tx.enable(what).await? {
        return Ok(false);
    }
    if tx.lock_removed(what).await? {
        withdraw_many::under_one_that_is_back(app, tx, what).await?;
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

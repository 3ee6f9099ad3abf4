//! Signing in with a password, and out again.

use std::net::IpAddr;

use super::guesses::{Counts, Guesser};
use super::known_browser::KnownBrowser;
use super::logout;
use crate::domain::credentials;
use crate::domain::ids::{AccountId, ClientKey};
use crate::domain::journal::Event;
use crate::domain::refusal::Refusal;
use crate::domain::session::{Account, LIFETIME, Session};
use crate::error::Error;
use crate::host::App;
use crate::meters;
use crate::passwords::{DUMMY_HASH, Place};
use crate::secret::{Secret, token_hash};
use crate::store::{Entry, NewSession, StoredAccount, Tx};

/// What the sign-in form says.
#[derive(Debug)]
pub struct Attempt<'a> {
    /// As typed.
    pub email: &'a str,
    /// As typed.
    pub password: Secret,
    /// From where, unless that is where everybody comes from.
    pub address: Option<IpAddr>,
    /// What the browser keeps of the users it has signed in.
    pub browser: KnownBrowser,
    /// What the browser calls itself.
    pub user_agent: Option<String>,
    /// The session the browser has already.
    pub current: Option<&'a Session>,
}

/// What the browser keeps from now on.
#[derive(Debug)]
pub struct SignedIn {
    /// The session's token.
    pub session: Secret,
    /// That it has signed this user in.
    pub browser: Secret,
}

/// Checks a password and opens a session, or renews the `auth_time` of the one the same user has.
///
/// # Errors
/// [`Refusal::CredentialsWrong`], [`Refusal::Throttled`], [`Refusal::Busy`].
pub async fn sign_in(app: &App, attempt: Attempt<'_>) -> Result<SignedIn, Error> {
    let outcome = try_password(app, attempt).await;
    meters::signed_in(match &outcome {
        Ok(_) => "succeeded",
        Err(Error::Refused(Refusal::Throttled(_))) => "throttled",
        Err(Error::Refused(Refusal::Busy)) => "busy",
        Err(Error::Refused(_)) => "failed",
        Err(Error::Fault(_)) => "fault",
    });
    outcome
}

async fn try_password(app: &App, attempt: Attempt<'_>) -> Result<SignedIn, Error> {
    wait_for_passwords(app).await;
    let email = credentials::email(attempt.email);
    let address = attempt.address.map(tracing::field::display);
    let known = attempt.browser.of(app, &email);
    // First of all a place: whoever has none costs the others neither a look at the database nor a write.
    let place = app.hashing.place(known.map(|_| email.as_str())).await.inspect_err(|_| {
        tracing::info!(address, reason = "too many at once", "a sign-in failed");
    })?;
    let stored = app.store.read().await?.account_by_email(&email).await?;
    let known = known.filter(|entry| stored.as_ref().is_some_and(|user| entry.is_current(app, user)));
    let guesser = known.map_or(Guesser::Stranger(attempt.address), |entry| Guesser::Known(&entry.name));
    let counts = Counts::of(&email, guesser, app.now());
    let outcome = check(app, &attempt, place, &counts, stored.as_ref()).await;
    if let Err(Error::Refused(refusal)) = &outcome {
        // Of an account that is not there nothing is said: people type their password into the wrong field.
        let account = stored.as_ref().map(|stored| &stored.account);
        tracing::info!(
            account = account.map_or("unknown", |account| account.id.as_str()),
            email = account.map(|account| account.email.as_str()),
            address,
            reason =
                if matches!(refusal, Refusal::Throttled(_)) { "too many attempts" } else { "wrong e-mail or password" },
            "a sign-in failed"
        );
    }
    outcome
}

async fn check(
    app: &App,
    attempt: &Attempt<'_>,
    place: Place<'_>,
    counts: &Counts,
    stored: Option<&StoredAccount>,
) -> Result<SignedIn, Error> {
    counts.add(app).await?;
    let hash = stored.filter(|s| !s.disabled).and_then(|s| s.password_hash.clone());
    let usable = hash.is_some();
    let right = place.verify(attempt.password.clone(), hash.unwrap_or_else(|| DUMMY_HASH.to_owned())).await?;
    let Some(user) = stored.filter(|_| usable && right) else { return Err(Refusal::CredentialsWrong.into()) };
    let session = open(app, user, attempt.user_agent.as_deref(), attempt.current, counts).await?;
    Ok(SignedIn { session, browser: Secret::new(attempt.browser.renewed(app, user)) })
}

async fn wait_for_passwords(app: &App) {
    // An error means that the sender is gone, which the App keeps.
    let _ = app.passwords_ready.subscribe().wait_for(|ready| *ready).await;
}

async fn open(
    app: &App,
    user: &StoredAccount,
    user_agent: Option<&str>,
    current: Option<&Session>,
    counts: &Counts,
) -> Result<Secret, Error> {
    let (now, account) = (app.now(), &user.account);
    let token = app.rng.token();
    let hash = token_hash(&token);
    let mut tx = app.store.begin().await?;
    // Whoever disables the user, or gives them another password, either waits for this and ends it too, or was first.
    let lives = tx.lock_account(&account.id).await?;
    let stored = tx.account_by_email(&account.email).await?;
    if !lives || stored.is_none_or(|stored| stored.password_hash != user.password_hash) {
        return Err(Refusal::CredentialsWrong.into());
    }
    counts.forgive(&mut tx).await?;
    let mut opened = false;
    let same = current.filter(|s| s.account_id == account.id);
    let session_id = match same {
        Some(session) if tx.reauthenticate(&session.id, &hash, now).await? => session.id.clone(),
        _ => {
            opened = true;
            if let Some(other) = current {
                end(app, &mut tx, &other.account_id, &other.id).await?;
            }
            let id = app.id();
            let expires_at = now + LIFETIME;
            let new = NewSession { id: &id, account_id: &account.id, token_hash: &hash, user_agent, now, expires_at };
            tx.add_session(&new).await?;
            id
        }
    };
    let sid = session_id;
    let event = if opened { Event::SessionOpened { sid } } else { Event::SessionRenewed { sid } };
    tx.record(Entry { account_id: Some(&account.id), ..Entry::new(app.id(), now, event) }).await?;
    tx.commit().await?;
    Ok(Secret::new(token))
}

/// The session behind a cookie.
///
/// # Errors
/// Faults.
pub async fn session(app: &App, token: &str) -> Result<Option<(Session, Account)>, Error> {
    Ok(app.store.read().await?.session_by_token(&token_hash(token), app.now()).await?)
}

/// Ends a session: nothing that is bound to it is valid any more. What a client got to stay signed in while the user is away goes on.
///
/// # Errors
/// Faults.
pub async fn sign_out(app: &App, session: &Session) -> Result<(), Error> {
    let mut tx = app.store.begin().await?;
    if end(app, &mut tx, &session.account_id, &session.id).await? {
        tx.commit().await?;
        app.outbox_signal.notify_one();
    }
    Ok(())
}

/// Ends a session that its user sees in a list.
///
/// # Errors
/// [`Refusal::NotFound`] also for somebody else's.
pub async fn end_session(app: &App, account: &Account, session_id: &str) -> Result<(), Error> {
    let mut tx = app.store.begin().await?;
    if !end(app, &mut tx, &account.id, session_id).await? {
        return Err(Refusal::NotFound.into());
    }
    tx.commit().await?;
    app.outbox_signal.notify_one();
    Ok(())
}

/// Ends the sign-in of a client: what the user agreed to, and every token that came of it.
///
/// # Errors
/// [`Refusal::NotFound`] when the user has none with it.
pub async fn end_client(app: &App, account: &Account, client: &ClientKey) -> Result<(), Error> {
    let now = app.now();
    let mut tx = app.store.begin().await?;
    if !tx.lock_account(&account.id).await? || !tx.end_sign_ins(&account.id, client, now).await? {
        return Err(Refusal::NotFound.into());
    }
    let entry = Entry::new(app.id(), now, Event::SignInEnded {});
    tx.record(Entry { account_id: Some(&account.id), client: Some(client), ..entry }).await?;
    logout::of_client(app, &mut tx, &account.id, client).await?;
    tx.commit().await?;
    app.outbox_signal.notify_one();
    Ok(())
}

async fn end(app: &App, tx: &mut Tx, account_id: &AccountId, session_id: &str) -> Result<bool, Error> {
    let now = app.now();
    let ended = tx.end_session(account_id, session_id, now).await?;
    if ended {
        let event = Event::SessionEnded { sid: session_id.to_owned() };
        tx.record(Entry { account_id: Some(account_id), ..Entry::new(app.id(), now, event) }).await?;
        logout::of_sessions(app, tx, &[session_id.to_owned()]).await?;
    }
    Ok(ended)
}

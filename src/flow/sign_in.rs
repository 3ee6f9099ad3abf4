//! Signing in with a password, and out again.

use std::net::IpAddr;

use crate::domain::ids::{AccountId, ClientKey};
use crate::domain::journal::Event;
use crate::domain::refusal::Refusal;
use crate::domain::session::{Account, LIFETIME, Session};
use crate::domain::time::Seconds;
use crate::error::Error;
use crate::host::App;
use crate::meters;
use crate::passwords::DUMMY_HASH;
use crate::secret::{Secret, sha256, token_hash};
use crate::store::{Entry, NewSession, StoredAccount, Tx};

/// Seconds after which a failed attempt no longer counts.
const FORGET: Seconds = Seconds(900);
/// Failed attempts for one e-mail before it has to wait.
const FREE_FOR_EMAIL: i64 = 5;
/// Failed attempts from one address before it has to wait.
const FREE_FOR_ADDRESS: i64 = 50;
/// Longest wait.
const LONGEST_WAIT: Seconds = Seconds(900);

/// What the sign-in form says.
#[derive(Debug)]
pub struct Attempt<'a> {
    /// As typed.
    pub email: &'a str,
    /// As typed.
    pub password: Secret,
    /// From where.
    pub address: Option<IpAddr>,
    /// What the browser calls itself.
    pub user_agent: Option<String>,
    /// The session the browser has already.
    pub current: Option<&'a Session>,
}

/// Checks a password and opens a session, or renews the `auth_time` of the one the same user has. Answers with the cookie's token.
///
/// # Errors
/// [`Refusal::CredentialsWrong`], [`Refusal::Throttled`].
pub async fn sign_in(app: &App, attempt: Attempt<'_>) -> Result<Secret, Error> {
    let outcome = try_password(app, attempt).await;
    meters::signed_in(match &outcome {
        Ok(_) => "succeeded",
        Err(Error::Refused(Refusal::Throttled(_))) => "throttled",
        Err(Error::Refused(_)) => "failed",
        Err(Error::Fault(_)) => "fault",
    });
    outcome
}

async fn try_password(app: &App, attempt: Attempt<'_>) -> Result<Secret, Error> {
    wait_for_passwords(app).await;
    let email = attempt.email.trim().to_lowercase();
    let address = attempt.address;
    let stored = app.store.read().await?.account_by_email(&email).await?;
    let outcome = check(app, attempt, &email, stored.as_ref()).await;
    if let Err(Error::Refused(refusal)) = &outcome {
        // Of an account that is not there nothing is said: people type their password into the wrong field.
        let account = stored.as_ref().map(|stored| &stored.account);
        tracing::info!(
            account = account.map_or("unknown", |account| account.id.as_str()),
            email = account.map(|account| account.email.as_str()),
            address = address.map(tracing::field::display),
            reason =
                if matches!(refusal, Refusal::Throttled(_)) { "too many attempts" } else { "wrong e-mail or password" },
            "a sign-in failed"
        );
    }
    outcome
}

async fn check(app: &App, attempt: Attempt<'_>, email: &str, stored: Option<&StoredAccount>) -> Result<Secret, Error> {
    let names = throttle_names(email, attempt.address);
    count(app, &names).await?;
    let usable = stored.filter(|s| !s.disabled).and_then(|s| s.password_hash.clone());
    let known = usable.is_some();
    let right = app.hashing.verify(attempt.password, usable.unwrap_or_else(|| DUMMY_HASH.to_owned())).await?;
    let Some(stored) = stored.filter(|_| known && right) else { return Err(Refusal::CredentialsWrong.into()) };
    open(app, &stored.account, attempt.user_agent.as_deref(), attempt.current, &names).await
}

async fn wait_for_passwords(app: &App) {
    // An error means that the sender is gone, which the App keeps.
    let _ = app.passwords_ready.subscribe().wait_for(|ready| *ready).await;
}

/// The rows that count this attempt, and how many are free. Hashed, so that the table holds no list of e-mails that were tried.
fn throttle_names(email: &str, address: Option<IpAddr>) -> Vec<(String, i64)> {
    let mut names = vec![(sha256(format!("email {email}").as_bytes()), FREE_FOR_EMAIL)];
    if let Some(address) = address {
        // One IPv6 customer has a whole /64.
        let block = match address {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => {
                ip.to_ipv4_mapped().map_or_else(|| format!("{:?}", &ip.segments()[..4]), |v4| v4.to_string())
            }
        };
        names.push((sha256(format!("address {block}").as_bytes()), FREE_FOR_ADDRESS));
    }
    names
}

/// Counts before the password is looked at: a hundred attempts at once are a hundred attempts.
async fn count(app: &App, names: &[(String, i64)]) -> Result<(), Error> {
    let now = app.now();
    let mut tx = app.store.begin().await?;
    for (name, free) in names {
        let (failures, until) = tx.count_attempt(name, now, FORGET).await?;
        // What would last longer than the longest wait was written by a clock that was wrong.
        if until > now && until - now <= LONGEST_WAIT {
            // Without a commit: who has to wait does not make it longer.
            return Err(Refusal::Throttled(until - now).into());
        }
        if failures >= *free {
            let doublings = u32::try_from(failures - free).unwrap_or(u32::MAX).min(10);
            tx.block(name, now + Seconds(5 << doublings).min(LONGEST_WAIT)).await?;
        }
    }
    tx.commit().await?;
    Ok(())
}

async fn open(
    app: &App,
    account: &Account,
    user_agent: Option<&str>,
    current: Option<&Session>,
    names: &[(String, i64)],
) -> Result<Secret, Error> {
    let now = app.now();
    let token = app.rng.token();
    let hash = token_hash(&token);
    let mut tx = app.store.begin().await?;
    for (n, (name, _)) in names.iter().enumerate() {
        // The address keeps the count of its other failures: one known password must not wash them away.
        tx.forgive(name, n == 0).await?;
    }
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
    Ok(())
}

/// Ends the sign-in of a client: what the user agreed to, and every token that came of it.
///
/// # Errors
/// [`Refusal::NotFound`] when the user has none with it.
pub async fn end_client(app: &App, account: &Account, client: &ClientKey) -> Result<(), Error> {
    let now = app.now();
    let mut tx = app.store.begin().await?;
    tx.lock_account(&account.id).await?;
    if !tx.end_sign_ins(&account.id, client, now).await? {
        return Err(Refusal::NotFound.into());
    }
    let entry = Entry::new(app.id(), now, Event::SignInEnded {});
    tx.record(Entry { account_id: Some(&account.id), client: Some(client), ..entry }).await?;
    tx.commit().await?;
    Ok(())
}

async fn end(app: &App, tx: &mut Tx, account_id: &AccountId, session_id: &str) -> Result<bool, Error> {
    let now = app.now();
    let ended = tx.end_session(account_id, session_id, now).await?;
    if ended {
        let event = Event::SessionEnded { sid: session_id.to_owned() };
        tx.record(Entry { account_id: Some(account_id), ..Entry::new(app.id(), now, event) }).await?;
    }
    Ok(ended)
}

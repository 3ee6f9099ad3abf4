//! Telling clients that a user signed out (OpenID Connect Back-Channel Logout 1.0 section 2.5), in the transaction in which that happens.

use url::Url;

use crate::domain::ids::{AccountId, ClientKey, authority};
use crate::domain::journal::Event;
use crate::domain::notice::{Format, Round};
use crate::error::Error;
use crate::host::Process;
use crate::store::{Entry, Logout, NewDelivery, Tx};

/// Owes a logout token to each client that was signed in to in sessions which have just ended.
///
/// # Errors
/// Faults.
pub async fn of_sessions(process: &Process, tx: &mut Tx, sessions: &[String]) -> Result<(), Error> {
    if sessions.is_empty() {
        return Ok(());
    }
    let owed = tx.logouts(sessions, process.now()).await?;
    owe(process, tx, &owed).await
}

/// Owes one to a client for each session in which a user was signed in to it.
///
/// # Errors
/// Faults.
pub async fn of_client(
    process: &Process,
    tx: &mut Tx,
    account_id: &AccountId,
    client: &ClientKey,
) -> Result<(), Error> {
    let owed = tx.logouts_of_client(account_id, client, process.now()).await?;
    owe(process, tx, &owed).await
}

async fn owe(process: &Process, tx: &mut Tx, owed: &[Logout]) -> Result<(), Error> {
    if owed.is_empty() {
        return Ok(());
    }
    let (now, format) = (process.now(), Format::BackchannelLogout);
    let (mut new, mut entries) = (Vec::new(), Vec::new());
    for Logout { sid, account_id, sub, iss, client, client_id, uri } in owed {
        let id = process.id();
        let host = Url::parse(uri).map_or_else(|_| uri.clone(), |url| authority(&url));
        let event = Event::LogoutOwed { delivery_id: id.clone(), sid: sid.clone() };
        let entry = Entry::new(process.id(), now, event);
        entries.push(Entry { account_id: Some(account_id), client: Some(client), ..entry });
        new.push(NewDelivery {
            id: id.into(),
            delegation_id: None,
            sid: Some(sid),
            format,
            round: Round::First,
            endpoint: uri,
            host: host.into(),
            iss,
            sub,
            aud: client_id.as_str(),
            created_at: now,
            due_at: now,
            give_up_at: now + format.tried_for(process.give_up_after),
        });
    }
    tx.enqueue(&new).await?;
    Ok(tx.record_all(&entries).await?)
}

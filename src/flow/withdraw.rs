//! Withdrawal: one transaction ends the consents, writes the journal and owes the notice. Nobody waits for the service.

use std::collections::BTreeMap;

use url::Url;

use crate::domain::delegation::{Delegation, Part};
use crate::domain::ids::{ClientId, ClientKey, authority};
use crate::domain::journal::{self, Event, Why};
use crate::domain::notice::{Delivery, rounds};
use crate::domain::refusal::Refusal;
use crate::domain::service_policy::NoticeEndpoint;
use crate::error::Error;
use crate::flow::bearer::Caller;
use crate::host::{App, Process};
use crate::store::{Entry, LockedDelegation, NewDelivery, Tx};

/// Withdraws a delegation that `caller` may see. Withdrawing what is withdrawn changes nothing and answers the same.
///
/// # Errors
/// [`Refusal::NotFound`] also for somebody else's.
pub async fn withdraw(app: &App, caller: &Caller, delegation_id: &str) -> Result<(Delegation, Vec<Delivery>), Error> {
    let mut tx = app.store.begin().await?;
    let found = tx.delegation(delegation_id).await?;
    let delegation = theirs(caller, found)?;
    if delegation.ended_at.is_none() {
        end(app, &mut tx, &[delegation_id], &Part::Whole, why(caller)).await?;
    }
    after(app, tx, delegation_id).await
}

/// Ends what one client has under a delegation that `caller` may see. Ending what has ended changes nothing and answers the same.
///
/// # Errors
/// [`Refusal::NotFound`] also for somebody else's, and where that client never had anything under it.
pub async fn withdraw_client(
    app: &App,
    caller: &Caller,
    delegation_id: &str,
    client_id: ClientId,
) -> Result<(Delegation, Vec<Delivery>), Error> {
    let mut tx = app.store.begin().await?;
    let found = tx.delegation(delegation_id).await?;
    theirs(caller, found)?;
    let client = tx.client(&client_id).await?.ok_or(Refusal::NotFound)?;
    if !tx.has_consented(delegation_id, &client.key).await? {
        return Err(Refusal::NotFound.into());
    }
    end(app, &mut tx, &[delegation_id], &Part::OfClient(client.key), why(caller)).await?;
    after(app, tx, delegation_id).await
}

fn theirs(caller: &Caller, found: Option<Delegation>) -> Result<Delegation, Refusal> {
    found.filter(|d| caller.account_id().is_none_or(|own| *own == d.account_id)).ok_or(Refusal::NotFound)
}

pub(super) fn why(caller: &Caller) -> Why {
    if matches!(caller, Caller::User(_)) { Why::User } else { Why::Admin }
}

async fn after(app: &App, mut tx: Tx, delegation_id: &str) -> Result<(Delegation, Vec<Delivery>), Error> {
    let delegation = tx.delegation(delegation_id).await?.ok_or(Error::invariant("a delegation is never deleted"))?;
    let deliveries = tx.deliveries(&[delegation_id]).await?;
    tx.commit().await?;
    app.outbox_signal.notify_one();
    Ok((delegation, deliveries))
}

/// Ends a part of delegations, in the caller's transaction and by as few statements as for one; a delegation ends with it when nothing else
/// stands. A notice names no client, so it ends every agent's access at its service: the others mint again. Says under how many of them
/// something stood, or was used up and lived on at the service.
///
/// # Errors
/// Faults.
pub async fn end(process: &Process, tx: &mut Tx, delegation_ids: &[&str], part: &Part, why: Why) -> Result<u64, Error> {
    let now = process.now();
    // Read under the lock, so their last `exp`s are final: what is minted after this is minted under new consents.
    let mut locked = tx.lock_delegations(delegation_ids).await?;
    locked.retain(|delegation| *part != Part::Whole || !delegation.is_over);
    let mut ended = tx.end_consents(&ids(&locked), part, now).await?;
    if *part != Part::Whole {
        locked.retain(|delegation| ended.contains_key(&delegation.id));
    }
    if locked.is_empty() {
        return Ok(0);
    }
    let over = if *part == Part::Whole {
        ids(&locked)
    } else {
        tx.end_used_up(&ids(&locked), now).await?;
        let standing = tx.with_standing_consent(&ids(&locked)).await?;
        ids(&locked).into_iter().filter(|id| !standing.contains(*id)).collect()
    };
    tx.end_delegations(&over, now).await?;
    let client = if let Part::OfClient(key) = part { Some(key) } else { None };
    let all = locked.iter().map(|of| Ended { of, consents: ended.remove(&of.id).unwrap_or_default() });
    let all: Vec<Ended<'_>> = all.collect();
    let notices = enqueue_notices(process, tx, &all).await?;
    record(process, tx, all, notices, (client, why)).await?;
    Ok(locked.len() as u64)
}

fn ids(locked: &[LockedDelegation]) -> Vec<&str> {
    locked.iter().map(|delegation| delegation.id.as_str()).collect()
}

/// What of a delegation ended.
struct Ended<'a> {
    of: &'a LockedDelegation,
    /// How many decisions.
    consents: u64,
}

/// What is on its way of ends, by delegation: what follows, and what of earlier ends that makes pointless.
#[derive(Default)]
struct Notices {
    follow: BTreeMap<String, Vec<journal::Notice>>,
    cancelled: BTreeMap<String, Vec<String>>,
}

async fn enqueue_notices(process: &Process, tx: &mut Tx, all: &[Ended<'_>]) -> Result<Notices, Error> {
    let now = process.now();
    let mut notices = Notices::default();
    // A delegation nothing was minted under has nothing to end at the service.
    let minted: Vec<&LockedDelegation> = all.iter().map(|ended| ended.of).filter(|of| of.mint_count > 0).collect();
    let receivers = tx.receivers(&minted.iter().map(|of| of.aud.as_str()).collect()).await?;
    let (mut new, mut pointless) = (Vec::new(), Vec::new());
    for of in minted {
        for NoticeEndpoint { format, endpoint, .. } in receivers.get(&of.aud).into_iter().flatten() {
            pointless.push((of.id.as_str(), *format));
            let host = Url::parse(endpoint).map_or_else(|_| endpoint.clone(), |url| authority(&url));
            for (round, due_at) in rounds(now, of.last_exp) {
                let id = process.id();
                notices.follow.entry(of.id.clone()).or_default().push(journal::Notice {
                    id: id.clone(),
                    round,
                    due_at,
                });
                new.push(NewDelivery {
                    id: id.into(),
                    delegation_id: Some(&of.id),
                    sid: None,
                    format: *format,
                    round,
                    endpoint,
                    host: host.clone().into(),
                    iss: &of.iss,
                    sub: &of.sub,
                    aud: &of.aud,
                    created_at: now,
                    due_at,
                    give_up_at: due_at + format.tried_for(process.give_up_after),
                });
            }
        }
    }
    if !new.is_empty() {
        // What is on its way from an earlier end says no more than what follows, and would come after it.
        notices.cancelled = tx.cancel_notices(&pointless, now).await?;
        tx.enqueue(&new).await?;
    }
    Ok(notices)
}

async fn record(
    process: &Process,
    tx: &mut Tx,
    all: Vec<Ended<'_>>,
    mut notices: Notices,
    (client, why): (Option<&ClientKey>, Why),
) -> Result<(), Error> {
    let entry = |Ended { of, consents }| {
        let event = Event::Withdrawal(journal::Withdrawal {
            aud: of.aud.clone(),
            sub: of.sub.clone(),
            why,
            consents,
            client: client.cloned(),
            notices: notices.follow.remove(&of.id).unwrap_or_default(),
            cancelled: notices.cancelled.remove(&of.id).unwrap_or_default(),
        });
        Entry {
            account_id: Some(&of.account_id),
            delegation_id: Some(&of.id),
            ..Entry::new(process.id(), process.now(), event)
        }
    };
    let entries: Vec<Entry<'_>> = all.into_iter().map(entry).collect();
    Ok(tx.record_all(&entries).await?)
}

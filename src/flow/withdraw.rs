//! Withdrawal: one transaction ends the consents, writes the journal and owes the notice. Nobody waits for the service.

use std::collections::BTreeSet;

use url::Url;

use crate::domain::delegation::Delegation;
use crate::domain::ids::{ClientId, ClientKey, authority};
use crate::domain::journal::{self, Event, Why};
use crate::domain::notice::{Delivery, Format, rounds};
use crate::domain::refusal::Refusal;
use crate::domain::service_policy::NoticeEndpoint;
use crate::error::Error;
use crate::flow::bearer::Caller;
use crate::host::{App, Host, Process};
use crate::store::{Entry, NewDelivery, Tx};

/// Withdraws a delegation that `caller` may see. Withdrawing what is withdrawn changes nothing and answers the same.
///
/// # Errors
/// [`Refusal::NotFound`] also for somebody else's.
pub async fn withdraw(app: &App, caller: &Caller, delegation_id: &str) -> Result<(Delegation, Vec<Delivery>), Error> {
    let mut tx = app.store.begin().await?;
    let found = tx.delegation(delegation_id).await?;
    let delegation = theirs(caller, found)?;
    if delegation.ended_at.is_none() {
        let receivers = receivers(&mut tx, &delegation.aud).await?;
        end(app, &mut tx, delegation_id, &receivers, why(caller)).await?;
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
    let delegation = theirs(caller, found)?;
    let client = tx.client(&client_id).await?.ok_or(Refusal::NotFound)?;
    if !tx.has_consented(delegation_id, &client.key).await? {
        return Err(Refusal::NotFound.into());
    }
    let receivers = receivers(&mut tx, &delegation.aud).await?;
    end_client(app, &mut tx, delegation_id, &client.key, &receivers, why(caller)).await?;
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

/// Where a service takes notices: it is told in each format that it takes, and also where it was disabled since.
///
/// # Errors
/// Faults.
pub async fn receivers(tx: &mut Tx, aud: &str) -> Result<Vec<NoticeEndpoint>, Error> {
    Ok(tx.known_service(aud).await?.map(|known| known.service.policy.notices).unwrap_or_default())
}

/// Ends a delegation and all its consents, in the caller's transaction. `false` when it was over.
///
/// # Errors
/// Faults.
pub async fn end(
    process: &Process,
    tx: &mut Tx,
    delegation_id: &str,
    receivers: &[NoticeEndpoint],
    why: Why,
) -> Result<bool, Error> {
    let now = process.now();
    let locked = tx.lock_delegation(delegation_id).await?.ok_or(Error::invariant("a delegation is never deleted"))?;
    if !tx.end_delegation(delegation_id, now).await? {
        return Ok(false);
    }
    let ended = tx.end_consents(delegation_id, None, now).await?;
    enqueue_notices(process, tx, &locked, receivers, Ended { why, consents: ended, client: None }).await?;
    Ok(true)
}

/// Ends one client's consents under a delegation; the delegation with them when nothing else stands. The notice names no client, so
/// it ends every agent's access at that service: the others mint again. `false` when nothing of the client stood, unless all that it had
/// were consents for once that it has used: what it got by them lives as long as the delegation.
///
/// # Errors
/// Faults.
pub async fn end_client(
    process: &Process,
    tx: &mut Tx,
    delegation_id: &str,
    client: &ClientKey,
    receivers: &[NoticeEndpoint],
    why: Why,
) -> Result<bool, Error> {
    let now = process.now();
    let locked = tx.lock_delegation(delegation_id).await?.ok_or(Error::invariant("a delegation is never deleted"))?;
    let ended = tx.end_consents(delegation_id, Some(client), now).await?;
    let others = tx.has_standing_consent(delegation_id).await?;
    let over = !others && tx.end_delegation(delegation_id, now).await?;
    if ended == 0 && !over {
        return Ok(false);
    }
    enqueue_notices(process, tx, &locked, receivers, Ended { why, consents: ended, client: Some(client) }).await?;
    Ok(true)
}

/// Ends what was agreed until a time that has come, at whichever issuer, a bounded number at a time. Says how many delegations that
/// touched.
///
/// # Errors
/// Faults.
pub async fn lapse(host: &Host) -> Result<usize, Error> {
    const AT_ONCE: i64 = 100;
    let mut failed = 0;
    loop {
        let lapsed = host.database.read().await?.lapsed_delegations(host.now(), failed, AT_ONCE).await?;
        let page = i64::try_from(lapsed.len()).unwrap_or(AT_ONCE);
        let mut ended = 0;
        for (issuer_id, id) in lapsed.into_iter().collect::<BTreeSet<_>>() {
            match lapse_one(host, &issuer_id, &id).await {
                Ok(()) => ended += 1,
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        delegation = id,
                        "ending what lapsed failed"
                    );
                }
            }
        }
        // What fails is tried again at the next look; however much of it there is, the others do not wait for it.
        if ended > 0 || page < AT_ONCE {
            return Ok(ended);
        }
        failed += page;
    }
}

async fn lapse_one(host: &Host, issuer_id: &str, id: &str) -> Result<(), Error> {
    let now = host.now();
    let mut tx = host.database.of(issuer_id.into()).begin().await?;
    let locked = tx.lock_delegation(id).await?.ok_or(Error::invariant("a delegation is never deleted"))?;
    let ended = tx.end_lapsed(id, now).await?;
    // Another replica may have been quicker.
    if ended > 0 {
        if !tx.has_standing_consent(id).await? {
            tx.end_delegation(id, now).await?;
        }
        let receivers = receivers(&mut tx, &locked.aud).await?;
        let ended = Ended { why: Why::Lapsed, consents: ended, client: None };
        enqueue_notices(host, &mut tx, &locked, &receivers, ended).await?;
        tx.commit().await?;
        host.outbox_signal.notify_one();
    }
    Ok(())
}

/// What of a delegation ended.
struct Ended<'a> {
    why: Why,
    /// How many decisions.
    consents: u64,
    /// Of only one client.
    client: Option<&'a ClientKey>,
}

/// Journal and outbox of an end. `locked` was read under the lock, so its last `exp` is final: what is minted after this is minted under
/// a new consent.
async fn enqueue_notices(
    process: &Process,
    tx: &mut Tx,
    locked: &Delegation,
    receivers: &[NoticeEndpoint],
    ended: Ended<'_>,
) -> Result<(), Error> {
    let now = process.now();
    let mut notices = Vec::new();
    let formats: Vec<Format> = receivers.iter().map(|receiver| receiver.format).collect();
    // What is on its way from an earlier end says no more than what follows, and would come after it.
    let cancelled = if locked.mint_count > 0 && !formats.is_empty() {
        tx.cancel_notices(&locked.id, &formats, now).await?
    } else {
        Vec::new()
    };
    // A delegation nothing was minted under has nothing to end at the service.
    for receiver in receivers.iter().filter(|_| locked.mint_count > 0) {
        let endpoint = receiver.endpoint.as_str();
        let host = Url::parse(endpoint).map_or_else(|_| endpoint.to_owned(), |url| authority(&url));
        for (round, due_at) in rounds(now, locked.last_exp) {
            let id = process.id();
            tx.enqueue(&NewDelivery {
                id: &id,
                delegation_id: Some(&locked.id),
                sid: None,
                format: receiver.format,
                round,
                endpoint,
                host: &host,
                iss: &locked.iss,
                sub: &locked.sub,
                aud: &locked.aud,
                created_at: now,
                due_at,
                give_up_at: due_at + receiver.format.tried_for(process.give_up_after),
            })
            .await?;
            notices.push(journal::Notice { id, round, due_at });
        }
    }
    let event = Event::Withdrawal(journal::Withdrawal {
        aud: locked.aud.clone(),
        sub: locked.sub.clone(),
        why: ended.why,
        consents: ended.consents,
        client: ended.client.cloned(),
        notices,
        cancelled,
    });
    tx.record(Entry {
        account_id: Some(&locked.account_id),
        delegation_id: Some(&locked.id),
        ..Entry::new(process.id(), now, event)
    })
    .await?;
    Ok(())
}

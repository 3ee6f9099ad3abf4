//! Withdrawal in bulk: batch after batch, each a transaction of its own, so that mints and other servers hardly wait. What has ended is no
//! longer selected: whatever cut a run short, it is simply started again.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::delegation::{Removed, Selection};
use crate::domain::ids::ClientKey;
use crate::domain::journal::Why;
use crate::error::Error;
use crate::flow::bearer::Caller;
use crate::flow::withdraw;
use crate::host::{App, Host, Process};
use crate::store::Tx;

/// Delegations that one transaction ends: mints wait for its end on SQLite.
const BATCH: u64 = 2;
/// Between two of them others have so many times as long as one took.
const PAUSE: u32 = 6;
/// The longest that is left to them, however long one took.
const LONGEST_PAUSE: Duration = Duration::from_millis(200);
/// Transactions after which the next one's turn comes, of what was removed.
const TURN: usize = 25;
/// Most delegations that one call of the API ends, so that it is answered in time.
pub const AT_MOST: u64 = 1000;

/// What came of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// How many delegations something was ended under.
    pub withdrawn: u64,
    /// How many are left.
    pub left: u64,
}

/// How many delegations a selection is, of those that stand.
///
/// # Errors
/// Faults.
pub async fn count(host: &Host, issuer_id: &str, selection: &Selection) -> Result<u64, Error> {
    Ok(host.database.of(issuer_id.into()).read().await?.count_standing(selection).await?)
}

/// Withdraws all of it. `progress` hears how many have been withdrawn.
///
/// # Errors
/// Faults; what was withdrawn until then stays so.
pub async fn run(
    host: &Host,
    issuer_id: &str,
    selection: &Selection,
    why: Why,
    progress: impl FnMut(u64),
) -> Result<u64, Error> {
    batches(host, issuer_id, selection, (why, u64::MAX), progress).await
}

/// What of it `caller` may withdraw, at most [`AT_MOST`] of it, or only counts it.
///
/// # Errors
/// Faults.
pub async fn for_caller(app: &App, caller: &Caller, mut selection: Selection, dry_run: bool) -> Result<Done, Error> {
    selection.account_id = caller.account_id().cloned();
    let id = &app.issuer.id;
    if dry_run {
        return Ok(Done { withdrawn: 0, left: count(&app.host, id, &selection).await? });
    }
    let withdrawn = batches(&app.host, id, &selection, (withdraw::why(caller), AT_MOST), |_| {}).await?;
    let left = if withdrawn < AT_MOST { 0 } else { count(&app.host, id, &selection).await? };
    Ok(Done { withdrawn, left })
}

async fn batches(
    host: &Host,
    issuer_id: &str,
    selection: &Selection,
    (why, most): (Why, u64),
    mut progress: impl FnMut(u64),
) -> Result<u64, Error> {
    let store = host.database.of(issuer_id.into());
    let client = match &selection.client_id {
        None => None,
        Some(id) => match store.read().await?.client_key(id).await? {
            None => return Ok(0),
            key => key,
        },
    };
    let (mut after, mut done) = (String::new(), 0);
    while done < most {
        let limit = i64::try_from(BATCH.min(most - done)).unwrap_or(i64::MAX);
        let page = store.read().await?.standing(selection, &after, limit).await?;
        let Some((last, _)) = page.last() else { break };
        after.clone_from(last);
        // No key of the issuer is asked for: also one whose keys do not open withdraws.
        let mut tx = store.begin().await?;
        let begun = Instant::now();
        done += end(host, &mut tx, &page, client.as_ref(), why).await?;
        tx.commit().await?;
        host.outbox_signal.notify_one();
        progress(done);
        leave_room(begun).await;
    }
    Ok(done)
}

/// Ends delegations, or what a client has under them, in the caller's transaction. Says under how many of them something stood.
async fn end(
    process: &Process,
    tx: &mut Tx,
    delegations: &[(String, String)],
    client: Option<&ClientKey>,
    why: Why,
) -> Result<u64, Error> {
    let mut receivers = BTreeMap::new();
    for (_, aud) in delegations {
        if !receivers.contains_key(aud) {
            receivers.insert(aud, withdraw::receivers(tx, aud).await?);
        }
    }
    let mut done = 0;
    for (id, aud) in delegations {
        let told = receivers.get(aud).map_or(&[][..], Vec::as_slice);
        let ended = match client {
            None => withdraw::end(process, tx, id, told, why).await?,
            Some(key) => withdraw::end_client(process, tx, id, key, told, why).await?,
        };
        done += u64::from(ended);
    }
    Ok(done)
}

/// Lets others have their turn after a transaction that began then.
async fn leave_room(begun: Instant) {
    tokio::time::sleep((begun.elapsed() * PAUSE).min(LONGEST_PAUSE)).await;
}

/// Withdraws what still stands under what was removed, at whichever issuer: of each a little at a time, so that none waits for another.
/// What fails is logged, and tried again at the next look.
///
/// # Errors
/// Faults.
pub async fn under_removed(host: &Host) -> Result<(), Error> {
    const AT_ONCE: i64 = 1000;
    let mut failed = Vec::new();
    loop {
        let mut removed = host.database.read().await?.removed(AT_ONCE).await?;
        removed.retain(|one| !failed.contains(one));
        if removed.is_empty() {
            return Ok(());
        }
        for (issuer_id, removed) in removed {
            match under_one(host, &issuer_id, &removed).await {
                Ok(0) => {}
                Ok(delegations) => {
                    tracing::warn!(issuer_id, ?removed, delegations, "withdrew what stood under what was removed");
                }
                Err(error) => {
                    {
                        let error = &error as &dyn std::error::Error;
                        tracing::error!(
                            error,
                            issuer_id,
                            ?removed,
                            "withdrawing what stood under what was removed failed"
                        );
                    }
                    failed.push((issuer_id, removed));
                }
            }
        }
    }
}

/// Withdraws some of it, and forgets it when nothing stands any more. Says under how many delegations something stood.
async fn under_one(host: &Host, issuer_id: &str, removed: &Removed) -> Result<u64, Error> {
    let store = host.database.of(issuer_id.into());
    let client = match removed {
        Removed::Client(key) => Some(key),
        Removed::User(_) | Removed::Service(_) => None,
    };
    let mut done = 0;
    for _ in 0..TURN {
        let mut tx = store.begin().await?;
        let begun = Instant::now();
        // Whoever brought it back has ended what stood, and what stands now was agreed to since.
        if !tx.lock_removed(removed).await? {
            break;
        }
        let page = match selection(&mut tx, removed).await? {
            Some(selection) => tx.standing(&selection, "", i64::try_from(BATCH).unwrap_or(i64::MAX)).await?,
            None => Vec::new(),
        };
        if page.is_empty() {
            tx.forget_removed(removed).await?;
            tx.commit().await?;
            break;
        }
        done += end(host, &mut tx, &page, client, Why::Configuration).await?;
        tx.commit().await?;
        host.outbox_signal.notify_one();
        leave_room(begun).await;
    }
    Ok(done)
}

/// The same in the caller's transaction, all at once: for what has come back meanwhile, under which nothing of before may stand.
///
/// # Errors
/// Faults.
pub async fn under_one_that_is_back(process: &Process, tx: &mut Tx, removed: &Removed) -> Result<(), Error> {
    if let Some(selection) = selection(tx, removed).await? {
        let client = match removed {
            Removed::Client(key) => Some(key),
            Removed::User(_) | Removed::Service(_) => None,
        };
        let all = tx.standing(&selection, "", i64::MAX).await?;
        end(process, tx, &all, client, Why::Configuration).await?;
    }
    Ok(tx.forget_removed(removed).await?)
}

/// Whether a delegation stands under it.
///
/// # Errors
/// Faults.
pub async fn stands_under(tx: &mut Tx, removed: &Removed) -> Result<bool, Error> {
    Ok(match selection(tx, removed).await? {
        Some(selection) => !tx.standing(&selection, "", 1).await?.is_empty(),
        None => false,
    })
}

/// What stands under it.
async fn selection(tx: &mut Tx, removed: &Removed) -> Result<Option<Selection>, Error> {
    let all = Selection::default();
    Ok(match removed {
        Removed::User(id) => Some(Selection { account_id: Some(id.clone()), ..all }),
        Removed::Client(key) => {
            let client = tx.client_by_key(key).await?;
            client.map(|client| Selection { client_id: Some(client.client_id), ..all })
        }
        Removed::Service(aud) => Some(Selection { aud: Some(aud.clone()), ..all }),
    })
}

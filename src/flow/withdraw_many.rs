//! Withdrawal in bulk: batch after batch, each a transaction of its own, so that mints and other servers hardly wait. What has ended is no
//! longer selected: whatever cut a run short, it is simply started again.

use std::collections::BTreeMap;

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
        let begun = Instant::now();
        // No key of the issuer is asked for: also one whose keys do not open withdraws.
        let mut tx = store.begin().await?;
        done += end(host, &mut tx, &page, client.as_ref(), why).await?;
        tx.commit().await?;
        host.outbox_signal.notify_one();
        progress(done);
        tokio::time::sleep(begun.elapsed() * PAUSE).await;
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

/// Withdraws what still stands under what was removed, at whichever issuer. What fails is logged, and tried again at the next look.
///
/// # Errors
/// Faults.
pub async fn under_removed(host: &Host) -> Result<(), Error> {
    const AT_ONCE: i64 = 100;
    let mut failed = 0;
    loop {
        let removed = host.database.read().await?.removed(failed, AT_ONCE).await?;
        if removed.is_empty() {
            return Ok(());
        }
        for (issuer_id, removed) in removed {
            if let Err(error) = under_one(host, &issuer_id, &removed).await {
                failed += 1;
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, issuer_id, ?removed, "withdrawing what stood under what was removed failed");
            }
        }
    }
}

async fn under_one(host: &Host, issuer_id: &str, removed: &Removed) -> Result<(), Error> {
    let store = host.database.of(issuer_id.into());
    let selection = selection(&mut store.read().await?, removed).await?;
    if let Some(selection) = selection {
        let delegations = run(host, issuer_id, &selection, Why::Configuration, |_| {}).await?;
        tracing::warn!(issuer_id, ?removed, delegations, "withdrew what stood under what was removed");
    }
    let mut tx = store.begin().await?;
    tx.forget_removed(removed).await?;
    Ok(tx.commit().await?)
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

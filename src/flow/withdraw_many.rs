//! Withdrawal in bulk: batch after batch, each a transaction of its own, so that mints and other servers hardly wait. What has ended is no
//! longer selected: whatever cut a run short, it is simply started again.

use std::collections::BTreeMap;

use crate::domain::delegation::Selection;
use crate::domain::journal::Why;
use crate::error::Error;
use crate::flow::bearer::Caller;
use crate::flow::{issuers, withdraw};
use crate::host::{App, Host};

/// Delegations that one transaction ends.
const BATCH: u64 = 20;
/// Most delegations that one call of the API ends, so that it is answered in time.
pub const AT_MOST: u64 = 5000;

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
        Some(id) => match store.read().await?.client(id).await? {
            None => return Ok(0),
            client => client,
        },
    };
    let (mut after, mut done) = (String::new(), 0);
    while done < most {
        let limit = i64::try_from(BATCH.min(most - done)).unwrap_or(i64::MAX);
        let page = store.read().await?.standing(selection, &after, limit).await?;
        let Some((last, _)) = page.last() else { break };
        after.clone_from(last);
        let app = issuers::owing(host, issuer_id).await?;
        let mut tx = store.begin().await?;
        let mut receivers = BTreeMap::new();
        for (_, aud) in &page {
            if !receivers.contains_key(aud) {
                receivers.insert(aud, withdraw::receivers(&mut tx, aud).await?);
            }
        }
        for (id, aud) in &page {
            let told = receivers.get(aud).map_or(&[][..], Vec::as_slice);
            let ended = match &client {
                None => withdraw::end(&app, &mut tx, id, told, why).await?,
                Some(client) => withdraw::end_client(&app, &mut tx, id, &client.key, told, why).await?,
            };
            done += u64::from(ended);
        }
        tx.commit().await?;
        app.outbox_signal.notify_one();
        progress(done);
    }
    Ok(done)
}

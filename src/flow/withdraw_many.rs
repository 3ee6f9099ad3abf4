//! Withdrawal of many: batch after batch, each a transaction of its own, so that mints and other servers hardly wait. What has ended is no
//! longer selected: whatever cut a run short, it is simply started again. One that cannot be withdrawn keeps back no other.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::delegation::{Part, Removed, Selection};
use crate::domain::journal::Why;
use crate::error::Error;
use crate::flow::bearer::Caller;
use crate::flow::{logout, withdraw};
use crate::host::{App, Host};
use crate::store::{Store, Tx};

/// Delegations that one transaction ends: mints wait for its end on SQLite.
pub const BATCH: u16 = 16;
/// Sessions, token families or questions that one transaction ends.
const GIVEN: i64 = 256;
/// Between two of them others have so many times as long as one took.
const PAUSE: u32 = 8;
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
    /// How many of those were tried: the log says what is wrong with each.
    pub failed: u64,
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
) -> Result<Done, Error> {
    let done = batches(host, issuer_id, selection, (why, u64::MAX), progress).await?;
    Ok(Done { left: done.failed, ..done })
}

/// What of it `caller` may withdraw, at most [`AT_MOST`] of it, or only counts it.
///
/// # Errors
/// Faults.
pub async fn for_caller(app: &App, caller: &Caller, mut selection: Selection, dry_run: bool) -> Result<Done, Error> {
    selection.account_id = caller.account_id().cloned();
    let id = &app.issuer.id;
    if dry_run {
        return Ok(Done { left: count(&app.host, id, &selection).await?, ..Done::default() });
    }
    let done = batches(&app.host, id, &selection, (withdraw::why(caller), AT_MOST), |_| {}).await?;
    let is_all = done.withdrawn < AT_MOST && done.failed == 0;
    Ok(Done { left: if is_all { 0 } else { count(&app.host, id, &selection).await? }, ..done })
}

async fn batches(
    host: &Host,
    issuer_id: &str,
    selection: &Selection,
    (why, most): (Why, u64),
    mut progress: impl FnMut(u64),
) -> Result<Done, Error> {
    let store = host.database.of(issuer_id.into());
    let part = match &selection.client_id {
        None => Part::Whole,
        Some(id) => match store.read().await?.client_key(id).await? {
            None => return Ok(Done::default()),
            Some(key) => Part::OfClient(key),
        },
    };
    let run = Run { host, store, part, why, removed: None };
    let (mut after, mut done) = (String::new(), Done::default());
    // What fails counts as well, so that a call is answered in time whatever becomes of each.
    while done.withdrawn + done.failed < most {
        let limit = most.saturating_sub(done.withdrawn + done.failed).min(BATCH.into());
        let page = run.store.read().await?.standing(selection, &after, limit.cast_signed()).await?;
        let Some(last) = page.last() else { break };
        after.clone_from(last);
        run.page(&page, &mut done).await?;
        progress(done.withdrawn);
    }
    Ok(done)
}

/// Ends the same part of one delegation after the other.
struct Run<'a> {
    host: &'a Host,
    store: Store,
    part: Part,
    why: Why,
    /// Under what, as long as that is to be withdrawn.
    removed: Option<&'a Removed>,
}

impl Run<'_> {
    /// Ends it of a page by one transaction; where that fails by one for each, and those are left that fail alone. `false`: it is not to be
    /// withdrawn any more.
    async fn page(&self, page: &[String], done: &mut Done) -> Result<bool, Error> {
        match self.transaction(page).await {
            Ok(Some(ended)) => done.withdrawn += ended,
            Ok(None) => return Ok(false),
            Err(error) if !is_of_one(&error) => return Err(error),
            Err(_) => {
                for id in page {
                    match self.transaction(std::slice::from_ref(id)).await {
                        Ok(Some(ended)) => done.withdrawn += ended,
                        Ok(None) => return Ok(false),
                        Err(error) if !is_of_one(&error) => return Err(error),
                        Err(error) => {
                            done.failed += 1;
                            let error = &error as &dyn std::error::Error;
                            tracing::error!(error, delegation = id, "a delegation could not be withdrawn");
                        }
                    }
                }
            }
        }
        Ok(true)
    }

    /// Ends some of what is given under it beside delegations. `false`: nothing is left of that. Nobody who mints has locked any of it before
    /// what it stands under.
    async fn given(&self, removed: &Removed) -> Result<bool, Error> {
        let mut tx = self.store.begin().await?;
        let begun = Instant::now();
        tx.lock_what(removed).await?;
        if !tx.lock_removed(removed).await? {
            return Ok(false);
        }
        let ended = tx.end_given_under(removed, self.host.now(), GIVEN).await?;
        logout::of_sessions(self.host, &mut tx, &ended.sessions).await?;
        tx.commit().await?;
        if ended.rows > 0 {
            self.host.outbox_signal.notify_one();
            leave_room(begun).await;
        }
        Ok(ended.rows > 0)
    }

    /// `None`: it is not to be withdrawn any more. No key of the issuer is asked for: also one whose keys do not open withdraws.
    async fn transaction(&self, page: &[String]) -> Result<Option<u64>, Error> {
        let mut tx = self.store.begin().await?;
        let begun = Instant::now();
        // Somebody else has come to its end, and what stands now was agreed to since.
        if let Some(removed) = self.removed
            && !tx.lock_removed(removed).await?
        {
            return Ok(None);
        }
        let ended = withdraw::end(self.host, &mut tx, &texts(page), &self.part, self.why).await?;
        tx.commit().await?;
        self.host.outbox_signal.notify_one();
        leave_room(begun).await;
        Ok(Some(ended))
    }
}

/// Whether the reason may lie in one of several delegations, or be over: not where the database does not work.
fn is_of_one(error: &Error) -> bool {
    match error {
        Error::Refused(_) => false,
        Error::Fault(fault) => !fault.is_outage() || error.is_cut_off(),
    }
}

fn texts(ids: &[String]) -> Vec<&str> {
    ids.iter().map(String::as_str).collect()
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
            let done = under_one(host, &issuer_id, &removed).await;
            if let Err(error) = &done {
                let error = error as &dyn std::error::Error;
                tracing::error!(error, issuer_id, ?removed, "withdrawing what stood under what was removed failed");
            }
            let done = done.unwrap_or(Done { failed: 1, ..Done::default() });
            if done.withdrawn > 0 {
                let delegations = done.withdrawn;
                tracing::warn!(issuer_id, ?removed, delegations, "withdrew what stood under what was removed");
            }
            // Where something was done there may be more beside what failed.
            if done.failed > 0 && done.withdrawn == 0 {
                failed.push((issuer_id, removed));
            }
        }
    }
}

/// Ends some of it, and lets it live again when nothing stands any more, unless somebody disabled it. Says what came of it.
async fn under_one(host: &Host, issuer_id: &str, removed: &Removed) -> Result<Done, Error> {
    let store = host.database.of(issuer_id.into());
    let Some(selection) = selection(&mut store.read().await?, removed).await? else {
        return Err(Error::invariant("what was removed is never deleted"));
    };
    let run = Run { host, store, part: part(removed), why: Why::Configuration, removed: Some(removed) };
    let (mut after, mut done, mut turns) = (String::new(), Done::default(), 0);
    while turns < TURN && run.given(removed).await? {
        turns += 1;
    }
    // What fails costs no turn: else what comes after it would wait for ever.
    while turns < TURN {
        let page = run.store.read().await?.standing(&selection, &after, BATCH.into()).await?;
        let Some(last) = page.last() else { break };
        after.clone_from(last);
        let before = done.failed;
        if !run.page(&page, &mut done).await? {
            return Ok(done);
        }
        turns += usize::from(done.failed - before < page.len() as u64);
    }
    if done.failed == 0 && turns < TURN {
        let mut tx = run.store.begin().await?;
        tx.lock_what(removed).await?;
        if tx.lock_removed(removed).await? && !stands_under(&mut tx, removed).await? {
            tx.finish_ending(removed).await?;
            tx.commit().await?;
            // What it says of itself depends on its clients; other processes hear of it by its revision.
            host.issuers.remove(issuer_id);
        }
    }
    Ok(done)
}

fn part(removed: &Removed) -> Part {
    match removed {
        Removed::Client(key) => Part::OfClient(key.clone()),
        Removed::User(_) | Removed::Service(_) => Part::Whole,
    }
}

/// Whether anything stands under it.
///
/// # Errors
/// Faults.
pub async fn stands_under(tx: &mut Tx, removed: &Removed) -> Result<bool, Error> {
    if tx.is_given_under(removed).await? {
        return Ok(true);
    }
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

/// Ends what was agreed until a time that has come, at whichever issuer, a bounded number at a time. Says how many delegations that
/// touched.
///
/// # Errors
/// Faults.
pub async fn lapse(host: &Host) -> Result<u64, Error> {
    const AT_ONCE: i64 = 100;
    let mut passed = 0;
    loop {
        let lapsed = host.database.read().await?.lapsed_delegations(host.now(), passed, AT_ONCE).await?;
        let page = i64::try_from(lapsed.len()).unwrap_or(AT_ONCE);
        let mut by_issuer = BTreeMap::<String, BTreeSet<String>>::new();
        for (issuer_id, id) in lapsed {
            by_issuer.entry(issuer_id).or_default().insert(id);
        }
        let mut done = Done::default();
        for (issuer_id, ids) in by_issuer {
            let store = host.database.of(issuer_id.as_str().into());
            let run = Run { host, store, part: Part::Lapsed, why: Why::Lapsed, removed: None };
            for page in ids.into_iter().collect::<Vec<_>>().chunks(BATCH.into()) {
                run.page(page, &mut done).await?;
            }
        }
        // What fails is tried again at the next look; however much of it there is, the others do not wait for it.
        if done.withdrawn > 0 || page < AT_ONCE {
            return Ok(done.withdrawn);
        }
        passed += page;
    }
}

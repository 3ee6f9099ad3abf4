//! The worker of a process: for all its issuers it sends the notices that are due, ends what has lapsed, sweeps what is over, and hears
//! of issuers that others have changed. It goes by what is due, never issuer by issuer.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::error::Error;
use crate::flow::notify::{self, Cursor};
use crate::flow::{issuers, measure, sweep, withdraw};
use crate::host::Host;

/// Hosts that are told at the same time: well above the number of those that could hang.
const AT_ONCE: usize = 128;
/// How often to look for what replicas enqueued and changed, and what has come due.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Hosts that are leased by one claim, so that it stays short: others write meanwhile.
const AT_A_TIME: usize = 16;
/// Time between two looks for work at least: each goes over all hosts that something waits for.
const PAUSE: Duration = Duration::from_millis(10);
/// How often it is measured what is on its way.
const MEASURE: Duration = Duration::from_secs(5);
/// How often expired rows are deleted.
const SWEEP: Duration = Duration::from_mins(10);

/// Works until `stop` turns true; what is under way then is finished, and what is not stays in the outbox.
pub async fn run(host: Host, mut stop: watch::Receiver<bool>) {
    let worker = host.id();
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    let mut under_way = JoinSet::new();
    let mut cursor = Cursor::default();
    // By time and not by looks: where withdrawals never pause, no look waits out its second.
    let (mut look, mut measure_at, mut sweep_at) = (Instant::now(), Instant::now(), Instant::now());
    while !*stop.borrow() {
        let now = Instant::now();
        if now >= look {
            look = now + POLL_INTERVAL;
            answered(&host, "looking for changed issuers", Box::pin(issuers::refresh(&host))).await;
        }
        if now >= measure_at {
            measure_at = now + MEASURE;
            answered(&host, "measuring", Box::pin(measure::run(&host))).await;
        }
        if now >= sweep_at {
            sweep_at = now + SWEEP;
            answered(&host, "sweeping", Box::pin(sweep::run(&host))).await;
        }
        answered(&host, "ending what lapsed", Box::pin(withdraw::lapse(&host))).await;
        while start_due(&host, &worker, &permits, &mut cursor, &mut under_way).await {}
        while under_way.try_join_next().is_some() {}
        tokio::select! {
            () = host.outbox_signal.notified() => {}
            // When a host has been told what was leased, more may wait for it.
            Some(_) = under_way.join_next() => {}
            () = tokio::time::sleep(POLL_INTERVAL) => {}
            _ = stop.changed() => {}
        }
        tokio::time::sleep(PAUSE).await;
    }
    while under_way.join_next().await.is_some() {}
}

/// Starts telling the hosts that something is due for, as far as permits go. Says whether there may be more.
async fn start_due(
    host: &Host,
    worker: &str,
    permits: &Arc<Semaphore>,
    cursor: &mut Cursor,
    under_way: &mut JoinSet<()>,
) -> bool {
    let free = permits.available_permits().min(AT_A_TIME);
    if free == 0 {
        return false;
    }
    let claim = Box::pin(notify::claim(host, worker, i64::try_from(free).unwrap_or(1), cursor));
    let Some(claimed) = answered(host, "claiming notices", claim).await else { return false };
    let more = claimed.len() == free;
    for notices in claimed {
        let Ok(permit) = permits.clone().try_acquire_owned() else { break };
        let (host, worker) = (host.clone(), worker.to_owned());
        under_way.spawn(async move {
            answered(&host, "telling a service", Box::pin(notify::tell(&host, &notices, &worker))).await;
            drop(permit);
        });
    }
    more
}

/// Does work as long as the database answers, and logs why it did not succeed.
async fn answered<T>(host: &Host, what: &str, work: impl Future<Output = Result<T, Error>>) -> Option<T> {
    match host.while_database_answers(work).await.and_then(|done| done) {
        Ok(done) => Some(done),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "{what} failed");
            None
        }
    }
}

/// Sends everything that is due, one host after the other, until nothing is: for tests and the end of a script, with a clock that stands.
pub async fn run_until_idle(host: &Host) {
    let (worker, mut cursor) = (host.id(), Cursor::default());
    loop {
        answered(host, "ending what lapsed", Box::pin(withdraw::lapse(host))).await;
        let claimed = answered(host, "claiming notices", Box::pin(notify::claim(host, &worker, 1, &mut cursor))).await;
        let claimed = claimed.unwrap_or_default();
        if claimed.is_empty() {
            return;
        }
        for notices in &claimed {
            answered(host, "telling a service", Box::pin(notify::tell(host, notices, &worker))).await;
        }
    }
}

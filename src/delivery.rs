//! The worker: sends what is owed, ends what has lapsed, sweeps what is over, and keeps the key ring current.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::flow::{issuers, notify, sweep, withdraw};
use crate::host::{App, DEFAULT_ISSUER, Host};

/// Notices on their way at the same time: well above the number of hosts that could hang, since each host has one at a time.
const AT_ONCE: usize = 128;
/// How often to look for what replicas owe and what has come due.
const LOOK: Duration = Duration::from_secs(1);
/// How often expired rows are deleted.
const SWEEP: Duration = Duration::from_mins(10);

/// Works until `stop` turns true; what is under way then is finished, and what is not stays in the outbox.
pub async fn run(host: Host, mut stop: watch::Receiver<bool>) {
    let worker = host.id();
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    let mut under_way = JoinSet::new();
    // By time and not by looks: where withdrawals never pause, no look waits out its second.
    let (mut look, mut sweep_at) = (Instant::now(), Instant::now());
    while !*stop.borrow() {
        let now = Instant::now();
        if now >= look {
            look = now + LOOK;
            log(issuers::refresh(&host).await, "looking for changed issuers");
        }
        if now >= sweep_at {
            sweep_at = now + SWEEP;
            log(sweep::run(&host).await, "sweeping");
        }
        if let Some(app) = default(&host).await {
            log(withdraw::lapse(&app).await.map(drop), "ending what lapsed");
            while start_due(&app, &worker, &permits, &mut under_way).await {}
        }
        while under_way.try_join_next().is_some() {}
        tokio::select! {
            () = host.outbox_signal.notified() => {}
            // A host has one notice at a time: when one is through, its next may go.
            Some(_) = under_way.join_next() => {}
            () = tokio::time::sleep(LOOK) => {}
            _ = stop.changed() => {}
        }
    }
    while under_way.join_next().await.is_some() {}
}

async fn default(host: &Host) -> Option<App> {
    match issuers::app(host, DEFAULT_ISSUER).await {
        Ok(app) => app,
        Err(error) => {
            log(Err(error), "loading the issuer");
            None
        }
    }
}

/// Starts attempts at what is due, as far as permits go. Says whether there may be more.
async fn start_due(app: &App, worker: &str, permits: &Arc<Semaphore>, under_way: &mut JoinSet<()>) -> bool {
    let free = permits.available_permits();
    if free == 0 {
        return false;
    }
    let claimed = match notify::claim(app, worker, i64::try_from(free).unwrap_or(1)).await {
        Ok(claimed) => claimed,
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "claiming notices failed");
            return false;
        }
    };
    let more = claimed.len() == free;
    for delivery in claimed {
        let Ok(permit) = permits.clone().try_acquire_owned() else { break };
        let (app, worker) = (app.clone(), worker.to_owned());
        under_way.spawn(async move {
            log(notify::attempt(&app, &delivery, &worker).await, "a delivery attempt");
            drop(permit);
        });
    }
    more
}

/// Sends everything that is due, one notice after the other, until nothing is: for tests and the end of a script, with a clock that stands.
pub async fn run_until_idle(host: &Host) {
    let worker = host.id();
    while let Some(app) = default(host).await {
        let app = &app;
        log(withdraw::lapse(app).await.map(drop), "ending what lapsed");
        let claimed = notify::claim(app, &worker, 1).await.unwrap_or_default();
        if claimed.is_empty() {
            return;
        }
        for delivery in &claimed {
            log(notify::attempt(app, delivery, &worker).await, "a delivery attempt");
        }
    }
}

fn log(outcome: Result<(), crate::error::Error>, what: &str) {
    if let Err(error) = outcome {
        tracing::error!(error = &error as &dyn std::error::Error, "{what} failed");
    }
}

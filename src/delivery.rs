//! The worker of a process: for all its issuers it sends the notices that are due, ends what has lapsed, sweeps what is over, and hears
//! of issuers that others have changed. It goes by what is due, never issuer by issuer.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::domain::notice::Delivery;
use crate::error::Error;
use crate::flow::lanes::{Lanes, Place};
use crate::flow::notify::{self, Cursor};
use crate::flow::sealing::Heart;
use crate::flow::{fetches, issuers, measure, rotate, sealing, sweep, withdraw_many};
use crate::host::Host;

/// How often to look for what replicas enqueued and changed, and what has come due.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// How often to look for what was put off by a clock that was wrong.
const CLOCK_INTERVAL: Duration = Duration::from_mins(1);
/// Hosts that are leased by one claim.
const AT_A_TIME: usize = 32;
/// Time between two looks for work at least: each goes over all hosts that something waits for.
const PAUSE: Duration = Duration::from_millis(10);
/// How often it is measured what is on its way.
const MEASURE: Duration = Duration::from_secs(5);
/// How often to look for keys that are to rotate.
const ROTATE: Duration = Duration::from_secs(5);
/// How often it is written down who has fetched keys.
const FETCHES: Duration = Duration::from_secs(10);
/// How often expired rows are deleted.
const SWEEP: Duration = Duration::from_mins(10);

/// A worker and what it has under way.
struct Worker {
    host: Host,
    name: String,
    lanes: Arc<Lanes>,
    cursor: Cursor,
    under_way: JoinSet<()>,
    /// Work that may take minutes, so that nothing else waits for it. Cut short at the end, it is gone on with.
    rotation: Aside,
    sweep: Aside,
    under_removed: Aside,
}

/// Work that goes on beside the rest, one piece at a time.
#[derive(Default)]
struct Aside(JoinSet<()>);

impl Aside {
    /// Starts it, unless it is under way.
    fn start<F>(&mut self, host: &Host, what: &'static str, work: impl FnOnce(Host) -> F)
    where
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        while self.0.try_join_next().is_some() {}
        if self.0.is_empty() {
            let (host, work) = (host.clone(), Box::pin(work(host.clone())));
            self.0.spawn(async move {
                answered(&host, what, work).await;
            });
        }
    }
}

/// Works until `stop` turns true; what is under way then is finished, and what is not stays in the outbox.
pub async fn run(host: Host, stop: watch::Receiver<bool>) {
    let mut heart = Heart::new(&host);
    tokio::select! {
        () = work(host.clone(), stop) => {}
        () = issuers::listen(&host) => {}
        // Whatever else may take its time: who is silent for a quarter of a minute is taken for dead.
        () = beat(&host, &mut heart) => {}
    }
    answered(&host, "saying that this server has ended", Box::pin(heart.end(&host))).await;
}

async fn beat(host: &Host, heart: &mut Heart) {
    loop {
        answered(host, "saying that this server runs", Box::pin(heart.beat(host))).await;
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

async fn work(host: Host, mut stop: watch::Receiver<bool>) {
    let name = host.id();
    let mut worker = Worker {
        host: host.clone(),
        name,
        lanes: Lanes::new(),
        cursor: Cursor::default(),
        under_way: JoinSet::new(),
        rotation: Aside::default(),
        sweep: Aside::default(),
        under_removed: Aside::default(),
    };
    // By time and not by looks: where withdrawals never pause, no look waits out its second.
    let (mut look, mut clock) = (Instant::now(), Instant::now());
    let (mut measure_at, mut rotate_at, mut sweep_at) = (Instant::now(), Instant::now(), Instant::now());
    let mut fetches_at = Instant::now();
    while !*stop.borrow() {
        let now = Instant::now();
        if now >= look {
            look = now + POLL_INTERVAL;
            answered(&host, "looking for changed issuers", Box::pin(issuers::refresh(&host))).await;
            answered(&host, "looking for sealing keys", Box::pin(sealing::follow(&host))).await;
            worker.start_hung().await;
            let what = "withdrawing what stood under what was removed";
            worker.under_removed.start(&host, what, |host| async move { withdraw_many::under_removed(&host).await });
        }
        if now >= clock {
            clock = now + CLOCK_INTERVAL;
            answered(&host, "looking for what was put off", Box::pin(notify::pull_forward(&host))).await;
        }
        if now >= measure_at {
            measure_at = now + MEASURE;
            answered(&host, "measuring", Box::pin(measure::run(&host))).await;
        }
        if now >= rotate_at {
            rotate_at = now + ROTATE;
            worker.rotation.start(&host, "rotating keys", |host| async move { rotate::run(&host).await });
        }
        if now >= fetches_at {
            fetches_at = now + FETCHES;
            write_down_fetches(&host).await;
        }
        if now >= sweep_at {
            sweep_at = now + SWEEP;
            worker.sweep.start(&host, "sweeping", |host| async move { sweep::run(&host).await });
        }
        answered(&host, "ending what lapsed", Box::pin(withdraw_many::lapse(&host))).await;
        while worker.start_due().await {}
        while worker.under_way.try_join_next().is_some() {}
        let lanes = worker.lanes.clone();
        tokio::select! {
            () = host.outbox_signal.notified() => {}
            // When a host has been told what was leased, more may wait for it.
            Some(_) = worker.under_way.join_next() => {}
            () = lanes.room() => {}
            () = tokio::time::sleep(POLL_INTERVAL) => {}
            _ = stop.changed() => {}
        }
        tokio::time::sleep(PAUSE).await;
    }
    while worker.under_way.join_next().await.is_some() {}
    write_down_fetches(&host).await;
}

async fn write_down_fetches(host: &Host) {
    answered(host, "writing down who fetched keys", Box::pin(fetches::write_down(host))).await;
}

impl Worker {
    /// Starts telling hosts that something is due for, as far as there are places. Says whether there may be more.
    async fn start_due(&mut self) -> bool {
        let free = self.lanes.free().min(AT_A_TIME);
        if free == 0 {
            return false;
        }
        let hung = self.lanes.hung();
        let claim = Box::pin(notify::claim(&self.host, &self.name, free, &mut self.cursor, &hung));
        let Some(claimed) = answered(&self.host, "claiming notices", claim).await else { return false };
        let more = claimed.len() == free;
        for notices in claimed {
            let Some(place) = self.lanes.enter() else { break };
            self.start(notices, place);
        }
        more
    }

    /// Starts telling those that hung and may be tried again.
    async fn start_hung(&mut self) {
        let (hung, room) = self.lanes.hung_to_try(Instant::now());
        if hung.is_empty() || room == 0 {
            return;
        }
        let claim = Box::pin(notify::claim_of(&self.host, &self.name, &hung, room));
        let claimed = answered(&self.host, "claiming notices of hosts that hung", claim).await;
        for notices in claimed.unwrap_or_default() {
            let place = self.lanes.enter_slow();
            self.start(notices, place);
        }
    }

    fn start(&mut self, notices: Vec<Delivery>, mut place: Place) {
        let (host, name) = (self.host.clone(), self.name.clone());
        self.under_way.spawn(async move {
            answered(&host, "telling a service", Box::pin(notify::tell(&host, &notices, &name, &mut place))).await;
        });
    }
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
    answered(host, "looking for what was put off", Box::pin(notify::pull_forward(host))).await;
    answered(host, "withdrawing what stood under what was removed", Box::pin(withdraw_many::under_removed(host))).await;
    loop {
        answered(host, "ending what lapsed", Box::pin(withdraw_many::lapse(host))).await;
        let claim = Box::pin(notify::claim(host, &worker, 1, &mut cursor, &[]));
        let claimed = answered(host, "claiming notices", claim).await.unwrap_or_default();
        if claimed.is_empty() {
            return;
        }
        for notices in &claimed {
            let mut place = Place::anywhere();
            answered(host, "telling a service", Box::pin(notify::tell(host, notices, &worker, &mut place))).await;
        }
    }
}

//! Drills: a rotation or a compromise of an issuer's keys, rehearsed with services that trust a lab's issuer. Each service has its own task and
//! its own issuer, so that each goes at its own pace.

mod broken;
mod compromise;
pub mod report;
mod rotation;
mod service;
mod steps;
#[cfg(test)]
mod tests;
pub mod view;
mod watch;

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch as channel;
use tokio::task::JoinSet;

use self::report::{Ending, Kind, Report, SCHEMA, Schedule, Service, Standing};
use self::service::{Drill, Written, millis};
use self::watch::Watch;
use crate::clock::Clock;
use crate::domain::ids::IssuerUrl;
use crate::domain::understood::Understood;
use crate::jose::{JoseError, LabKey};
use crate::lab::examine::found::Verdict;
use crate::lab::examine::stage::{Client, Stage, User, cast};
use crate::lab::examine::talk::Talk;
use crate::lab::examine::target::{Known, Target};
use crate::lab::hosted::Hosted;
use crate::net::Net;
use crate::rng::Rng;

pub use service::{Keep, Progress, Tell};
pub use steps::{FETCHED_AHEAD, Patience, Step, Waits, all, estimate};
pub use watch::Wait;

/// Finds out how a service talks.
pub type Understand = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = Result<Understood, String>> + Send>> + Send>;

/// A service to rehearse with.
pub struct Named {
    /// What was named.
    pub url: String,
    /// How its metadata are understood.
    pub understand: Understand,
    /// What somebody knows better.
    pub known: Known,
    /// Who presents the assertions, where the service registers clients.
    pub client: Option<Client>,
    /// Who vouches to it.
    pub issuer: IssuerUrl,
    /// By which key.
    pub key: LabKey,
}

/// What is rehearsed, with whom, and how far one goes.
pub struct Options {
    /// What.
    pub kind: Kind,
    /// How far.
    pub schedule: Schedule,
    /// How long things are waited for.
    pub patience: Patience,
    /// With whom.
    pub services: Vec<Named>,
    /// Who vouches; each service has this issuer or one below it.
    pub issuer: IssuerUrl,
    /// Steps that are left out, by name.
    pub skip: Vec<String>,
    /// What is published; it is served by whoever asks for the drill.
    pub hosted: Hosted,
    /// About whom.
    pub user: User,
    /// Somebody else, whose credential is withdrawn.
    pub other_user: User,
    /// Between two requests to one service.
    pub gap: Duration,
    /// What an earlier run has reached.
    pub reached: Option<Report>,
    /// The way out.
    pub net: Net,
    /// The time.
    pub clock: Clock,
    /// How one waits.
    pub wait: Wait,
    /// Where names come from that were never used.
    pub rng: Rng,
    /// Turns true when somebody wants to stop.
    pub stop: channel::Receiver<bool>,
    /// Who is told.
    pub tell: Tell,
    /// Who keeps what was reached.
    pub keep: Keep,
}

/// What the tasks have in common.
struct Common {
    hosted: Hosted,
    user: User,
    other_user: User,
    gap: Duration,
    net: Net,
    clock: Clock,
    rng: Rng,
    kind: Kind,
    schedule: Schedule,
    patience: Patience,
}

/// Rehearses with every service at the same time.
///
/// # Errors
/// When a key cannot be made: nothing is wrong with the services then.
pub async fn run(options: Options) -> Result<Report, JoseError> {
    let began = Instant::now();
    let Options { kind, schedule, patience, services, issuer, skip, hosted, user, other_user, gap, reached, .. } =
        options;
    let Options { net, clock, wait, rng, mut stop, tell, keep, .. } = options;
    let steps: Arc<[Step]> = all(kind).into();
    let report = reached.map_or_else(|| empty(kind, schedule, &issuer, &services, clock.now()), unfinished);
    let before = Duration::from_millis(report.took_ms);
    let report = Arc::new(Mutex::new(report));
    let skip: Arc<[String]> = skip.into();
    let common = Arc::new(Common { hosted, user, other_user, gap, net, clock, rng, kind, schedule, patience });
    let mut tasks = JoinSet::new();
    for (n, named) in services.into_iter().enumerate() {
        let (report, steps, skip) = (report.clone(), steps.clone(), skip.clone());
        let timed: Keep = {
            let keep = keep.clone();
            Arc::new(move |report| {
                let took_ms = millis(before + began.elapsed()).max(latest(report));
                keep(&Report { took_ms, ..report.clone() });
            })
        };
        let written = Written { report, service: n, steps, skip, tell: tell.clone(), keep: timed };
        let watch = Watch::new(before, wait.clone(), stop.clone());
        tasks.spawn(Box::pin(with_one(common.clone(), named, watch, written)));
    }
    let all_done = async {
        while let Some(done) = tasks.join_next().await {
            if let Ok(done) = done {
                done?;
            }
        }
        Ok::<_, JoseError>(())
    };
    let stopped = async {
        if stop.wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let interrupted = tokio::select! {
        done = all_done => {
            done?;
            *stop.borrow()
        }
        () = stopped => true,
    };
    tasks.abort_all();
    let mut report = report.lock().unwrap_or_else(PoisonError::into_inner).clone();
    report.took_ms = millis(before + began.elapsed()).max(latest(&report));
    finish(&mut report, &steps, interrupted);
    Ok(report)
}

/// When the last thing happened; later than the machine's clock says where waiting was cut short.
fn latest(report: &Report) -> u64 {
    let moments = report.services.iter().flat_map(|service| &service.moments);
    moments.map(|moment| moment.at_ms).max().unwrap_or_default()
}

fn empty(
    drill: Kind,
    schedule: Schedule,
    issuer: &IssuerUrl,
    services: &[Named],
    began: crate::domain::time::Timestamp,
) -> Report {
    let service = |named: &Named| Service {
        named: named.url.clone(),
        audience: None,
        dialect: None,
        issuer: named.issuer.to_string(),
        standing: Standing::Unknown,
        remarks: Vec::new(),
        steps: Vec::new(),
        moments: Vec::new(),
    };
    Report {
        schema: SCHEMA,
        avouch: env!("CARGO_PKG_VERSION").into(),
        drill,
        schedule,
        issuer: issuer.to_string(),
        live: false,
        began,
        took_ms: 0,
        ending: Ending::Interrupted,
        remarks: Vec::new(),
        services: services.iter().map(service).collect(),
    }
}

/// A report to go on from: what was reached, and nothing that was filled in at its end.
fn unfinished(mut report: Report) -> Report {
    for service in &mut report.services {
        service.steps.retain(|step| step.at_ms.is_some() && step.verdict != Verdict::CouldNotRun);
        service.remarks.clear();
    }
    report
}

/// Every step has its place, also what was not reached.
fn finish(report: &mut Report, steps: &[Step], interrupted: bool) {
    for service in &mut report.services {
        let mut done = std::mem::take(&mut service.steps);
        let control = done.iter().any(|step| step.verdict == Verdict::Pass);
        let why = match (interrupted, control) {
            (true, _) => "it was not reached before somebody stopped the drill",
            (false, true) => "there was no occasion for it",
            (false, false) => "no good assertion was taken, so nothing could be shown",
        };
        for step in steps {
            let at = done.iter().position(|done| done.name == step.name);
            service.steps.push(at.map_or_else(|| step.with(Verdict::Skipped, why), |at| done.swap_remove(at)));
        }
        service.moments.sort_by_key(|moment| moment.at_ms);
        service.judge();
    }
    report.ending = if interrupted { Ending::Interrupted } else { Ending::Complete };
}

async fn with_one(common: Arc<Common>, named: Named, watch: Watch, written: Written) -> Result<(), JoseError> {
    let steps = written.steps.clone();
    if steps.iter().all(|step| written.has(step)) {
        return Ok(());
    }
    let Named { understand, known, client, issuer, key, .. } = named;
    written.say(None, "reading its metadata", Duration::ZERO);
    let Common { hosted, user, other_user, gap, net, clock, rng, kind, schedule, patience } = &*common;
    let agent = format!("avouch-drill/{} (+{issuer})", env!("CARGO_PKG_VERSION"));
    let talk = Arc::new(Talk::new(net.clone(), *gap, agent, clock.clone()));
    let understood = understand().await;
    let target = match understood {
        Ok(understood) => Target::read(&understood, &known, &talk).await,
        Err(why) => Err(why),
    };
    let target = match target {
        Ok(target) => target,
        Err(why) => {
            written.with(|service| service.remarks.push(format!("Nothing could be sent: {why}.")));
            written.say(None, "nothing could be sent", Duration::ZERO);
            return Ok(());
        }
    };
    written.with(|service| {
        service.audience = Some(target.audience.clone());
        service.dialect = Some(target.dialect.as_str().to_owned());
    });
    let cast = cast(issuer, key, clock, rng)?;
    let (hosted, user, clock, rng) = (hosted.clone(), user.clone(), clock.clone(), rng.clone());
    let stage = Stage { cast, hosted, target, talk, user, client, clock, rng };
    stage.publish(stage.cast.issuer.jwks());
    let mut drill = Drill::new(stage, other_user.clone(), (*schedule, *patience), watch, written.clone());
    match kind {
        Kind::Rotation => Box::pin(drill.rotation()).await?,
        Kind::Compromise => Box::pin(drill.compromise()).await?,
    }
    written.say(None, "done", Duration::ZERO);
    Ok(())
}

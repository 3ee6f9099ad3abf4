//! `avouch keys reseal`.

use std::time::{Duration, Instant};

use serde_json::json;

use super::All;
use crate::cli::Failure;
use crate::cli::config::{cannot_start, load};
use crate::cli::progress::Bar;
use crate::clock::Clock;
use crate::flow::reseal::{self, Progress, Report, ResealError};
use crate::flow::start;
use crate::host::Host;
use crate::rng::Rng;

/// After which time it is said who is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

async fn connect(all: &All) -> Result<Host, Failure> {
    let config = load(all.config.as_deref())?;
    start::connect(&config, Clock::System, Rng::Os).await.map_err(|e| cannot_start(&e))
}

pub(super) async fn prepare(all: &All) -> Result<(), Failure> {
    let host = connect(all).await?;
    let (path, made) = reseal::prepare(&host.sealing.given(), &host.rng).map_err(failed)?;
    if all.json {
        out!("{}", json!({ "file": path.display().to_string(), "made": made }));
        return Ok(());
    }
    out!("{}", path.display());
    say!(
        "{} Nothing is sealed by it yet. Bring it to every server under that name, mode 0600, then run: avouch keys reseal",
        if made { "This is the next sealing key." } else { "There is a next sealing key already." }
    );
    Ok(())
}

pub(super) async fn run(dry_run: bool, all: &All) -> Result<(), Failure> {
    let host = connect(all).await?;
    let mut view = View::new();
    let report = reseal::run(&host, dry_run, |progress| view.show(&progress)).await;
    view.bar.end();
    let report = report.map_err(failed)?;
    if all.json {
        out!("{}", serde_json::to_string(&report).map_err(|e| Failure::Unable(e.to_string()))?);
    } else {
        tell(&report);
    }
    if report.unopened.is_empty() {
        return Ok(());
    }
    Err(Failure::Unable(format!(
        "these do not open and stay as they are: {}. The old sealing key is kept. Revoke each (avouch keys revoke) or restore its row, and run \
         this again",
        report.unopened.join("; ")
    )))
}

fn tell(report: &Report) {
    let Report { from, to, resealed, .. } = report;
    let line = match to {
        None => {
            format!("A new sealing key would be made in the place of {from}; {resealed} keys would be sealed anew.")
        }
        Some(to) if report.dry_run && to == from => {
            format!("{resealed} keys would be sealed anew by the sealing key {to}.")
        }
        Some(to) if report.dry_run => {
            format!("The sealing key would be {to} in the place of {from}; {resealed} keys would be sealed anew.")
        }
        Some(to) => format!("The sealing key is {to}. {resealed} keys were sealed anew."),
    };
    out!("{line}");
    if !report.servers_without.is_empty() {
        out!("Servers that have not got it yet: {}", report.servers_without.join(", "));
    }
    for line in &report.files {
        out!("- {line}");
    }
    for line in &report.to_do {
        out!("- To do: {line}.");
    }
    if !report.dry_run {
        out!(
            "- Backups of before are opened by the old sealing key only: keep it as long as those. Forms and browsers that it knows are taken as \
             long as servers have it."
        );
    }
}

fn failed(error: ResealError) -> Failure {
    match error {
        ResealError::Failed(error) => super::failed(error),
        stopped => Failure::Usage(stopped.to_string()),
    }
}

/// What a person sees meanwhile: how far it is, or who is waited for.
struct View {
    begun: Instant,
    told: bool,
    bar: Bar,
}

impl View {
    fn new() -> Self {
        Self { begun: Instant::now(), told: false, bar: Bar::new("sealed anew") }
    }

    fn show(&mut self, progress: &Progress<'_>) {
        match progress {
            Progress::Waiting(servers) if !self.told && self.begun.elapsed() > PATIENCE => {
                self.told = true;
                let places: Vec<&str> = servers.iter().map(|server| server.place.as_str()).collect();
                say!(
                    "waiting for servers that have not said yet that they have the new sealing key (15 seconds for one that was killed): {}",
                    places.join(", ")
                );
            }
            Progress::Waiting(_) => {}
            Progress::Resealed(done, all) => self.bar.show(*done, *all),
        }
    }
}

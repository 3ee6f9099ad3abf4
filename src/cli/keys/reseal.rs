//! `avouch keys reseal`.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use serde_json::json;

use super::All;
use crate::cli::Failure;
use crate::cli::config::{cannot_start, load};
use crate::clock::Clock;
use crate::flow::reseal::{self, Progress, Report, ResealError};
use crate::flow::start;
use crate::host::Host;
use crate::rng::Rng;

/// Characters of the bar.
const WIDTH: u64 = 40;
/// How often it is drawn.
const DRAW: Duration = Duration::from_millis(100);
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
    view.end();
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

/// What a person sees meanwhile: on a terminal a bar, else who is waited for.
struct View {
    begun: Instant,
    drawn: Option<Instant>,
    told: bool,
    terminal: bool,
}

impl View {
    fn new() -> Self {
        Self { begun: Instant::now(), drawn: None, told: false, terminal: std::io::stderr().is_terminal() }
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
            Progress::Resealed(done, all)
                if self.terminal && (done == all || self.drawn.is_none_or(|drawn| drawn.elapsed() > DRAW)) =>
            {
                self.drawn = Some(Instant::now());
                let _ = write!(std::io::stderr(), "\r{}", bar(*done, *all));
            }
            _ => {}
        }
    }

    fn end(&self) {
        if self.drawn.is_some() {
            let _ = writeln!(std::io::stderr());
        }
    }
}

fn bar(done: u64, all: u64) -> String {
    let part = |of: u64| done * of / all.max(1);
    let filled = usize::try_from(part(WIDTH)).unwrap_or_default();
    let width = usize::try_from(WIDTH).unwrap_or_default();
    format!("[{:<width$}] {:>3} %  {done} of {all}", "#".repeat(filled), part(100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar() {
        assert_eq!(bar(0, 0), format!("[{}]   0 %  0 of 0", " ".repeat(40)));
        assert_eq!(bar(5000, 10_000), format!("[{}{}]  50 %  5000 of 10000", "#".repeat(20), " ".repeat(20)));
        assert_eq!(bar(7, 7), format!("[{}] 100 %  7 of 7", "#".repeat(40)));
    }
}

//! A drill on an issuer at work. It publishes the next key, lets that sign and retires the old one, each when its time has come, as
//! `avouch keys` does; and tells who has fetched the new key. Services are sent nothing: a lab's assertions are not that issuer's, and
//! whatever is wrong with a key set on purpose stays in labs.

use std::io::{BufRead as _, IsTerminal as _};
use std::path::PathBuf;
use std::time::Duration;

use super::super::config::{cannot_start, load};
use super::super::keys::words::when;
use super::super::{Failure, stop};
use crate::clock::Clock;
use crate::domain::rotation::{KeyState, SigningAlg};
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::flow::rehearse::{self, Fetched, Next, Standing};
use crate::flow::{issuers_admin, start};
use crate::host::{DEFAULT_ISSUER, Host};
use crate::lab::drill::FETCHED_AHEAD;
use crate::lab::drill::report::{self, Ending, Kind, Moment, Report, SCHEMA, Schedule, Service, What};
use crate::lab::examine::found::Verdict;
use crate::rng::Rng;

/// How often it is looked, while something is waited for.
const LOOK: Duration = Duration::from_secs(10);

/// Which issuer at work.
#[derive(clap::Args)]
#[group(id = "Live", multiple = true)]
pub(super) struct Arguments {
    /// Rehearse on an issuer at work (--issuer, or the one at the root): publish its next key, let it sign, retire the old one, see who has fetched it
    #[arg(long, requires = "config")]
    live: bool,
    /// Configuration file of that issuer's server
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The issuer's name, instead of typing it
    #[arg(long, value_name = "ISSUER")]
    yes_i_mean: Option<String>,
    /// Whose keys: ES256 or RS256
    #[arg(long, value_name = "ALG", default_value = "ES256", value_parser = super::super::keys::alg)]
    alg: SigningAlg,
}

impl Arguments {
    /// Whether an issuer at work is meant. Whoever names one without saying so may have forgotten it, and would get a lab's drill.
    pub(super) fn is_meant(&self) -> Result<bool, Failure> {
        if !self.live && (self.config.is_some() || self.yes_i_mean.is_some()) {
            return Err(Failure::Usage("--config and --yes-i-mean are for a drill with --live".to_owned()));
        }
        Ok(self.live)
    }
}

struct Live {
    host: Host,
    id: String,
    alg: SigningAlg,
    services: Vec<String>,
    report: Report,
}

/// Takes every step whose time has come.
pub(super) async fn run(
    kind: Kind,
    schedule: Schedule,
    services: &[String],
    issuer: Option<&str>,
    arguments: &Arguments,
) -> Result<Report, Failure> {
    if kind == Kind::Compromise {
        return Err(Failure::Usage(
            "a compromise is not rehearsed on an issuer at work: it would take away a key that signs. When it is no drill: \
             `avouch keys revoke`"
                .to_owned(),
        ));
    }
    let config = load(arguments.config.as_deref())?;
    let host = start::connect(&config, Clock::System, Rng::Os).await.map_err(|e| cannot_start(&e))?;
    let (id, url) = issuer_named(&host, issuer).await?;
    confirm(&url, arguments.yes_i_mean.as_deref())?;
    let report = Report {
        schema: SCHEMA,
        avouch: env!("CARGO_PKG_VERSION").into(),
        drill: kind,
        schedule,
        issuer: url,
        live: true,
        began: host.now(),
        took_ms: 0,
        ending: Ending::Complete,
        remarks: Vec::new(),
        services: Vec::new(),
    };
    let mut live = Live { host, id, alg: arguments.alg, services: services.to_vec(), report };
    let outcome = live.run().await;
    live.host.database.close().await;
    outcome?;
    Ok(live.report)
}

/// Our key of an issuer, and its name.
async fn issuer_named(host: &Host, named: Option<&str>) -> Result<(String, String), Failure> {
    let root = issuers_admin::find(host, DEFAULT_ISSUER).await.map_err(failed)?;
    let Some(named) = named.filter(|named| *named != root.url) else {
        return Ok((DEFAULT_ISSUER.to_owned(), root.url));
    };
    let none = || Failure::Usage(format!("--issuer {named}: {} has no such issuer", root.url));
    let id =
        named.strip_prefix(root.url.trim_end_matches('/')).and_then(|rest| rest.strip_prefix('/')).ok_or_else(none)?;
    match issuers_admin::find(host, id).await {
        Ok(found) if found.url == named => Ok((id.to_owned(), found.url)),
        Ok(_) | Err(Error::Refused(_)) => Err(none()),
        Err(error) => Err(failed(error)),
    }
}

/// Whoever types the name means it.
fn confirm(url: &str, given: Option<&str>) -> Result<(), Failure> {
    let typed = match given {
        Some(given) => given.to_owned(),
        None if std::io::stdin().is_terminal() => {
            say!("This is no lab: the next key of {url} is published, and signs when its time has come.");
            say!("Type the name of the issuer to go on:");
            let mut line = String::new();
            let _ = std::io::stdin().lock().read_line(&mut line);
            line.trim().to_owned()
        }
        None => {
            return Err(Failure::Usage(format!(
                "--live is about {url}: add --yes-i-mean {url}, or start it at a terminal"
            )));
        }
    };
    if typed == url { Ok(()) } else { Err(Failure::Usage(format!("{typed} is not {url}: nothing was changed"))) }
}

fn failed(error: Error) -> Failure {
    match error {
        Error::Refused(refusal) => Failure::Usage(refusal.to_string()),
        Error::Fault(fault) => Failure::Unable(fault.to_string()),
    }
}

impl Live {
    async fn run(&mut self) -> Result<(), Failure> {
        let mut stop = stop::on_signal()?;
        let mut told = String::new();
        let mut retired = false;
        loop {
            let standing = self.standing().await?;
            let now = self.host.now();
            let (due, what) = self.in_words(&standing.next);
            if standing.next == Next::Prepare && retired {
                self.remark("The rotation is complete.".to_owned());
                break;
            }
            if due <= now {
                rehearse::take(&self.host, &self.id, self.alg, &standing.next).await.map_err(failed)?;
                retired |= matches!(standing.next, Next::Retire(..));
                self.remark(format!("{}: {what}.", now.rfc3339()));
                continue;
            }
            let wait = format!("Next: {what}, {}.", when(due, now));
            if self.report.schedule == Schedule::Fast {
                self.remark(format!(
                    "{wait} Start the same drill again then, or use --schedule realistic, which waits."
                ));
                break;
            }
            if told != wait {
                say!("{wait} Ctrl-C ends the drill with a report; started again, it goes on.");
                told = wait;
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                _ = stop.wait_for(|stop| *stop) => {
                    self.report.ending = Ending::Interrupted;
                    self.remark(format!("Next: {what}, {}.", when(due, now)));
                    break;
                }
            }
        }
        self.look().await
    }

    async fn standing(&self) -> Result<Standing, Failure> {
        rehearse::standing(&self.host, &self.id, self.alg).await.map_err(failed)
    }

    fn in_words(&self, next: &Next) -> (Timestamp, String) {
        match next {
            Next::Prepare => (self.host.now(), "a new key is published".to_owned()),
            Next::Activate(kid, at) => (*at, format!("the key {kid} signs")),
            Next::Retire(kid, at) => (*at, format!("the key {kid} leaves the key set")),
        }
    }

    fn remark(&mut self, text: String) {
        say!("{text}");
        self.report.remarks.push(text);
    }

    /// Who has fetched the newest key.
    async fn look(&mut self) -> Result<(), Failure> {
        let standing = self.standing().await?;
        let Some(newest) = standing.newest else { return Ok(()) };
        let kid = &newest.key.kid;
        let fetched = rehearse::fetched(&self.host, &self.id, kid, &self.services).await.map_err(failed)?;
        self.report.began = newest.key.created_at;
        let since = |at: Timestamp| u64::try_from((at - newest.key.created_at).0).unwrap_or_default() * 1000;
        self.report.took_ms = since(self.host.now());
        let published = Moment { at_ms: 0, what: What::Published { keys: vec![kid.to_string()], flaw: None } };
        let signs = newest.key.state == KeyState::Active;
        let services = fetched.iter().map(|fetched| {
            let (verdict, reason) = judged(fetched, signs);
            let last = fetched.last_at.filter(|_| fetched.has).map(since);
            let seen =
                last.map(|at_ms| Moment { at_ms, what: What::Fetched { status: 200, keys: vec![kid.to_string()] } });
            let step = report::Step {
                at_ms: Some(since(self.host.now())),
                measured_ms: None,
                ..FETCHED_AHEAD.with(verdict, reason)
            };
            Service {
                named: fetched.service.clone(),
                audience: None,
                dialect: None,
                issuer: self.report.issuer.clone(),
                standing: match verdict {
                    Verdict::Pass => report::Standing::Ready,
                    Verdict::Warning => report::Standing::Warned,
                    _ => report::Standing::Unknown,
                },
                remarks: Vec::new(),
                steps: vec![step],
                moments: std::iter::once(published.clone()).chain(seen).collect(),
            }
        });
        self.report.services = services.collect();
        Ok(())
    }
}

fn judged(fetched: &Fetched, signs: bool) -> (Verdict, String) {
    let last = fetched.last_at.map(Timestamp::rfc3339);
    match (fetched.has, last, signs) {
        (true, Some(last), _) => (Verdict::Pass, format!("it has fetched the new key; its last fetch was at {last}")),
        (_, None, _) => (Verdict::Skipped, "nobody at its address has fetched the key set in the last week".to_owned()),
        (_, Some(last), true) => {
            (Verdict::Warning, format!("the new key signs, and it has not fetched it; its last fetch was at {last}"))
        }
        (_, Some(last), false) => (Verdict::Skipped, format!("not yet; its last fetch was at {last}")),
    }
}

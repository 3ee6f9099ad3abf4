//! One examination from its beginning to its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::watch;

use super::check::{NO_CREDENTIAL, Selection, all};
use super::examiner::{Limits, Probe, Restart};
use super::metadata;
use super::report::advice::advice;
use super::report::grade::grade;
use super::report::{Ending, Line, Report, SCHEMA, Verdict};
use super::results::{Results, Tell};
use crate::clock::Clock;
use crate::domain::ids::IssuerUrl;
use crate::domain::understood::Understood;
use crate::jose::{JoseError, LabKey};
use crate::lab::examine::stage::{Client, Stage, User, cast};
use crate::lab::examine::talk::Talk;
use crate::lab::examine::target::{Known, Target};
use crate::lab::hosted::Hosted;
use crate::net::Net;
use crate::rng::Rng;

/// What is examined, by whom, and how far one goes.
pub struct Options {
    /// What was named.
    pub named: String,
    /// What was understood of its metadata.
    pub understood: Understood,
    /// What somebody knows better.
    pub known: Known,
    /// Who vouches, and where that is published.
    pub issuer: IssuerUrl,
    /// By which key.
    pub key: LabKey,
    /// What is published there; it is served by whoever asks for the examination.
    pub hosted: Hosted,
    /// About whom.
    pub user: User,
    /// Somebody else, whom nothing shall happen to.
    pub other_user: User,
    /// Who presents the assertions, where the service registers clients.
    pub client: Option<Client>,
    /// Another client that the service knows.
    pub other_client: Option<String>,
    /// Which checks.
    pub selection: Selection,
    /// Metadata alone.
    pub passive: bool,
    /// Between two requests.
    pub gap: Duration,
    /// How long a service may rest between two fetches of a key set.
    pub patience: Duration,
    /// How long a credential may live on after a notice.
    pub kill_within: Duration,
    /// How the service is started anew.
    pub restart: Option<Restart>,
    /// The way out.
    pub net: Net,
    /// The time.
    pub clock: Clock,
    /// Where names come from that were never used.
    pub rng: Rng,
    /// Turns true when somebody wants to stop.
    pub stop: watch::Receiver<bool>,
    /// Who is told of each verdict.
    pub tell: Tell,
}

/// Examines a service.
///
/// # Errors
/// When a key cannot be made: nothing is wrong with the service then.
pub async fn run(options: Options) -> Result<Report, JoseError> {
    let began = Instant::now();
    let Options { named, understood, known, issuer, key, hosted, user, other_user, client, other_client, .. } = options;
    let Options { selection, passive, gap, patience, kill_within, restart, net, clock, rng, stop, tell, .. } = options;
    let agent = format!("avouch-probe/{} (+{issuer})", env!("CARGO_PKG_VERSION"));
    let talk = Arc::new(Talk::new(net, gap, agent, clock.clone()));
    let of = all().iter().filter(|check| selection.has(check)).count();
    let mut results = Results::new(of, tell);
    let mut report = Report {
        schema: SCHEMA,
        avouch: env!("CARGO_PKG_VERSION").into(),
        target: named,
        audience: understood.issuer.clone(),
        dialect: None,
        issuer: (!passive).then(|| issuer.to_string()),
        user: (!passive).then(|| user.sub.clone()),
        began: clock.now(),
        took_ms: 0,
        ending: Ending::Passive,
        grade: None,
        advice: String::new(),
        remarks: Vec::new(),
        understood: lines(&understood),
        checks: Vec::new(),
    };
    let target = Target::read(&understood, &known, &talk).await;
    results.dialect = target.as_ref().ok().map(|target| target.dialect);
    report.dialect = results.dialect.map(|dialect| dialect.as_str().to_owned());
    metadata::judge(&understood, &selection, &mut results);
    if passive {
        results.remarks.push(metadata::in_a_sentence(&understood));
    }
    match target {
        Err(why) => {
            report.ending = if passive { Ending::Passive } else { Ending::NoControl };
            results.remarks.push(format!("Nothing could be sent: {why}."));
        }
        Ok(_) if passive => {}
        Ok(target) => {
            let mut cast = cast(issuer, key, &clock, &rng)?;
            if let Some(other) = other_client {
                cast.others.client_id = other;
            }
            let stage = Stage { cast, hosted, target, talk, user, client, clock, rng };
            let options = Limits { other_user, selection: selection.clone(), patience, kill_within, restart, stop };
            let mut probe = Probe {
                stage,
                options,
                results,
                fresh: false,
                over: None,
                presented: 0,
                fetched_before: 0,
                refusals: Vec::new(),
            };
            Box::pin(probe.examine()).await?;
            probe.look_at_refusals();
            report.ending = probe.over.unwrap_or(Ending::Complete);
            results = probe.results;
        }
    }
    finish(&mut report, results, &selection);
    report.took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(report)
}

fn lines(understood: &Understood) -> Vec<Line> {
    let line = |said: crate::domain::understood::Said<(&'static str, String)>| {
        let at = [said.document, said.member].into_iter().flatten().collect::<Vec<_>>().join(", ");
        let why = if at.is_empty() { said.why } else { format!("{} ({at})", said.why) };
        Line { name: said.value.0.to_owned(), value: said.value.1, why }
    };
    understood.fields().into_iter().map(line).collect()
}

/// Every check has its place, also what was not reached.
fn finish(report: &mut Report, mut results: Results, selection: &Selection) {
    let why = match report.ending {
        Ending::Complete => "there was no occasion for it",
        Ending::Interrupted => "it was not reached before somebody stopped the examination",
        Ending::NoControl => "no good assertion was taken, so that a refusal would show nothing",
        Ending::Passive => "only the metadata were read",
    };
    report.checks = results.finish(selection, why);
    report.remarks.append(&mut results.remarks);
    report.grade = grade(&report.checks, report.ending);
    report.advice = advice(&report.checks, report.ending);
}

impl Probe {
    async fn examine(&mut self) -> Result<(), JoseError> {
        self.fetched_before = self.stage.hosted.fetches(&self.stage.jwks_path()).len();
        self.stage.publish(self.keys_at_first());
        self.look_for_the_api().await;
        self.results.say("a good assertion");
        let Some(first) = self.first().await? else {
            self.over = Some(Ending::NoControl);
            return Ok(());
        };
        self.odd_requests().await?;
        self.blocks().await?;
        self.clients().await?;
        self.notices().await?;
        Box::pin(self.keys(first)).await?;
        self.clean_up().await
    }

    /// What is published to begin with: the key that signs, the next one, and one that is soon gone.
    pub(super) fn keys_at_first(&self) -> Value {
        let issuer = &self.stage.cast.issuer;
        let keys = [&issuer.key, &issuer.next, &issuer.removed];
        json!({"keys": keys.map(LabKey::public_jwk)})
    }

    /// Whether all refusals are worded alike, so that nobody can tell which rule refused.
    fn look_at_refusals(&mut self) {
        const ENOUGH: usize = 8;
        if !self.refusals.is_empty() {
            // Kept only where no refusal did.
            let why = format!("none of {} refusals holds one", self.refusals.len());
            self.effect(&NO_CREDENTIAL, Verdict::Pass, why, Vec::new());
        }
        let Some(first) = self.refusals.first() else { return };
        if self.refusals.len() >= ENOUGH && self.refusals.iter().all(|refusal| refusal == first) {
            let remark = format!(
                "All {} refusals are the same ({first}): they do not show which rule refused.",
                self.refusals.len()
            );
            self.results.remarks.push(remark);
        }
    }
}

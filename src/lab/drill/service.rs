//! A drill with one service, under way: what is published, what is presented, what is written down.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::report::{Moment, Report, Said, Schedule, Service, What};
use super::steps::{Patience, Step, Waits};
use super::watch::Watch;
use crate::jose::{JoseError, LabKey};
use crate::lab::examine::found::{Evidence, Verdict};
use crate::lab::examine::hear::Heard;
use crate::lab::examine::stage::{Credential, Stage, User};
use crate::lab::examine::talk;
use crate::lab::flaws::{Cast, Document, Draft, Kind};
use crate::lab::issuer::LabIssuer;

/// How often it is looked whether a credential has ended.
const LOOK: Duration = Duration::from_millis(200);

/// How far it is.
pub struct Progress<'a> {
    /// Which service, by its place in the list.
    pub service: usize,
    /// Its name.
    pub named: &'a str,
    /// Steps that have a verdict.
    pub done: usize,
    /// Steps there are.
    pub of: usize,
    /// The newest one; nothing while something is waited for.
    pub step: Option<&'a super::report::Step>,
    /// What is going on.
    pub doing: &'a str,
    /// About how long the rest takes.
    pub left: Duration,
}

/// Who is told.
pub type Tell = Arc<dyn Fn(&Progress<'_>) + Send + Sync>;
/// Who keeps what was reached, after each step.
pub type Keep = Arc<dyn Fn(&Report) + Send + Sync>;

pub(super) struct Drill {
    pub(super) stage: Stage,
    /// Who is told of in notices.
    pub(super) other: User,
    pub(super) schedule: Schedule,
    pub(super) patience: Patience,
    pub(super) watch: Watch,
    pub(super) written: Written,
    /// The newest fetch of the key set that was seen.
    seen: Option<Instant>,
    /// When that was.
    rests_from: Option<Duration>,
    /// Keys by their names on the wire.
    labels: BTreeMap<String, String>,
}

/// What is known of a service so far, where everybody can see it.
#[derive(Clone)]
pub(super) struct Written {
    pub(super) report: Arc<Mutex<Report>>,
    pub(super) service: usize,
    pub(super) steps: Arc<[Step]>,
    pub(super) skip: Arc<[String]>,
    pub(super) tell: Tell,
    pub(super) keep: Keep,
}

/// A key of the issuer, and everybody else as they are.
pub(super) struct Signer {
    pub(super) label: String,
    pub(super) cast: Cast,
}

/// What came of an assertion.
pub(super) struct Shown {
    pub(super) heard: Heard,
    pub(super) evidence: Evidence,
    /// What it was answered with.
    pub(super) json: Value,
    /// How often the key set was fetched meanwhile.
    pub(super) fetches: usize,
}

impl Shown {
    /// Whether it was believed, also where the user is to confirm the account first.
    pub(super) fn is_believed(&self) -> bool {
        matches!(self.heard, Heard::Taken | Heard::Asks)
    }

    /// Whether it shows nothing: no answer, or a failure.
    pub(super) fn is_nothing(&self) -> bool {
        matches!(self.heard, Heard::Nothing(_) | Heard::Late | Heard::Failing { .. })
    }
}

impl Written {
    /// Does something with the service's part of the report.
    pub(super) fn with<T>(&self, change: impl FnOnce(&mut Service) -> T) -> T {
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut report.services[self.service])
    }

    pub(super) fn has(&self, step: &Step) -> bool {
        self.with(|service| service.steps.iter().any(|done| done.name == step.name))
    }

    pub(super) fn is_wanted(&self, step: &Step) -> bool {
        !self.skip.iter().any(|name| name == step.name)
    }

    /// Adds a step that came to its verdict; of one that did so before, that stays.
    pub(super) fn add(&self, step: &super::report::Step, left: Duration) {
        if self.with(|service| service.steps.iter().any(|done| done.name == step.name)) {
            return;
        }
        self.with(|service| service.steps.push(step.clone()));
        self.say(Some(step), &step.name, left);
        let report = self.report.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (self.keep)(&report);
    }

    pub(super) fn say(&self, step: Option<&super::report::Step>, doing: &str, left: Duration) {
        let (named, done) = self.with(|service| (service.named.clone(), service.steps.len()));
        let (service, of) = (self.service, self.steps.len());
        (self.tell)(&Progress { service, named: &named, done, of, step, doing, left });
    }
}

impl Drill {
    pub(super) fn new(
        stage: Stage,
        other: User,
        (schedule, patience): (Schedule, Patience),
        watch: Watch,
        written: Written,
    ) -> Self {
        // What was looked at before the drill is nobody's fetch; when the service fetched for an earlier one is not known.
        let (seen, rests_from, labels) = (Some(Instant::now()), Some(watch.now()), BTreeMap::new());
        Self { stage, other, schedule, patience, watch, written, seen, rests_from, labels }
    }

    /// About how long the rest takes.
    fn left(&self) -> Duration {
        let open: Vec<Step> = self.written.steps.iter().filter(|step| !self.written.has(step)).copied().collect();
        super::steps::estimate(&open, self.schedule, &self.patience)
    }

    pub(super) fn say(&self, doing: &str) {
        self.written.say(None, doing, self.left());
    }

    /// A verdict.
    pub(super) fn keep(&self, step: &Step, verdict: Verdict, why: impl Into<String>, evidence: Vec<Evidence>) {
        self.keep_measured(step, verdict, why, evidence, None);
    }

    /// A verdict, with how long something took.
    pub(super) fn keep_measured(
        &self,
        step: &Step,
        verdict: Verdict,
        why: impl Into<String>,
        evidence: Vec<Evidence>,
        measured: Option<Duration>,
    ) {
        let at_ms = Some(millis(self.watch.now()));
        let step =
            super::report::Step { at_ms, measured_ms: measured.map(millis), evidence, ..step.with(verdict, why) };
        self.written.add(&step, self.left());
    }

    /// Whether a step is still to be taken. What is not wanted, or not on this schedule, is written down as skipped.
    pub(super) fn is_due(&self, step: &Step) -> bool {
        if self.written.has(step) {
            return false;
        }
        if !self.written.is_wanted(step) {
            self.keep(step, Verdict::Skipped, "it was left out on request", Vec::new());
            return false;
        }
        if self.schedule == Schedule::Fast && step.waits != Waits::No {
            let why = match step.waits {
                Waits::Fetch => {
                    "services fetch a key set again only once in a while: --schedule realistic waits for that"
                }
                _ => "it takes until the service's copy is too old: --schedule realistic waits for that",
            };
            self.keep(step, Verdict::Skipped, why, Vec::new());
            return false;
        }
        true
    }

    fn moment(&self, at: Duration, what: What) {
        self.written.with(|service| service.moments.push(Moment { at_ms: millis(at), what }));
    }

    /// A key that the service has never seen.
    pub(super) fn fresh(&mut self) -> Result<Signer, JoseError> {
        let key = self.stage.cast.issuer.key.derive(&format!("drill-{}", self.stage.rng.token()))?;
        self.signer(key)
    }

    /// A key of the issuer, with a name for reports.
    pub(super) fn signer(&mut self, key: LabKey) -> Result<Signer, JoseError> {
        let cast = &self.stage.cast;
        let untrusted = LabIssuer::new(cast.untrusted.url.clone(), key.derive("untrusted")?)?;
        let issuer = LabIssuer::new(cast.issuer.url.clone(), key)?;
        let label = format!("key {}", self.labels.len() + 1);
        self.labels.insert(issuer.key.kid().as_str().to_owned(), label.clone());
        Ok(Signer { label, cast: Cast { issuer, untrusted, others: cast.others.clone(), now: cast.now } })
    }

    /// The names by which reports call keys; keys that are there for a flaw alone have none.
    fn called(&self, kids: &[String]) -> Vec<String> {
        kids.iter().map(|kid| self.labels.get(kid).map_or("another", String::as_str).to_owned()).collect()
    }

    /// Publishes a key set, good or bad.
    pub(super) fn publish(&mut self, document: Document, flaw: Option<&str>) {
        self.look();
        let kids = crate::lab::hosted::kids(document.members.get("keys"));
        let mut keys = self.called(&kids);
        keys.truncate(8);
        self.stage.hosted.put(&self.stage.jwks_path(), document);
        self.moment(self.watch.now(), What::Published { keys, flaw: flaw.map(str::to_owned) });
    }

    pub(super) fn publish_keys(&mut self, signers: &[&Signer]) {
        self.publish(set_of(signers), None);
    }

    /// How often the key set was fetched since it was last asked; each goes on record.
    pub(super) fn look(&mut self) -> usize {
        let all = self.stage.hosted.fetches(&self.stage.jwks_path());
        let new: Vec<_> = all.into_iter().filter(|fetch| self.seen.is_none_or(|seen| fetch.at > seen)).collect();
        for fetch in &new {
            let (at, mut keys) = (self.watch.at(fetch.at), self.called(&fetch.kids));
            keys.truncate(8);
            self.moment(at, What::Fetched { status: fetch.status, keys });
            (self.seen, self.rests_from) = (Some(fetch.at), Some(at));
        }
        new.len()
    }

    /// Presents a good assertion about a user by a key.
    pub(super) async fn present(&mut self, what: &str, by: &mut Signer, user: &User) -> Result<Shown, JoseError> {
        let terms = self.stage.terms(user, by.cast.issuer.key.alg());
        by.cast.now = self.stage.clock.now();
        let draft = by.cast.assertion(&terms)?;
        self.present_draft(what, by, &draft).await
    }

    pub(super) async fn present_draft(&mut self, what: &str, by: &Signer, draft: &Draft) -> Result<Shown, JoseError> {
        self.look();
        let token = draft.token(&by.cast)?;
        let (heard, said) = self.stage.present(what, Kind::Assertion, draft, &token).await;
        let fetches = self.look();
        self.moment(self.watch.now(), What::Presented { key: by.label.clone(), answer: in_a_word(&heard) });
        let json = said.reply.map(|reply| reply.json).unwrap_or_default();
        Ok(Shown { heard, evidence: said.evidence, json, fetches })
    }

    /// The same about the usual user.
    pub(super) async fn good(&mut self, what: &str, by: &mut Signer) -> Result<Shown, JoseError> {
        let user = self.stage.user.clone();
        self.present(what, by, &user).await
    }

    /// Presents a good assertion by a key that the service may have to fetch; once more where it may have rested, if there is time.
    pub(super) async fn good_patiently(&mut self, what: &str, by: &mut Signer) -> Result<Shown, JoseError> {
        let shown = self.good(what, by).await?;
        if shown.is_believed() || shown.fetches > 0 || self.schedule == Schedule::Fast || !self.rest().await {
            return Ok(shown);
        }
        self.good(&format!("{what}, later"), by).await
    }

    /// A user's credential by a key; why there is none.
    pub(super) async fn sign_in(
        &mut self,
        by: &mut Signer,
        user: &User,
    ) -> Result<Result<Credential, String>, JoseError> {
        let shown = self.present("a good assertion, for a credential", by, user).await?;
        if shown.heard != Heard::Taken {
            return Ok(Err(format!("a good assertion about {} is not taken: {}", user.sub, shown.heard.in_words())));
        }
        let credential = self.stage.credential(&shown.json).await.map(|(credential, _)| credential);
        let Ok(credential) = credential else { return Ok(credential) };
        let seen = self.stage.lets_in(&credential.bearer).await;
        Ok(if seen { Ok(credential) } else { Err("no API is known that takes the credential".into()) })
    }

    /// Whether a credential has ended within the time that it has for that, and how long it took.
    pub(super) async fn ends(&mut self, credential: &Credential) -> (Option<bool>, Duration, Vec<Evidence>) {
        let began = self.watch.now();
        loop {
            let (lives, seen) = self.stage.lives("the API, with the credential of before", &credential.bearer).await;
            let took = self.watch.now().saturating_sub(began);
            let over = lives != Some(true) || took >= self.patience.kill;
            if over || !self.watch.wait(LOOK).await {
                return (lives.map(|lives| !lives), took, seen.into_iter().collect());
            }
        }
    }

    /// A notice about a user, as a key signs it now.
    pub(super) fn notice(&mut self, by: &mut Signer, user: &User) -> Result<Option<(Draft, String)>, JoseError> {
        let Some((typ, _)) = &self.stage.target.notices else { return Ok(None) };
        by.cast.now = self.stage.clock.now();
        let (alg, jti) = (by.cast.issuer.key.alg(), self.stage.rng.jti());
        let draft = by.cast.notice(typ, alg, &self.stage.target.audience, &user.sub, &jti)?;
        let token = draft.token(&by.cast)?;
        Ok(Some((draft, token)))
    }

    /// Delivers a notice.
    pub(super) async fn notify(
        &mut self,
        what: &str,
        by: &Signer,
        (draft, token): &(Draft, String),
    ) -> (Heard, Evidence) {
        let (heard, said): (Heard, talk::Said) = self.stage.present(what, Kind::Notice, draft, token).await;
        self.look();
        self.moment(self.watch.now(), What::Notified { key: by.label.clone(), answer: in_a_word(&heard) });
        (heard, said.evidence)
    }

    /// Waits until the service may fetch the key set again; false where somebody stopped it.
    pub(super) async fn rest(&mut self) -> bool {
        self.look();
        let until = self.rests_from.map_or(Duration::ZERO, |from| from + self.patience.cooldown);
        let left = until.saturating_sub(self.watch.now());
        if left.is_zero() {
            return !self.watch.stopped();
        }
        self.say("waiting until the service may fetch the key set again");
        self.watch.wait(left).await
    }

    /// Waits; false where somebody stopped it.
    pub(super) async fn pause(&mut self, span: Duration, why: &str) -> bool {
        self.say(why);
        self.watch.wait(span).await
    }
}

/// A good key set.
pub(super) fn set_of(signers: &[&Signer]) -> Document {
    let keys: Vec<Value> = signers.iter().map(|signer| signer.cast.issuer.key.public_jwk()).collect();
    Document::new(json!({"keys": keys}))
}

fn in_a_word(heard: &Heard) -> Said {
    match heard {
        Heard::Taken | Heard::Asks => Said::Taken,
        Heard::Refused { .. } => Said::Refused,
        Heard::Failing { .. } | Heard::Nothing(_) | Heard::Late => Said::Nothing,
    }
}

pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

//! One examination from its beginning to its end.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::watch;

use super::check::{Check, NO_CREDENTIAL, NO_REFRESH, NO_STORE, Selection, all};
use super::judge::{Heard, credential};
use super::metadata;
use super::report::advice::advice;
use super::report::grade::grade;
use super::report::{Checked, Ending, Evidence, Line, Report, SCHEMA, Verdict};
use super::stage::{Client, Credential, Stage, User, cast};
use super::talk::{Said, Talk};
use super::target::{Known, Target};
use crate::clock::Clock;
use crate::domain::ids::IssuerUrl;
use crate::domain::understood::Understood;
use crate::jose::{JoseError, LabKey};
use crate::lab::flaws::{Dialect, Kind};
use crate::lab::hosted::Hosted;
use crate::net::Net;
use crate::rng::Rng;

/// Starts the service anew, and says when it is there again.
pub type Restart = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync>;

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
    pub tell: Box<dyn Fn(&Progress<'_>) + Send + Sync>,
}

/// How far it has come.
pub struct Progress<'a> {
    /// Checks that have a verdict.
    pub done: usize,
    /// Checks that are wanted.
    pub of: usize,
    /// The newest one; nothing while something is waited for.
    pub checked: Option<&'a Checked>,
    /// What is going on.
    pub doing: &'a str,
}

/// An examination under way.
pub(super) struct Probe {
    pub(super) stage: Stage,
    pub(super) options: Limits,
    pub(super) results: Results,
    /// Whether the last thing that was sent is a good assertion, and was taken.
    pub(super) fresh: bool,
    /// Why it has to end early.
    pub(super) over: Option<Ending>,
    /// Assertions that were presented.
    pub(super) presented: usize,
    /// Fetches of the key set before the first of them.
    pub(super) fetched_before: usize,
    /// How the refusals of what has a flaw are worded.
    pub(super) refusals: Vec<String>,
}

/// What is left of the options while it runs.
pub(super) struct Limits {
    pub(super) other_user: User,
    pub(super) selection: Selection,
    pub(super) patience: Duration,
    pub(super) kill_within: Duration,
    pub(super) restart: Option<Restart>,
    pub(super) stop: watch::Receiver<bool>,
}

/// Verdicts so far.
pub(super) struct Results {
    pub(super) dialect: Option<Dialect>,
    done: BTreeMap<String, Checked>,
    of: usize,
    tell: Box<dyn Fn(&Progress<'_>) + Send + Sync>,
    pub(super) remarks: Vec<String>,
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
    let mut results = Results { dialect: None, done: BTreeMap::new(), of, tell, remarks: Vec::new() };
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
    report.checks = all()
        .iter()
        .map(|check| {
            let done = results.done.remove(&check.id());
            let why = if selection.has(check) { why } else { "it was left out on request" };
            done.unwrap_or_else(|| check.checked(results.dialect, Verdict::Skipped, why))
        })
        .collect();
    report.remarks.append(&mut results.remarks);
    report.grade = grade(&report.checks, report.ending);
    report.advice = advice(&report.checks, report.ending);
}

impl Results {
    /// Keeps a verdict, the first one of a check.
    pub(super) fn keep(&mut self, checked: Checked) {
        if self.done.contains_key(&checked.id) {
            return;
        }
        let done = self.done.len() + 1;
        (self.tell)(&Progress { done, of: self.of, checked: Some(&checked), doing: &checked.name });
        self.done.insert(checked.id.clone(), checked);
    }

    pub(super) fn say(&self, doing: &str) {
        (self.tell)(&Progress { done: self.done.len(), of: self.of, checked: None, doing });
    }

    /// Takes back what a block showed whose control came to nothing.
    pub(super) fn void(&mut self, ids: &[String], why: &str) {
        for id in ids {
            if let Some(checked) = self.done.get_mut(id).filter(|checked| checked.verdict == Verdict::Pass) {
                checked.verdict = Verdict::Void;
                checked.reason = format!("{why}; before that: {}", checked.reason);
            }
        }
    }
}

impl Probe {
    /// Whether somebody wants to stop.
    pub(super) fn stopped(&mut self) -> bool {
        if self.over.is_none() && *self.options.stop.borrow() {
            self.over = Some(Ending::Interrupted);
        }
        self.over.is_some()
    }

    /// A verdict on something that was looked at.
    pub(super) fn effect(
        &mut self,
        effect: &'static super::check::Effect,
        verdict: Verdict,
        why: impl Into<String>,
        seen: Vec<Evidence>,
    ) {
        let check = Check::Effect(effect);
        if self.options.selection.has(&check) {
            let checked = check.checked(self.results.dialect, verdict, why);
            self.results.keep(Checked { evidence: seen, ..checked });
        }
    }

    async fn examine(&mut self) -> Result<(), JoseError> {
        self.fetched_before = self.stage.hosted.fetches(&self.stage.jwks_path()).len();
        self.stage.publish(self.keys_at_first());
        self.look_for_the_api().await;
        self.results.say("a good assertion");
        let Some(first) = self.first().await? else {
            self.over = Some(Ending::NoControl);
            return Ok(());
        };
        self.blocks().await?;
        self.clients().await?;
        self.notices().await?;
        Box::pin(self.keys(first)).await
    }

    /// The first good assertion, and what it gives access to. Nothing where it is not taken, which is said.
    async fn first(&mut self) -> Result<Option<Option<Credential>>, JoseError> {
        let user = self.stage.user.clone();
        let (heard, said) = self.good("a good assertion", &user).await?;
        if heard != Heard::Taken {
            self.results.remarks.push(self.why_not(&heard, &said));
            return Ok(None);
        }
        self.fresh = true;
        let reply = said.reply.as_ref().ok().map(|reply| reply.json.clone()).unwrap_or_default();
        let found = self.stage.credential(&reply).await;
        self.look_at_the_answer(&said, found.as_ref().ok().and_then(|(_, by)| by.as_ref()));
        Ok(Some(match found {
            Ok((credential, _)) => self.is_seen_to_work(credential).await,
            Err(why) => {
                self.results.remarks.push(format!("No credential could be had for a good assertion: {why}."));
                None
            }
        }))
    }

    /// A credential whose life can be looked at.
    async fn is_seen_to_work(&mut self, credential: Credential) -> Option<Credential> {
        let (lives, _) = self.stage.lives("the API, with the credential", &credential.bearer).await;
        if lives == Some(true) {
            return Some(credential);
        }
        if let Some(api) = self.stage.target.api.take() {
            let remark = format!(
                "{api} does not take the credential, so nothing can be seen there. Name another place with --api."
            );
            self.results.remarks.push(remark);
        }
        None
    }

    /// What an answer that gives a credential has to say besides (RFC 6749 section 5.1; ID-JAG draft section 4.4.3).
    fn look_at_the_answer(&mut self, first: &Said, exchanged: Option<&Said>) {
        let said = exchanged.unwrap_or(first);
        let Ok(reply) = &said.reply else { return };
        let seen = vec![said.evidence.clone()];
        if self.stage.target.own_token_endpoint().is_none() {
            let why = "credentials do not come from a token endpoint there";
            self.effect(&NO_STORE, Verdict::Skipped, why, Vec::new());
        } else {
            let kept = reply.headers.get("cache-control").unwrap_or_default().to_ascii_lowercase();
            let (verdict, why) = if kept.contains("no-store") {
                (Verdict::Pass, "Cache-Control says no-store".to_owned())
            } else {
                (Verdict::Fail, format!("Cache-Control is {kept:?}, without no-store"))
            };
            self.effect(&NO_STORE, verdict, why, seen.clone());
        }
        let refresh = [first.reply.as_ref().ok(), Some(reply)].into_iter().flatten();
        let found = refresh.into_iter().any(|reply| reply.json.get("refresh_token").is_some_and(Value::is_string));
        let (verdict, why) = if found { (Verdict::Warning, "one came") } else { (Verdict::Pass, "none came") };
        self.effect(&NO_REFRESH, verdict, why, seen);
    }

    fn why_not(&self, heard: &Heard, said: &Said) -> String {
        let issuer = &self.stage.cast.issuer.url;
        let fetched = !self.stage.hosted.fetches(&self.stage.jwks_path()).is_empty();
        let why = match heard {
            Heard::Refused { why: Some(why), .. } => format!("{} ({why})", heard.in_words()),
            _ => heard.in_words(),
        };
        let hint = if !fetched {
            format!("It did not fetch the keys of {issuer}: it may not trust that issuer yet, or cannot reach it.")
        } else if said.evidence.answer.as_ref().is_some_and(|answer| answer.status == 401) {
            "It may not know the client: name one with --client.".to_owned()
        } else {
            "It did fetch the issuer's keys. If it was examined a moment ago with another key, it may not fetch again yet.".to_owned()
        };
        format!("A good assertion is not taken: the service {why}. {hint}")
    }

    /// Presents a good assertion.
    pub(super) async fn good(&mut self, what: &str, user: &User) -> Result<(Heard, Said), JoseError> {
        let draft = self.stage.good(Kind::Assertion, user)?;
        let token = draft.token(&self.stage.cast)?;
        self.presented += 1;
        Ok(self.stage.present(what, Kind::Assertion, &draft, &token).await)
    }

    /// Whether a good assertion is taken now; at once where the last one was the last thing that was sent.
    pub(super) async fn control(
        &mut self,
        what: &str,
    ) -> Result<Result<Option<Evidence>, (String, Evidence)>, JoseError> {
        if self.fresh {
            return Ok(Ok(None));
        }
        let user = self.stage.user.clone();
        let (heard, said) = self.good(what, &user).await?;
        self.fresh = matches!(heard, Heard::Taken);
        Ok(if self.fresh { Ok(Some(said.evidence)) } else { Err((heard.in_words(), said.evidence)) })
    }

    /// A user's credential, of a good assertion.
    pub(super) async fn signed_in(&mut self, user: &User) -> Result<Result<Credential, String>, JoseError> {
        let (heard, said) = self.good("a good assertion", user).await?;
        if heard != Heard::Taken {
            return Ok(Err(format!("a good assertion is not taken: {}", heard.in_words())));
        }
        let reply = said.reply.as_ref().ok().map(|reply| reply.json.clone()).unwrap_or_default();
        Ok(self.stage.credential(&reply).await.map(|(credential, _)| credential))
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

    /// No refusal may hold what it refuses.
    pub(super) fn look_at_a_refusal(&mut self, heard: &Heard, said: &Said) {
        let Heard::Refused { status, code, why } = heard else { return };
        self.refusals.push(format!(
            "{status} {} {}",
            code.as_deref().unwrap_or_default(),
            why.as_deref().unwrap_or_default()
        ));
        let Ok(reply) = &said.reply else { return };
        if credential(&reply.json).is_some() {
            let why = format!("a refusal with {status} holds a credential");
            self.effect(&NO_CREDENTIAL, Verdict::Fail, why, vec![said.evidence.clone()]);
        }
    }
}

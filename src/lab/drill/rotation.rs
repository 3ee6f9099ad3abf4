//! A rotation, as it goes when all is well: the next key is published, both are taken, the old one is removed.

use std::time::Duration;

use super::report::Schedule;
use super::service::{Drill, Shown, Signer};
use super::steps::{CACHED, CONTROL, LAST, NEW_KEY, NOTICE_OF_BEFORE, OVERLAP, REMOVED, RESTS, SELDOM, SURVIVES, Step};
use crate::jose::JoseError;
use crate::lab::examine::found::{Evidence, Verdict};
use crate::lab::examine::hear::Heard;
use crate::lab::examine::stage::Credential;

/// Assertions by known keys for which a service need not fetch anything.
const KNOWN: usize = 6;
/// Assertions by keys that nobody published.
const UNKNOWN: usize = 4;
/// How often a removed key is tried while the service's copy of the set grows old.
pub(super) const LOOKS: u32 = 22;

/// What a drill goes on from when the new key is not taken.
const NOT_TAKEN: &str = "the new key is not taken, so nothing can be shown by it";

impl Drill {
    /// The whole rotation.
    pub(super) async fn rotation(&mut self) -> Result<(), JoseError> {
        let Some(old) = self.begin().await? else { return Ok(()) };
        let Some(new) = Box::pin(self.overlap(old)).await? else { return Ok(()) };
        let Some(newest) = Box::pin(self.removal(new)).await? else { return Ok(()) };
        let Some(mut newest) = Box::pin(self.broken_sets(newest)).await? else { return Ok(()) };
        self.changed_document(&mut newest).await?;
        if self.is_due(&LAST) && !self.watch.stopped() {
            let shown = self.good_patiently("a good assertion at the end", &mut newest).await?;
            let verdict = if shown.is_believed() { Verdict::Pass } else { Verdict::Fail };
            let verdict = if shown.is_nothing() { Verdict::CouldNotRun } else { verdict };
            let why = if shown.heard == Heard::Taken { "it is taken".to_owned() } else { shown.heard.in_words() };
            self.keep(&LAST, verdict, why, vec![shown.evidence]);
        }
        Ok(())
    }

    /// The key that everything begins with, which the service takes; nothing where it does not, which is said.
    pub(super) async fn begin(&mut self) -> Result<Option<Signer>, JoseError> {
        self.look_for_the_api().await;
        let key = self.stage.cast.issuer.key.derive(&format!("drill-{}", self.stage.rng.token()))?;
        // The issuer's own key signs first: services that were told of it take it whatever they have fetched before.
        let own = std::mem::replace(&mut self.stage.cast.issuer.key, key);
        let mut first = self.signer(own)?;
        self.publish_keys(&[&first]);
        self.say("a good assertion");
        let shown = self.good_patiently("a good assertion", &mut first).await?;
        if shown.heard == Heard::Taken {
            self.keep(&CONTROL, Verdict::Pass, "it is taken", vec![shown.evidence]);
            return Ok(Some(first));
        }
        let why = self.why_not(&shown);
        self.written.with(|service| service.steps.retain(|step| step.name != CONTROL.name));
        self.keep(&CONTROL, Verdict::CouldNotRun, why, vec![shown.evidence]);
        Ok(None)
    }

    fn why_not(&self, shown: &Shown) -> String {
        let issuer = &self.stage.cast.issuer.url;
        let said = match &shown.heard {
            Heard::Refused { why: Some(why), .. } => format!("{} ({why})", shown.heard.in_words()),
            heard => heard.in_words(),
        };
        let fetched = !self.stage.hosted.fetches(&self.stage.jwks_path()).is_empty();
        let hint = match &shown.heard {
            Heard::Refused { code, .. } if code.as_deref() == Some("invalid_client") => {
                "it may not know the client, or know it by the keys of an earlier drill: --issuer-key FILE keeps them"
                    .to_owned()
            }
            _ if fetched => {
                "it did fetch the issuer's keys; it may not know the user or the client, or may rest before it fetches \
                 keys again"
                    .to_owned()
            }
            _ => {
                format!("it did not fetch the keys of {issuer}: it may not trust that issuer yet, or cannot reach it")
            }
        };
        format!("{said}; {hint}")
    }

    /// The new key beside the old one; the new one, where it is taken.
    async fn overlap(&mut self, mut old: Signer) -> Result<Option<Signer>, JoseError> {
        let steps = [&NEW_KEY, &OVERLAP, &SURVIVES, &NOTICE_OF_BEFORE, &SELDOM, &RESTS];
        let due: Vec<&Step> = steps.into_iter().filter(|step| self.is_due(step)).collect();
        if self.watch.stopped() {
            return Ok(None);
        }
        if due.is_empty() {
            return Ok(self.known_to_fetch().then_some(old));
        }
        let (user, other) = (self.stage.user.clone(), self.other.clone());
        let credential = self.sign_in(&mut old, &user).await?;
        let others = self.sign_in(&mut old, &other).await?;
        let notice = self.notice(&mut old, &other)?;
        let mut new = self.fresh()?;
        let taken = self.new_key(&[&old], &mut new).await?;
        if !taken {
            for step in due.into_iter().filter(|step| step.name != NEW_KEY.name) {
                self.keep(step, Verdict::Skipped, NOT_TAKEN, Vec::new());
            }
            self.nothing_more(NOT_TAKEN);
            return Ok(None);
        }
        // Before anything else: a notice of v0.1 lives for two minutes.
        self.notice_of_before(&old, others, notice).await;
        self.what_survives(credential).await;
        self.both(&mut old, &mut new).await?;
        self.unknown_keys().await?;
        Ok(Some(new))
    }

    /// Whether an earlier run has shown that new keys are taken.
    fn known_to_fetch(&self) -> bool {
        self.written.with(|service| {
            service
                .steps
                .iter()
                .any(|step| step.name == NEW_KEY.name && matches!(step.verdict, Verdict::Pass | Verdict::Skipped))
        })
    }

    /// Publishes a new key, beside others or alone, and presents an assertion by it at once. Whether it is taken.
    pub(super) async fn new_key(&mut self, beside: &[&Signer], new: &mut Signer) -> Result<bool, JoseError> {
        let all: Vec<&Signer> = beside.iter().copied().chain([&*new]).collect();
        self.publish_keys(&all);
        let began = self.watch.now();
        self.say("an assertion by the new key");
        let mut shown = self.good("by the new key, at once", new).await?;
        let mut evidence = vec![shown.evidence.clone()];
        let rested =
            !shown.is_believed() && shown.fetches == 0 && !shown.is_nothing() && self.schedule != Schedule::Fast;
        if rested && self.rest().await {
            shown = self.good("by the new key, after a while", new).await?;
            evidence.push(shown.evidence.clone());
        }
        let took = self.watch.now().saturating_sub(began);
        let (fetched, words) = (shown.fetches > 0, shown.heard.in_words());
        let (verdict, why) = match &shown.heard {
            heard if shown.is_nothing() => (Verdict::CouldNotRun, heard.in_words()),
            Heard::Taken | Heard::Asks if fetched && rested => (
                Verdict::Pass,
                format!("it did not fetch it at once; {} after it was published it fetched and took it", span(took)),
            ),
            Heard::Taken | Heard::Asks if fetched => {
                (Verdict::Pass, format!("it fetched the key set at once and took the new key after {}", span(took)))
            }
            Heard::Taken | Heard::Asks => {
                (Verdict::Fail, "it takes an assertion by a key that it has never fetched".to_owned())
            }
            _ if fetched => (Verdict::Fail, format!("it fetched the key set, and still {words}")),
            _ if self.schedule == Schedule::Fast => (
                Verdict::Warning,
                format!(
                    "it did not fetch the key set at once, and {words}; it may rest between two fetches: --schedule realistic waits for that"
                ),
            ),
            _ => (Verdict::Fail, format!("it did not fetch the key set within {}, and {words}", span(took))),
        };
        let taken = shown.is_believed() && fetched;
        self.keep_measured(&NEW_KEY, verdict, why, evidence, taken.then_some(took));
        Ok(taken)
    }

    async fn notice_of_before(
        &mut self,
        old: &Signer,
        credential: Result<Credential, String>,
        notice: Option<(crate::lab::flaws::Draft, String)>,
    ) {
        if !self.is_due(&NOTICE_OF_BEFORE) {
            return;
        }
        let Some(notice) = notice else {
            self.keep(&NOTICE_OF_BEFORE, Verdict::Skipped, "it names no place for notices", Vec::new());
            return;
        };
        let (heard, evidence) = self.notify("a notice that was signed before the rotation", old, &notice).await;
        self.after_a_notice(&NOTICE_OF_BEFORE, (heard, evidence), credential).await;
    }

    /// What a notice that is to count has done.
    pub(super) async fn after_a_notice(
        &mut self,
        step: &Step,
        (heard, evidence): (Heard, Evidence),
        credential: Result<Credential, String>,
    ) {
        let mut seen = vec![evidence];
        let (verdict, why, took) = match (heard, credential) {
            (Heard::Taken, Ok(credential)) => {
                let (ended, took, looked) = self.ends(&credential).await;
                seen.extend(looked);
                match ended {
                    Some(true) => (Verdict::Pass, format!("the credential ended within {}", span(took)), Some(took)),
                    Some(false) => (
                        step.short(),
                        format!("it is acknowledged, and the credential lives on after {}", span(took)),
                        None,
                    ),
                    None => (Verdict::CouldNotRun, "the API says neither yes nor no".to_owned(), None),
                }
            }
            (Heard::Taken, Err(why)) => {
                (Verdict::Pass, format!("it is taken; what it does cannot be seen: {why}"), None)
            }
            (heard @ (Heard::Refused { .. } | Heard::Asks), _) => (step.short(), heard.in_words(), None),
            (heard, _) => (Verdict::CouldNotRun, heard.in_words(), None),
        };
        self.keep_measured(step, verdict, why, seen, took);
    }

    async fn what_survives(&mut self, credential: Result<Credential, String>) {
        if !self.is_due(&SURVIVES) {
            return;
        }
        let credential = match credential {
            Ok(credential) => credential,
            Err(why) => return self.keep(&SURVIVES, Verdict::Skipped, why, Vec::new()),
        };
        let (lives, seen) = self.stage.lives("the API, with a credential of before", &credential.bearer).await;
        let (verdict, why) = match lives {
            Some(true) => (Verdict::Pass, "a credential of before lives"),
            Some(false) => (Verdict::Warning, "a credential of before has ended: every user would have to come again"),
            None => (Verdict::CouldNotRun, "the API says neither yes nor no"),
        };
        self.keep(&SURVIVES, verdict, why, seen.into_iter().collect());
    }

    /// Both keys, and how often the key set is fetched for them.
    async fn both(&mut self, old: &mut Signer, new: &mut Signer) -> Result<(), JoseError> {
        let (mut fetches, mut evidence, mut wrong) = (0, Vec::new(), None);
        for n in 0..KNOWN {
            let (what, by) = if n % 2 == 0 { ("by the old key", &mut *old) } else { ("by the new key", &mut *new) };
            let shown = self.good(what, by).await?;
            fetches += shown.fetches;
            if !shown.is_believed() && wrong.is_none() {
                let verdict = if shown.is_nothing() { Verdict::CouldNotRun } else { Verdict::Fail };
                wrong = Some((verdict, format!("one {what}: {}", shown.heard.in_words())));
            }
            if evidence.len() < 2 {
                evidence.push(shown.evidence);
            }
        }
        let (verdict, why) = wrong.unwrap_or((Verdict::Pass, "both are taken".into()));
        if self.is_due(&OVERLAP) {
            self.keep(&OVERLAP, verdict, why, evidence);
        }
        let few = fetches <= 1;
        if self.is_due(&SELDOM) {
            let why = format!("{} for {KNOWN} assertions by keys that it knew", fetched(fetches));
            self.keep(&SELDOM, if few { Verdict::Pass } else { SELDOM.short() }, why, Vec::new());
        }
        Ok(())
    }

    async fn unknown_keys(&mut self) -> Result<(), JoseError> {
        if !self.is_due(&RESTS) {
            return Ok(());
        }
        let (mut fetches, mut evidence) = (0, Vec::new());
        for _ in 0..UNKNOWN {
            let mut nobody = self.fresh()?;
            nobody.label = "unknown keys".into();
            let shown = self.good("by a key that nobody published", &mut nobody).await?;
            fetches += shown.fetches;
            let believed = shown.is_believed();
            evidence.push(shown.evidence);
            if believed {
                let why = "it takes an assertion by a key that the issuer has never published";
                self.keep(&RESTS, Verdict::Fail, why, evidence);
                return Ok(());
            }
        }
        evidence.truncate(1);
        let why = format!("{} for {UNKNOWN} assertions by keys that nobody published", fetched(fetches));
        self.keep(&RESTS, if fetches <= 1 { Verdict::Pass } else { RESTS.short() }, why, evidence);
        Ok(())
    }

    /// The old key is removed: first so that the service sees it, then so that it has no occasion to look. The key that is left.
    async fn removal(&mut self, mut old: Signer) -> Result<Option<Signer>, JoseError> {
        if self.is_due(&REMOVED) {
            let mut new = self.fresh()?;
            if !self.rest().await {
                return Ok(None);
            }
            self.publish_keys(&[&new]);
            let removed = self.watch.now();
            let first = self.good("by the newest key, which is alone", &mut new).await?;
            let shown = self.good("by the key that is gone", &mut old).await?;
            let (verdict, why) = match &shown.heard {
                _ if !first.is_believed() || first.fetches == 0 => {
                    (Verdict::CouldNotRun, format!("it did not take the newest key: {}", first.heard.in_words()))
                }
                _ if shown.is_nothing() => (Verdict::CouldNotRun, shown.heard.in_words()),
                Heard::Taken | Heard::Asks => {
                    (REMOVED.short(), "it has seen the key set without it, and takes it".into())
                }
                heard => (Verdict::Pass, heard.in_words()),
            };
            let took = (verdict == Verdict::Pass).then(|| self.watch.now().saturating_sub(removed));
            self.keep_measured(&REMOVED, verdict, why, vec![first.evidence, shown.evidence], took);
            old = new;
        }
        if self.is_due(&CACHED) {
            let Some(new) = self.by_itself(&mut old).await? else { return Ok(None) };
            old = new;
        }
        Ok(Some(old))
    }

    /// How long a key that is gone is taken when no other comes. The key that is there instead; nothing where somebody stopped it.
    pub(super) async fn by_itself(&mut self, old: &mut Signer) -> Result<Option<Signer>, JoseError> {
        let new = self.fresh()?;
        // That it is in the service's copy has to be seen first.
        let first = self.good_patiently("by the key that is removed next", old).await?;
        if !first.is_believed() {
            let why = format!("the key is not taken while it is published: {}", first.heard.in_words());
            self.keep(&CACHED, Verdict::Void, why, vec![first.evidence]);
            return Ok(Some(new));
        }
        self.publish_keys(&[&new]);
        let (removed, step) = (self.watch.now(), self.patience.cache / LOOKS);
        let mut last_taken = Duration::ZERO;
        loop {
            let shown = self.good("by the key that is gone", old).await?;
            let passed = self.watch.now().saturating_sub(removed);
            if matches!(shown.heard, Heard::Refused { .. }) {
                let why = format!(
                    "it was taken {} after it was removed, and refused after {}",
                    span(last_taken),
                    span(passed)
                );
                self.keep_measured(&CACHED, Verdict::Pass, why, vec![shown.evidence], Some(passed));
                return Ok(Some(new));
            }
            if shown.is_believed() {
                last_taken = passed;
            }
            if passed >= self.patience.cache {
                let (verdict, why) = if shown.is_believed() {
                    (
                        CACHED.short(),
                        format!(
                            "{} after it was removed it is taken still, though the key set may be kept for 300 s only",
                            span(passed)
                        ),
                    )
                } else {
                    (Verdict::CouldNotRun, shown.heard.in_words())
                };
                self.keep(&CACHED, verdict, why, vec![shown.evidence]);
                return Ok(Some(new));
            }
            if !self.pause(step, "waiting until the service's copy of the key set is too old").await {
                return Ok(None);
            }
        }
    }
}

/// As people say it.
pub(super) fn span(span: Duration) -> String {
    match span.as_millis() {
        ms @ 0..1000 => format!("{ms} ms"),
        ms @ 1000..10_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        ms => format!("{} s", ms / 1000),
    }
}

/// How often the service fetched the key set.
fn fetched(count: usize) -> String {
    match count {
        0 => "it did not fetch the key set".into(),
        1 => "it fetched the key set once".into(),
        2 => "it fetched the key set twice".into(),
        n => format!("it fetched the key set {n} times"),
    }
}

//! What happens when the issuer publishes other keys. Services fetch a key set again once in half a minute or so: all that needs new keys
//! is shown by one change.

use std::time::Instant;

use serde_json::{Value, json};

use super::blocks::Tried;
use super::check::{Check, FEW_FETCHES, REFETCHES, SURVIVES};
use super::examiner::Probe;
use super::report::{Evidence, Verdict};
use crate::domain::rotation::SigningAlg;
use crate::jose::{JoseError, LabKey};
use crate::lab::examine::hear::{Heard, judge};
use crate::lab::examine::stage::Credential;
use crate::lab::flaws::{Answer, Cast, Document, Flaw, Kind};
use crate::lab::hosted::{JWKS, path_of};
use crate::lab::issuer::LabIssuer;

/// Flaws of a key set that leave the issuer's other keys as good as they were, so that one set shows them all.
const BESIDE: [&str; 7] = [
    "jwks-kid-twice",
    "jwks-kty-unknown",
    "jwks-with-a-shared-secret",
    "jwks-with-a-private-key",
    "jwks-key-for-encryption",
    "jwks-key-for-signing-only",
    "jwks-key-of-another-alg",
];

/// Assertions that a service may fetch no key set for, however many come.
const FREE: usize = 4;

impl Probe {
    /// Publishes other keys, and looks at what comes of it.
    pub(super) async fn keys(&mut self, first: Option<Credential>) -> Result<(), JoseError> {
        if self.stopped() {
            return Ok(());
        }
        self.how_often_it_fetches();
        let late = [self.late(Kind::Assertion)?, self.late(Kind::Notice)?];
        let effects = [&REFETCHES, &SURVIVES].map(Check::Effect);
        let is_wanted = effects.iter().any(|effect| self.options.selection.has(effect));
        if !is_wanted && self.wanted(Kind::Jwks).is_empty() && late.iter().all(Vec::is_empty) {
            return Ok(());
        }
        let user = self.stage.user.clone();
        let credential = match first {
            Some(_) => self.signed_in(&user).await?.ok(),
            None => None,
        };
        let mut extra = self.beside("extra")?;
        let mut beside = Vec::new();
        for flaw in self.wanted(Kind::Jwks) {
            if BESIDE.contains(&flaw.name) {
                beside.push((flaw, self.beside(flaw.name)?));
            } else {
                self.keep(flaw, Tried::skipped("it takes longer than a probe: avouch drill rotation shows it"), None);
            }
        }
        let set = self.other_keys(&extra, &beside);
        let path = format!("{}{JWKS}", path_of(&self.stage.cast.issuer.url));
        let published = Instant::now();
        self.stage.hosted.put(&path, Document::new(set));
        let (heard, evidence) = self.by_a_new_key(&mut extra).await?;
        if heard == Heard::Taken {
            self.what_survives(credential.as_ref(), evidence).await;
        } else {
            self.effect(&SURVIVES, Verdict::Skipped, "the new key is not taken", Vec::new());
        }
        if self.has_fetched_since(published) {
            self.odd_keys(beside).await?;
        } else {
            for (flaw, _) in beside {
                let why = "the service did not fetch the key set in which it is";
                self.keep(flaw, Tried { verdict: Verdict::Void, why: why.into(), evidence: Vec::new() }, None);
            }
        }
        let [assertions, notices] = late;
        self.in_blocks(&assertions).await?;
        if self.stage.target.notices.is_some() && !self.stopped() {
            self.notices_in_blocks(&notices).await?;
        }
        Ok(())
    }

    /// Flaws of a kind that only a key shows that the service has to fetch.
    fn late(&mut self, kind: Kind) -> Result<Vec<&'static Flaw>, JoseError> {
        let mut late = Vec::new();
        for flaw in self.wanted(kind) {
            if self.waits_for_new_keys(flaw)? {
                late.push(flaw);
            }
        }
        Ok(late)
    }

    fn has_fetched_since(&self, when: Instant) -> bool {
        self.stage.hosted.fetches(&self.stage.jwks_path()).last().is_some_and(|fetch| fetch.at >= when)
    }

    fn how_often_it_fetches(&mut self) {
        let fetches = self.stage.hosted.fetches(&self.stage.jwks_path()).len() - self.fetched_before;
        let presented = self.presented;
        let why = format!("it fetched the key set {fetches} times for {presented} assertions");
        let (verdict, why) = if presented < 2 * FREE {
            (Verdict::Skipped, format!("{presented} assertions are too few to tell"))
        } else if fetches <= FREE + presented / 10 {
            (Verdict::Pass, why)
        } else {
            (Verdict::Warning, why)
        };
        self.effect(&FEW_FETCHES, verdict, why, Vec::new());
    }

    /// The parts of the same issuer with another key, which no service has seen.
    fn beside(&self, name: &str) -> Result<Cast, JoseError> {
        let (cast, rng) = (&self.stage.cast, &self.stage.rng);
        let key: LabKey = cast.issuer.key.derive(&format!("{name}-{}", rng.token()))?;
        let untrusted = LabIssuer::new(cast.untrusted.url.clone(), key.derive("untrusted")?)?;
        let issuer = LabIssuer::new(cast.issuer.url.clone(), key)?;
        Ok(Cast { issuer, untrusted, others: cast.others.clone(), now: cast.now })
    }

    /// The key that signs, the next one, a new one, and keys with flaws. One is gone.
    fn other_keys(&self, extra: &Cast, beside: &[(&'static Flaw, Cast)]) -> Value {
        let issuer = &self.stage.cast.issuer;
        let mut keys: Vec<Value> =
            [&issuer.key, &issuer.next, &extra.issuer.key].into_iter().map(LabKey::public_jwk).collect();
        for (flaw, cast) in beside {
            let alone = Document::new(json!({"keys": [cast.issuer.key.public_jwk()]}));
            if let Some(spoilt) = flaw.spoil(&alone, cast).as_mut().and_then(Document::keys) {
                keys.append(spoilt);
            }
        }
        json!({"keys": keys})
    }

    /// Whether the service fetches the key set again for a key that it has not seen. It may rest between two fetches.
    async fn by_a_new_key(&mut self, extra: &mut Cast) -> Result<(Heard, Evidence), JoseError> {
        let path = self.stage.jwks_path();
        let before = self.stage.hosted.fetches(&path);
        let began = Instant::now();
        self.results.say("an assertion by a new key");
        let (mut heard, mut evidence) = self.signed_by(extra, "by a key that is new").await?;
        let fetched = |probe: &Self| probe.stage.hosted.fetches(&path).len() > before.len();
        let rests_until = before.last().map_or(began, |last| last.at) + self.options.patience;
        if !fetched(self) && heard != Heard::Taken && rests_until > Instant::now() {
            let left = rests_until.saturating_duration_since(Instant::now());
            self.results.wait("the service may rest before it fetches the key set again", left);
            tokio::select! {
                () = tokio::time::sleep_until(rests_until.into()) => {}
                _ = self.options.stop.changed() => {}
            }
            (heard, evidence) = self.signed_by(extra, "by a key that is new, later").await?;
        }
        let took = began.elapsed().as_millis();
        let (verdict, why) = match (fetched(self), &heard) {
            (true, Heard::Taken) => (Verdict::Pass, format!("it fetched it, and took the new key after {took} ms")),
            (true, _) => (Verdict::Pass, format!("it fetched it, though it {}", heard.in_words())),
            (false, Heard::Nothing(why)) => (Verdict::CouldNotRun, why.clone()),
            (false, Heard::Failing { .. } | Heard::Late) => (Verdict::CouldNotRun, heard.in_words()),
            (false, _) => (Verdict::Fail, format!("it did not fetch it within {took} ms, and {}", heard.in_words())),
        };
        self.effect(&REFETCHES, verdict, why, vec![evidence.clone()]);
        Ok((heard, evidence))
    }

    /// A good assertion by another key of the issuer.
    async fn signed_by(&mut self, cast: &mut Cast, what: &str) -> Result<(Heard, Evidence), JoseError> {
        self.fresh = false;
        self.presented += 1;
        let user = self.stage.user.clone();
        let terms = self.stage.terms(&user, SigningAlg::Es256);
        cast.now = self.stage.clock.now();
        let draft = cast.assertion(&terms)?;
        let token = draft.token(cast)?;
        let (heard, said) = self.stage.present(what, Kind::Assertion, &draft, &token).await;
        Ok((heard, said.evidence))
    }

    async fn what_survives(&mut self, credential: Option<&Credential>, evidence: Evidence) {
        let Some(credential) = credential else {
            let why = "no API is known where a credential could be tried: name one with --api";
            self.effect(&SURVIVES, Verdict::Skipped, why, Vec::new());
            return;
        };
        let (lives, seen) = self.stage.lives("the API, with a credential of before", &credential.bearer).await;
        let (verdict, why) = match lives {
            Some(true) => (Verdict::Pass, "a credential of before lives"),
            Some(false) => (Verdict::Warning, "a credential of before has ended"),
            None => (Verdict::CouldNotRun, "the API says neither yes nor no"),
        };
        self.effect(&SURVIVES, verdict, why, [Some(evidence), seen].into_iter().flatten().collect());
    }

    /// Assertions by keys that are published with flaws, between good ones.
    async fn odd_keys(&mut self, beside: Vec<(&'static Flaw, Cast)>) -> Result<(), JoseError> {
        let before = self.control("the control before").await?;
        let mut ids = Vec::new();
        for (flaw, mut cast) in beside {
            if self.stopped() {
                return Ok(());
            }
            // What is to be taken and is not shows something by itself: the issuer's keys were taken before they stood beside it.
            if let (Err((why, evidence)), Answer::Refuse { .. }) = (&before, flaw.answer(self.stage.target.dialect)) {
                let why = format!("no good assertion was taken before it: {why}");
                self.keep(flaw, Tried { verdict: Verdict::Void, why, evidence: vec![evidence.clone()] }, None);
                continue;
            }
            let (heard, evidence) = self.signed_by(&mut cast, "by the key that is published so").await?;
            let (verdict, why) = judge(flaw, self.stage.target.dialect, &heard);
            ids.push(flaw.check());
            self.keep(flaw, Tried { verdict, why, evidence: vec![evidence] }, None);
        }
        if let Err((why, _)) = self.control("the control after").await? {
            self.results.void(&ids, &format!("a good assertion was not taken after it: {why}"));
        }
        Ok(())
    }
}

//! Key sets that are not as they should be, each between good ones; and a client's document whose keys change.

use serde_json::{Value, json};

use super::rotation::LOOKS;
use super::service::{Drill, Shown, Signer, set_of};
use super::steps::{DOCUMENT, Step, UNCHANGED};
use crate::jose::JoseError;
use crate::lab::examine::found::{Evidence, Verdict};
use crate::lab::examine::hear::{Heard, judge};
use crate::lab::flaws::{Answer, Dialect, Document, Flaw, Response};
use crate::lab::hosted::{JWKS, client_document, path_of};

impl Drill {
    /// Each key set with a flaw. A key that signs good assertions, afterwards; nothing where somebody stopped it.
    pub(super) async fn broken_sets(&mut self, mut good: Signer) -> Result<Option<Signer>, JoseError> {
        let steps: Vec<Step> = self.written.steps.iter().copied().collect();
        let mut before: Option<&Step> = None;
        for step in &steps {
            let is_here = step.flaw.is_some() || step.name == UNCHANGED.name;
            if !is_here || !self.is_due(step) {
                continue;
            }
            self.publish_keys(&[&good]);
            let mut control = self.good_patiently("the good one before", &mut good).await?;
            if self.watch.stopped() {
                return Ok(None);
            }
            self.look_back(before.take(), &control);
            if !control.is_believed() {
                control = self.recovered(&mut good).await?;
            }
            if !control.is_believed() {
                let why = format!("no good assertion was taken before it: {}", control.heard.in_words());
                self.keep(step, Verdict::Void, why, vec![control.evidence]);
                continue;
            }
            if !self.rest().await {
                return Ok(None);
            }
            match step.flaw {
                Some(flaw) => self.broken_set(step, flaw, &mut good).await?,
                None => self.unchanged_set(&mut good).await?,
            }
            before = Some(step);
        }
        self.publish_keys(&[&good]);
        if before.is_some() {
            let control = self.good_patiently("the good one after", &mut good).await?;
            self.look_back(before, &control);
        }
        Ok((!self.watch.stopped()).then_some(good))
    }

    /// A service that takes nothing by a set that it has kept may do so again when that is too old.
    async fn recovered(&mut self, good: &mut Signer) -> Result<Shown, JoseError> {
        let began = self.watch.now();
        loop {
            let on = self.pause(self.patience.cache / LOOKS, "waiting until a good assertion is taken again").await;
            let shown = self.good("the good one, later", good).await?;
            let passed = self.watch.now().saturating_sub(began);
            if shown.is_believed() || passed >= self.patience.cache || !on {
                return Ok(shown);
            }
        }
    }

    /// The good one after a step shows whether its refusal meant anything.
    fn look_back(&self, before: Option<&Step>, control: &Shown) {
        let Some(step) = before.filter(|_| !control.is_believed()) else { return };
        let why = format!("a good assertion was not taken after it: {}", control.heard.in_words());
        self.written.with(|service| {
            for done in service.steps.iter_mut().filter(|done| done.name == step.name && done.verdict == Verdict::Pass)
            {
                done.verdict = Verdict::Void;
                done.reason = format!("{why}; before that: {}", done.reason);
                done.evidence.push(control.evidence.clone());
            }
        });
    }

    async fn broken_set(&mut self, step: &Step, flaw: &'static Flaw, good: &mut Signer) -> Result<(), JoseError> {
        let mut key = self.fresh()?;
        let Some(mut document) = flaw.spoil(&set_of(&[&key, good]), &key.cast) else {
            self.keep(step, Verdict::Skipped, "it would change nothing", Vec::new());
            return Ok(());
        };
        if document.response == Response::Stale {
            document.members = set_of(&[good]).members;
        }
        self.publish(document, Some(flaw.name));
        self.say(flaw.meaning);
        let shown = self.good("by the key that is published so", &mut key).await?;
        // The next one who fetches finds a good one, whatever came of this.
        self.publish_keys(&[good]);
        let dialect = self.stage.target.dialect;
        let (verdict, why) = judge(flaw, dialect, &shown.heard);
        let refused = matches!(shown.heard, Heard::Refused { .. } | Heard::Failing { .. });
        let (verdict, why) = if shown.fetches == 0 && refused {
            let rests = format!(
                "it did not fetch the key set: it may rest for longer than {} s",
                self.patience.cooldown.as_secs()
            );
            (Verdict::CouldNotRun, rests)
        } else if flaw.answer(dialect) == Answer::Open {
            (Verdict::Skipped, "what the service speaks has no rule for it".to_owned())
        } else {
            (verdict, why)
        };
        self.keep(step, verdict, why, vec![shown.evidence]);
        Ok(())
    }

    /// Whether the service asks for changes only, and what a "no" does to its copy (RFC 9110 section 13.1.2).
    async fn unchanged_set(&mut self, good: &mut Signer) -> Result<(), JoseError> {
        let mut nobody = self.fresh()?;
        nobody.label = "unknown keys".into();
        let asked = self.good("by a key that nobody published", &mut nobody).await?;
        let fetch = self.stage.hosted.fetches(&self.stage.jwks_path()).pop();
        let conditional = fetch.is_some_and(|fetch| fetch.status == 304);
        let shown = self.good("by the key that is published still", good).await?;
        let seen = vec![asked.evidence, shown.evidence.clone()];
        let (verdict, why) = match &shown.heard {
            _ if asked.fetches == 0 => (Verdict::CouldNotRun, "it did not fetch the key set".to_owned()),
            Heard::Taken | Heard::Asks if conditional => {
                (Verdict::Pass, "it asks whether the set has changed (If-None-Match), and keeps its copy".into())
            }
            Heard::Taken | Heard::Asks => (Verdict::Pass, "it asks for the whole set each time, and keeps it".into()),
            heard if shown.is_nothing() => (Verdict::CouldNotRun, heard.in_words()),
            heard if conditional => {
                (Verdict::Fail, format!("after a 304 it takes no key that was good before: {}", heard.in_words()))
            }
            heard => (
                Verdict::Fail,
                format!(
                    "after another fetch of the same set it takes no key that was good before: {}",
                    heard.in_words()
                ),
            ),
        };
        self.keep(&UNCHANGED, verdict, why, seen);
        Ok(())
    }

    /// A client's document whose keys are elsewhere: whether what a user agreed to lives on.
    pub(super) async fn changed_document(&mut self, good: &mut Signer) -> Result<(), JoseError> {
        if !self.is_due(&DOCUMENT) || self.watch.stopped() {
            return Ok(());
        }
        let plain = self.stage.target.dialect == Dialect::Plain;
        if plain && self.stage.client.is_some() {
            self.keep(&DOCUMENT, Verdict::Skipped, "it knows its clients by registration", Vec::new());
            return Ok(());
        }
        let Some(flaw) = crate::lab::flaws::find(DOCUMENT.name).ok() else { return Ok(()) };
        let issuer = self.stage.cast.issuer.url.clone();
        let path = path_of(&issuer).to_owned();
        let (name, keys) = if plain { ("/client.json", "/client.jwks.json") } else { ("/clients/drill.json", JWKS) };
        let (id, at) = (issuer.at(name), format!("{path}{name}"));
        let document = client_document(&id, &issuer.at(keys));
        self.stage.hosted.put(&at, document.clone());
        // Where the document will say that its keys are, which are the same.
        let same = if plain {
            json!({"keys": [self.stage.cast.issuer.holder.public_jwk()]})
        } else {
            Value::Object(set_of(&[good]).members)
        };
        self.stage.hosted.put(&format!("{path}/jwks.json"), Document::new(same));
        let first = self.of_client("a good assertion of a client with a document of its own", good, &id).await?;
        let credential = match self.stage.credential(&first.json).await {
            Ok((credential, _)) if first.heard == Heard::Taken => credential,
            Ok(_) | Err(_) => {
                let why = format!("a good document of a client of its own is not enough: {}", first.heard.in_words());
                self.keep(&DOCUMENT, Verdict::Skipped, why, vec![first.evidence]);
                return Ok(());
            }
        };
        if let Some(spoilt) = flaw.spoil(&document, &good.cast) {
            self.stage.hosted.put(&at, spoilt);
        }
        let fetched = self.stage.hosted.fetches(&at).len();
        if !self
            .pause(self.patience.document, "waiting until the service's copy of the client's document is too old")
            .await
        {
            return Ok(());
        }
        let again = self.of_client("another one of that client, whose keys are elsewhere now", good, &id).await?;
        let fetched = self.stage.hosted.fetches(&at).len() > fetched;
        let (lives, looked) = self.stage.lives("the API, with the credential of before", &credential.bearer).await;
        let evidence: Vec<Evidence> =
            [Some(first.evidence), Some(again.evidence), looked].into_iter().flatten().collect();
        let (verdict, why) = match lives {
            _ if !fetched => (
                Verdict::CouldNotRun,
                format!("it did not fetch the document again within {} s", self.patience.document.as_secs()),
            ),
            Some(true) => (
                Verdict::Pass,
                format!("the credential of before lives; another assertion: {}", again.heard.in_words()),
            ),
            Some(false) => (DOCUMENT.short(), "the credential of before has ended".to_owned()),
            None => (
                Verdict::CouldNotRun,
                "no API is known where the credential could be tried: name one with --api".to_owned(),
            ),
        };
        self.keep(&DOCUMENT, verdict, why, evidence);
        self.stage.hosted.put(&at, document);
        Ok(())
    }

    async fn of_client(&mut self, what: &str, by: &mut Signer, id: &str) -> Result<Shown, JoseError> {
        let mut terms = self.stage.terms(&self.stage.user, by.cast.issuer.key.alg());
        id.clone_into(&mut terms.client_id);
        by.cast.now = self.stage.clock.now();
        let draft = by.cast.assertion(&terms)?;
        self.present_draft(what, by, &draft).await
    }

    /// What is not reached any more is written down with the reason.
    pub(super) fn nothing_more(&self, why: &str) {
        for step in self.written.steps.iter() {
            if !self.written.has(step) {
                self.keep(step, Verdict::Skipped, why, Vec::new());
            }
        }
    }

    /// Takes the API away where it lets in whoever comes: nothing could be seen there.
    pub(super) async fn look_for_the_api(&mut self) {
        if let Some((_, Some(why))) = self.stage.look_for_the_api().await {
            self.written.with(|service| service.remarks.push(format!("{why}.")));
        }
    }
}

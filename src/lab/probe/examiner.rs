//! An examination under way: what every part of it does.

use std::pin::Pin;
use std::time::Duration;

use tokio::sync::watch;

use super::check::{Check, Effect, NO_CREDENTIAL, Selection};
use super::report::{Checked, Ending, Evidence, Verdict};
use super::results::Results;
use crate::jose::JoseError;
use crate::lab::examine::hear::{Heard, credential};
use crate::lab::examine::stage::{Credential, Stage, User};
use crate::lab::examine::talk::Said;
use crate::lab::flaws::Kind;

/// Starts the service anew, and says when it is there again.
pub type Restart = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync>;

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
        effect: &'static Effect,
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

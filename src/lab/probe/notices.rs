//! Notices of withdrawal: what a good one ends, and what bad ones must not end.

use std::time::Instant;

use super::blocks::{BLOCK, Tried};
use super::check::{ENDS, SPARES};
use super::examiner::Probe;
use super::report::{Evidence, Verdict};
use crate::jose::JoseError;
use crate::lab::examine::hear::{At, Heard, hear, judge};
use crate::lab::examine::stage::{Credential, User};
use crate::lab::examine::talk::Said;
use crate::lab::flaws::{Answer, Class, Flaw, Kind, Presented};

impl Probe {
    /// What really ends, then every flaw of a notice that can be shown with the keys that are published first.
    pub(super) async fn notices(&mut self) -> Result<(), JoseError> {
        if self.stopped() {
            return Ok(());
        }
        let wanted = self.wanted(Kind::Notice);
        if self.stage.target.notices.is_none() {
            let why = "its metadata offer no place for notices in the format of its protocol";
            self.effect(&ENDS, Verdict::Skipped, why, Vec::new());
            self.effect(&SPARES, Verdict::Skipped, why, Vec::new());
            for flaw in wanted {
                self.keep(flaw, Tried::skipped(why), None);
            }
            return Ok(());
        }
        let selected = |effect| self.options.selection.has(&super::check::Check::Effect(effect));
        if wanted.is_empty() && !selected(&ENDS) && !selected(&SPARES) {
            return Ok(());
        }
        self.results.say("a notice of withdrawal");
        if !self.what_really_ends().await? {
            for flaw in wanted {
                let why = "a good notice is not taken, so that a refusal would show nothing";
                self.keep(flaw, Tried { verdict: Verdict::Void, why: why.into(), evidence: Vec::new() }, None);
            }
            return Ok(());
        }
        let mut now = Vec::new();
        for flaw in wanted {
            if !self.waits_for_new_keys(flaw)? {
                now.push(flaw);
            }
        }
        self.notices_in_blocks(&now).await
    }

    /// Two users are signed in, and one of them withdraws. Whether a good notice is taken.
    async fn what_really_ends(&mut self) -> Result<bool, JoseError> {
        let (user, other) = (self.stage.user.clone(), self.other_user());
        self.fresh = false;
        let own = self.signed_in(&user).await?;
        let others = self.signed_in(&other).await?;
        let (heard, said) = self.withdraw("a good notice").await?;
        if heard != Heard::Taken {
            let why = format!("a good notice is not taken: the service {}", heard.in_words());
            let verdict = match heard {
                Heard::Refused { .. } => Verdict::Fail,
                _ => Verdict::CouldNotRun,
            };
            self.effect(&ENDS, verdict, why, vec![said.evidence]);
            self.effect(&SPARES, Verdict::Skipped, "no notice is taken there", Vec::new());
            return Ok(false);
        }
        if self.stage.target.api.is_none() {
            let why = "no API is known where a credential could be tried: name one with --api";
            self.effect(&ENDS, Verdict::CouldNotRun, why, Vec::new());
            self.effect(&SPARES, Verdict::CouldNotRun, why, Vec::new());
            return Ok(true);
        }
        match own {
            Ok(credential) => self.it_ends(&credential, said.evidence).await,
            Err(why) => self.effect(&ENDS, Verdict::CouldNotRun, why, Vec::new()),
        }
        match others {
            Err(why) => {
                self.effect(&SPARES, Verdict::Skipped, format!("another user got no credential: {why}"), Vec::new());
            }
            Ok(credential) => {
                let (lives, seen) = self
                    .stage
                    .lives("the control: the API, with the other user's credential", &credential.bearer)
                    .await;
                let (verdict, why) = match lives {
                    Some(true) => (Verdict::Pass, "the other user's credential lives"),
                    Some(false) => (Verdict::Fail, "the other user's credential has ended as well"),
                    None => (Verdict::CouldNotRun, "the API says neither yes nor no"),
                };
                self.effect(&SPARES, verdict, why, seen.into_iter().collect());
            }
        }
        Ok(true)
    }

    /// How long a credential lives on after a notice, and whether the service's own assertion still gets another one.
    async fn it_ends(&mut self, credential: &Credential, notice: Evidence) {
        let told = Instant::now();
        let mut seen = vec![notice];
        let ended = loop {
            let (lives, looked) =
                self.stage.lives("the control: the API, with the credential", &credential.bearer).await;
            let late = told.elapsed() >= self.options.kill_within;
            if lives != Some(true) || late {
                seen.extend(looked);
                break lives;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        };
        let took = told.elapsed().as_millis();
        let (mut verdict, mut why) = match ended {
            Some(false) => (Verdict::Pass, format!("it has ended {took} ms after the notice was taken")),
            Some(true) => (Verdict::Fail, format!("it lives on {took} ms after the notice was taken")),
            None => (Verdict::CouldNotRun, "the API says neither yes nor no".to_owned()),
        };
        if let (Verdict::Pass, Some(own)) = (verdict, &credential.own)
            && let Ok(said) = self.stage.exchange(own).await
        {
            if hear(At::Door, &said.reply) == Heard::Taken {
                (verdict, why) = (Verdict::Fail, "the service's own assertion still gets access tokens".into());
            }
            seen.push(said.evidence);
        }
        self.effect(&ENDS, verdict, why, seen);
    }

    /// Takes back what was given to those whom the examination is about, and says what it leaves behind.
    pub(super) async fn clean_up(&mut self) -> Result<(), JoseError> {
        let (user, other) = (self.stage.user.clone(), self.other_user());
        let mut ended = self.stage.target.notices.is_some();
        if ended {
            for whom in [&user, &other] {
                let (heard, _) = self.withdraw_of("a good notice, at the end", whom).await?;
                ended &= heard == Heard::Taken;
            }
        }
        let users = format!("{} and {}", user.sub, other.sub);
        self.results.remarks.push(if ended {
            format!("At the end the service was told to end what it gave to {users}; accounts that it made for them are there still.")
        } else {
            format!("What the service gave to {users} ends when it expires; there is no place to take it back.")
        });
        Ok(())
    }

    /// A good notice about the user.
    async fn withdraw(&mut self, what: &str) -> Result<(Heard, Said), JoseError> {
        let user = self.stage.user.clone();
        self.withdraw_of(what, &user).await
    }

    async fn withdraw_of(&mut self, what: &str, user: &User) -> Result<(Heard, Said), JoseError> {
        let draft = self.stage.good(Kind::Notice, user)?;
        let token = draft.token(&self.stage.cast)?;
        Ok(self.stage.present(what, Kind::Notice, &draft, &token).await)
    }

    /// Sends bad notices about a user who is signed in, some at a time: after them that user is signed in still, and a good notice is taken.
    pub(super) async fn notices_in_blocks(&mut self, flaws: &[&'static Flaw]) -> Result<(), JoseError> {
        self.fresh = false;
        let user = self.stage.user.clone();
        for block in flaws.chunks(BLOCK) {
            let mut credential = self.signed_in(&user).await?.ok();
            let mut ids = Vec::new();
            for flaw in block {
                if self.stopped() {
                    return Ok(());
                }
                let tried = self.try_notice(flaw, &mut credential).await?;
                ids.push(flaw.check());
                self.keep(flaw, tried, None);
            }
            if let Some(credential) = &credential
                && self.stage.lives("the credential, after them", &credential.bearer).await.0 == Some(false)
            {
                self.results.void(&ids, "one of the notices that were refused ended the credential all the same");
            }
            let (heard, _) = self.withdraw("the good one after").await?;
            if heard != Heard::Taken {
                self.results
                    .void(&ids, &format!("a good notice was not taken after it: the service {}", heard.in_words()));
            }
        }
        Ok(())
    }

    async fn try_notice(
        &mut self,
        flaw: &'static Flaw,
        credential: &mut Option<Credential>,
    ) -> Result<Tried, JoseError> {
        let dialect = self.stage.target.dialect;
        let answer = flaw.answer(dialect);
        if answer == Answer::Open && flaw.class != Class::Tolerated {
            return Ok(Tried::skipped("what the service speaks has no rule for it"));
        }
        let user = self.stage.user.clone();
        let good = self.stage.good(Kind::Notice, &user)?;
        let Some(bad) = flaw.apply(&good, &self.stage.cast).filter(|bad| *bad != good) else {
            return Ok(Tried::skipped("of a notice in this format it changes nothing"));
        };
        let Ok(token) = bad.token(&self.stage.cast) else {
            return Ok(Tried::skipped("the issuer's key has no signature of this form"));
        };
        let mut evidence = Vec::new();
        let again = bad.presented == Presented::Again;
        if again {
            let (heard, said) = self.stage.present("for the first time", Kind::Notice, &bad, &token).await;
            evidence.push(said.evidence);
            if heard != Heard::Taken {
                let why = format!("it is not taken for the first time: the service {}", heard.in_words());
                return Ok(Tried { verdict: Verdict::Void, why, evidence });
            }
        }
        let (heard, said) = self.stage.present("the notice with the flaw", Kind::Notice, &bad, &token).await;
        self.look_at_a_refusal(&heard, &said);
        evidence.push(said.evidence);
        let (mut verdict, mut why) = judge(flaw, dialect, &heard);
        if heard == Heard::Taken
            && !again
            && let Some(bearer) = credential.as_ref().map(|credential| credential.bearer.clone())
        {
            let (lives, seen) = self.stage.lives("the control: the API, with the credential", &bearer).await;
            evidence.extend(seen);
            match (answer, lives) {
                (Answer::Accept { .. } | Answer::Open, Some(false)) => {
                    (verdict, why) = (Verdict::Fail, "it is acknowledged, and the user's credential has ended".into());
                }
                (Answer::Refuse { .. }, Some(true)) => {
                    (verdict, why) =
                        (Verdict::Warning, "it is acknowledged and not refused, though nothing ends by it".into());
                }
                _ => {}
            }
            if lives == Some(false) {
                *credential = None;
            }
        }
        if again || credential.is_none() {
            *credential = self.signed_in(&user).await?.ok();
        }
        Ok(Tried { verdict, why, evidence })
    }
}

//! A compromise: a key is taken away at once, and another one takes over.

use std::time::Duration;

use super::report::Schedule;
use super::rotation::{LOOKS, span};
use super::service::{Drill, Signer};
use super::steps::{CACHED, NEW_KEY, NOTICE_BY_NEW, NOTICE_BY_REVOKED, REVOKED};
use crate::jose::JoseError;
use crate::lab::examine::found::Verdict;
use crate::lab::examine::hear::Heard;
use crate::lab::examine::stage::Credential;

impl Drill {
    /// The whole of it.
    pub(super) async fn compromise(&mut self) -> Result<(), JoseError> {
        let Some(mut revoked) = self.begin().await? else { return Ok(()) };
        let steps = [&NEW_KEY, &REVOKED, &NOTICE_BY_NEW, &NOTICE_BY_REVOKED];
        let due = steps.into_iter().filter(|step| self.is_due(step)).count();
        let mut new = self.fresh()?;
        if due > 0 {
            let (user, other) = (self.stage.user.clone(), self.other.clone());
            let credential = self.sign_in(&mut revoked, &other).await?;
            let survivor = self.sign_in(&mut revoked, &user).await?;
            let began = self.watch.now();
            let taken = self.new_key(&[], &mut new).await?;
            let refused = self.until_refused(&mut revoked, (began, taken)).await?;
            if self.is_due(&NOTICE_BY_REVOKED) {
                self.by_the_revoked(&mut revoked, refused, survivor).await?;
            }
            if self.is_due(&NOTICE_BY_NEW) {
                let notice = self.notice(&mut new, &other)?;
                match notice {
                    None => self.keep(&NOTICE_BY_NEW, Verdict::Skipped, "it names no place for notices", Vec::new()),
                    Some(_) if !taken => {
                        self.keep(&NOTICE_BY_NEW, Verdict::Skipped, "the new key is not taken", Vec::new());
                    }
                    Some(notice) => {
                        let heard = self.notify("a notice by the new key", &new, &notice).await;
                        self.after_a_notice(&NOTICE_BY_NEW, heard, credential).await;
                    }
                }
            }
            if !taken {
                self.nothing_more("the new key is not taken, so nothing can be shown by it");
                return Ok(());
            }
        } else {
            self.publish_keys(&[&new]);
        }
        if self.is_due(&CACHED) && !self.watch.stopped() {
            self.by_itself(&mut new).await?;
        }
        Ok(())
    }

    /// How long assertions by the revoked key are taken; whether they no longer are.
    async fn until_refused(
        &mut self,
        revoked: &mut Signer,
        (began, has_seen): (Duration, bool),
    ) -> Result<bool, JoseError> {
        let pause = self.patience.cache / LOOKS;
        loop {
            let shown = self.good("by the revoked key", revoked).await?;
            let passed = self.watch.now().saturating_sub(began);
            if let Heard::Refused { .. } = shown.heard {
                let why = format!("it is refused {} after it was revoked: {}", span(passed), shown.heard.in_words());
                if self.is_due(&REVOKED) {
                    self.keep_measured(&REVOKED, Verdict::Pass, why, vec![shown.evidence], Some(passed));
                }
                return Ok(true);
            }
            let waits = self.schedule == Schedule::Realistic && !has_seen && passed < self.patience.cache;
            if waits && self.pause(pause, "waiting until the revoked key is refused").await {
                continue;
            }
            if self.is_due(&REVOKED) {
                let (verdict, why) = match &shown.heard {
                    _ if shown.is_nothing() => (Verdict::CouldNotRun, shown.heard.in_words()),
                    _ if has_seen => (REVOKED.short(), "it has seen the key set without it, and takes it".to_owned()),
                    _ if self.schedule == Schedule::Fast => (
                        Verdict::Warning,
                        "it has not fetched the key set yet and takes it: --schedule realistic measures for how long"
                            .into(),
                    ),
                    _ => (REVOKED.short(), format!("{} after it was revoked it is taken still", span(passed))),
                };
                self.keep(&REVOKED, verdict, why, vec![shown.evidence]);
            }
            return Ok(false);
        }
    }

    /// A notice by the revoked key, which is to end nothing.
    async fn by_the_revoked(
        &mut self,
        revoked: &mut Signer,
        refused: bool,
        survivor: Result<Credential, String>,
    ) -> Result<(), JoseError> {
        let user = self.stage.user.clone();
        let Some(notice) = self.notice(revoked, &user)? else {
            self.keep(&NOTICE_BY_REVOKED, Verdict::Skipped, "it names no place for notices", Vec::new());
            return Ok(());
        };
        if !refused {
            self.keep(&NOTICE_BY_REVOKED, Verdict::Skipped, "assertions by it are taken as well", Vec::new());
            return Ok(());
        }
        let (heard, evidence) = self.notify("a notice by the revoked key", revoked, &notice).await;
        let mut seen = vec![evidence];
        let (mut verdict, mut why) = match &heard {
            Heard::Taken => (NOTICE_BY_REVOKED.short(), "it is taken".to_owned()),
            Heard::Refused { .. } | Heard::Asks => (Verdict::Pass, heard.in_words()),
            _ => (Verdict::CouldNotRun, heard.in_words()),
        };
        if let (Verdict::Pass, Ok(credential)) = (verdict, survivor) {
            let (lives, looked) = self.stage.lives("the API, with that user's credential", &credential.bearer).await;
            seen.extend(looked);
            if lives == Some(false) {
                (verdict, why) =
                    (NOTICE_BY_REVOKED.short(), format!("{why}, and the user's credential has ended all the same"));
            }
        }
        self.keep(&NOTICE_BY_REVOKED, verdict, why, seen);
        Ok(())
    }
}

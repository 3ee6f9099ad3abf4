//! Assertions with flaws, in blocks between good ones.

use super::check::Check;
use super::examiner::Probe;
use super::report::{Checked, Evidence, Verdict};
use crate::domain::understood::is_slash_apart;
use crate::jose::JoseError;
use crate::lab::examine::hear::{Heard, judge};
use crate::lab::examine::stage::User;
use crate::lab::flaws::{Answer, Class, Dialect, Draft, Flaw, Kind, Level, Presented, Signer, all};

/// Most checks between two good assertions.
pub(super) const BLOCK: usize = 10;

/// What one check came to.
pub(super) struct Tried {
    pub(super) verdict: Verdict,
    pub(super) why: String,
    pub(super) evidence: Vec<Evidence>,
}

impl Tried {
    pub(super) fn skipped(why: impl Into<String>) -> Self {
        Self { verdict: Verdict::Skipped, why: why.into(), evidence: Vec::new() }
    }
}

impl Probe {
    /// Every flaw of an assertion that can be shown with the keys that are published first.
    pub(super) async fn blocks(&mut self) -> Result<(), JoseError> {
        let flaws = self.wanted(Kind::Assertion);
        let mut now = Vec::new();
        for flaw in flaws {
            if !self.waits_for_new_keys(flaw)? {
                now.push(flaw);
            }
        }
        self.in_blocks(&now).await
    }

    /// Flaws of a kind that are asked for.
    pub(super) fn wanted(&self, kind: Kind) -> Vec<&'static Flaw> {
        let of_kind = all().iter().copied().filter(|flaw| flaw.kind == kind);
        of_kind.filter(|flaw| self.options.selection.has(&Check::Flaw(flaw))).collect()
    }

    /// Whether a flaw is about a key that the service may only see when it fetches the key set again, which it does once in a while only:
    /// that once is kept for the check whether it does.
    pub(super) fn waits_for_new_keys(&mut self, flaw: &Flaw) -> Result<bool, JoseError> {
        let user = self.stage.user.clone();
        let good = self.stage.good(flaw.kind, &user)?;
        let Some(bad) = flaw.apply(&good, &self.stage.cast) else { return Ok(false) };
        let issuer = &self.stage.cast.issuer;
        let known = [issuer.key.kid(), issuer.next.kid()];
        let kid = bad.header.get("kid").and_then(|kid| kid.as_str());
        let own = bad.claims.get("iss") == good.claims.get("iss");
        Ok(bad.signer == Signer::Removed
            || own && kid.is_some_and(|kid| !known.iter().any(|known| known.as_str() == kid)))
    }

    /// Sends what has flaws, some at a time, between good ones.
    pub(super) async fn in_blocks(&mut self, flaws: &[&'static Flaw]) -> Result<(), JoseError> {
        for block in flaws.chunks(BLOCK) {
            if self.stopped() {
                return Ok(());
            }
            let before = match self.control("the control before").await? {
                Ok(evidence) => evidence,
                Err((why, evidence)) => {
                    self.without_control(block, &why, &evidence);
                    continue;
                }
            };
            let mut ids = Vec::new();
            for flaw in block {
                if self.stopped() {
                    break;
                }
                let tried = self.try_one(flaw).await?;
                ids.push(flaw.check());
                self.keep(flaw, tried, before.as_ref());
            }
            if let Err((why, _)) = self.control("the control after").await? {
                self.results.void(&ids, &format!("a good assertion was not taken after it: {why}"));
            }
        }
        Ok(())
    }

    fn without_control(&mut self, block: &[&'static Flaw], why: &str, evidence: &Evidence) {
        for flaw in block {
            let checked = Check::Flaw(flaw).checked(
                self.results.dialect,
                Verdict::Void,
                format!("no good assertion was taken before it: {why}"),
            );
            self.results.keep(Checked { evidence: vec![evidence.clone()], ..checked });
        }
    }

    pub(super) fn keep(&mut self, flaw: &'static Flaw, tried: Tried, control: Option<&Evidence>) {
        let checked = Check::Flaw(flaw).checked(self.results.dialect, tried.verdict, tried.why);
        let control = control.filter(|_| matches!(tried.verdict, Verdict::Fail | Verdict::Warning));
        let evidence = control.cloned().into_iter().chain(tried.evidence).collect();
        self.results.keep(Checked { evidence, ..checked });
    }

    async fn try_one(&mut self, flaw: &'static Flaw) -> Result<Tried, JoseError> {
        let user = self.stage.user.clone();
        let good = self.stage.good(flaw.kind, &user)?;
        if let Some(why) = self.cannot_be_shown(flaw, &good) {
            return Ok(Tried::skipped(why));
        }
        let Some(bad) = flaw.apply(&good, &self.stage.cast).filter(|bad| *bad != good) else {
            return Ok(Tried::skipped("with this user, scope and resource it would change nothing"));
        };
        let Ok(token) = bad.token(&self.stage.cast) else {
            return Ok(Tried::skipped("the issuer's key has no signature of this form"));
        };
        self.fresh = false;
        self.presented += 1;
        let mut evidence = Vec::new();
        if matches!(bad.presented, Presented::Again | Presented::AgainAfterRestart) {
            let (heard, said) = self.stage.present("for the first time", flaw.kind, &bad, &token).await;
            evidence.push(said.evidence);
            if heard != Heard::Taken {
                let why = format!("it is not taken for the first time: the service {}", heard.in_words());
                return Ok(Tried { verdict: Verdict::Void, why, evidence });
            }
            if bad.presented == Presented::AgainAfterRestart
                && let Some(restart) = &self.options.restart
                && let Err(why) = restart().await
            {
                return Ok(Tried {
                    verdict: Verdict::CouldNotRun,
                    why: format!("the restart failed: {why}"),
                    evidence,
                });
            }
        }
        let (heard, said) = self.stage.present("the one with the flaw", flaw.kind, &bad, &token).await;
        self.look_at_a_refusal(&heard, &said);
        evidence.push(said.evidence.clone());
        let (verdict, why) = match &said.reply {
            // To pass over a scope is as good as to refuse it (RFC 6749 section 3.3).
            Ok(reply) if flaw.class == Class::Scope && heard == Heard::Taken && grants_no_scope(&reply.json) => {
                (Verdict::Pass, "it is taken, and no scope is granted".to_owned())
            }
            _ => judge(flaw, self.stage.target.dialect, &heard),
        };
        Ok(Tried { verdict, why, evidence })
    }

    /// Why a flaw cannot be shown at this service; nothing where it can.
    fn cannot_be_shown(&self, flaw: &Flaw, good: &Draft) -> Option<&'static str> {
        let dialect = self.stage.target.dialect;
        if flaw.answer(dialect) == Answer::Open && flaw.level != Level::Policy {
            return Some("what the service speaks has no rule for it");
        }
        let presented = flaw.apply(good, &self.stage.cast).map(|bad| bad.presented);
        match presented {
            _ if flaw.name == "aud-of-the-resource" && is_slash_apart(&good.text("resource"), &good.text("aud")) => {
                Some("its resource is its identifier with a slash: aud-with-a-slash shows the same")
            }
            Some(Presented::AsBearer) if self.stage.target.api.is_none() => {
                Some("no API is known: name one with --api")
            }
            Some(Presented::AtTokenEndpoint) if dialect == Dialect::Plain => Some("that is where assertions go there"),
            Some(Presented::AtTokenEndpoint) if self.stage.target.own_token_endpoint().is_none() => {
                Some("its metadata name no token endpoint")
            }
            Some(Presented::AgainAfterRestart) if self.options.restart.is_none() => {
                Some("the service would have to be started anew: say how with --restart")
            }
            _ => None,
        }
    }

    /// A user about whom nothing else is said.
    pub(super) fn other_user(&self) -> User {
        self.options.other_user.clone()
    }
}

/// Whether an answer says that what it gives allows nothing at all (RFC 6749 section 5.1).
fn grants_no_scope(answer: &serde_json::Value) -> bool {
    answer.get("scope").is_some_and(|scope| scope.as_str().is_some_and(|scope| scope.trim().is_empty()))
}

//! Requests that are odd as a whole: one assertion several times at once, and what is no request at all.

use serde_json::Value;
use tokio::task::JoinSet;

use super::check::{ANSWERS, Check, Effect, NO_MORE, ONCE};
use super::examiner::Probe;
use super::report::Verdict;
use crate::jose::JoseError;
use crate::lab::examine::hear::{Heard, hear};
use crate::lab::examine::talk::{Call, Reply};
use crate::lab::flaws::{Dialect, Kind};
use crate::net::Method;

/// How often one assertion comes at once.
const AT_ONCE: usize = 4;

impl Probe {
    /// What is no request at all, and one assertion several times at once.
    pub(super) async fn odd_requests(&mut self) -> Result<(), JoseError> {
        let wanted = |effect: &'static Effect| self.options.selection.has(&Check::Effect(effect));
        let (answers, once) = (wanted(&ANSWERS), wanted(&ONCE));
        if answers && !self.stopped() {
            self.what_cannot_be_read().await;
        }
        if once && !self.stopped() {
            self.several_at_once().await?;
        }
        Ok(())
    }

    async fn several_at_once(&mut self) -> Result<(), JoseError> {
        self.fresh = false;
        let user = self.stage.user.clone();
        let draft = self.stage.good(Kind::Assertion, &user)?;
        let token = draft.token(&self.stage.cast)?;
        let mut under_way = JoinSet::new();
        for _ in 0..AT_ONCE {
            let Some((call, at)) = self.stage.call(Kind::Assertion, &draft, &token)? else { return Ok(()) };
            let (talk, draft) = (self.stage.talk.clone(), draft.clone());
            self.presented += 1;
            under_way
                .spawn(async move { (at, talk.send_at_once("one of several at once", &call, Some(&draft)).await) });
        }
        let mut taken = Vec::new();
        for (at, said) in under_way.join_all().await {
            if hear(at, &said.reply) == Heard::Taken {
                taken.push(said.evidence);
            }
        }
        let (verdict, why) = match taken.len() {
            0 => (Verdict::CouldNotRun, "none of them is taken".to_owned()),
            1 => (Verdict::Pass, format!("one of {AT_ONCE} is taken")),
            n => (Verdict::Fail, format!("{n} of {AT_ONCE} are taken")),
        };
        self.effect(&ONCE, verdict, why, taken);
        Ok(())
    }

    async fn what_cannot_be_read(&mut self) {
        const FORM: &str = "application/x-www-form-urlencoded";
        const JSON: &str = "application/json";
        let (content_type, bodies) = if self.stage.target.dialect == Dialect::Plain {
            (FORM, ["", "grant_type", "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer", "%"])
        } else {
            (JSON, ["", "[]", "{", "{\"type\": \"identity_assertion\"}"])
        };
        self.fresh = false;
        let (mut wrong, mut seen) = (Vec::new(), Vec::new());
        for body in bodies {
            let call = Call::new(Method::Post, self.stage.target.assertions.clone()).body(content_type, body);
            let said = self.stage.talk.send("what cannot be read", &call, None).await;
            let status = said.reply.as_ref().map(|reply| reply.status);
            if !matches!(status, Ok(400..=499)) {
                let what = status.map_or_else(|_| said.evidence.failure.clone(), |status| Some(status.to_string()));
                wrong.push(format!("to {body:?} the answer is {}", what.unwrap_or_default()));
                seen.push(said.evidence);
            }
        }
        let (verdict, why) = if wrong.is_empty() {
            (Verdict::Pass, format!("it refuses {} bodies that cannot be read", bodies.len()))
        } else {
            (Verdict::Warning, wrong.join("; "))
        };
        self.effect(&ANSWERS, verdict, why, seen);
    }

    /// Whether an answer grants more than was asked for.
    pub(super) fn look_at_the_scope(&mut self, reply: &Reply) {
        let Some(asked) = self.stage.target.scope.clone() else {
            self.effect(&NO_MORE, Verdict::Skipped, "no scope is asked for: name one with --scope", Vec::new());
            return;
        };
        let granted: Vec<String> = match ["scope", "scopes"].iter().find_map(|name| reply.json.get(name)) {
            Some(Value::String(text)) => text.split(' ').map(str::to_owned).collect(),
            Some(Value::Array(items)) => items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect(),
            Some(Value::Object(items)) => items.keys().cloned().collect(),
            _ => Vec::new(),
        };
        let was_asked = |scope: &&str| asked.split(' ').any(|asked| asked == *scope);
        let more: Vec<&str> = granted.iter().map(String::as_str).filter(|scope| !was_asked(scope)).collect();
        let (verdict, why) = if more.is_empty() {
            (Verdict::Pass, format!("{asked} is asked for, and no more is granted"))
        } else {
            (Verdict::Warning, format!("{asked} is asked for, and {} is granted as well", more.join(" ")))
        };
        self.effect(&NO_MORE, verdict, why, Vec::new());
    }
}

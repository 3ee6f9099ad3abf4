//! The first good assertion: whether it is taken, and what comes for it.

use serde_json::Value;

use super::check::{NO_REFRESH, NO_STORE};
use super::examiner::Probe;
use super::report::Verdict;
use crate::jose::JoseError;
use crate::lab::examine::hear::Heard;
use crate::lab::examine::stage::Credential;
use crate::lab::examine::talk::Said;
use crate::lab::flaws::{Answer, Class, Kind};

impl Probe {
    /// The first good assertion, and what it gives access to. Nothing where it is not taken, which is said.
    pub(super) async fn first(&mut self) -> Result<Option<Option<Credential>>, JoseError> {
        let user = self.stage.user.clone();
        let (mut heard, mut said) = self.good("a good assertion", &user).await?;
        if self.may_rest(&heard) {
            self.results.wait("the service may rest before it fetches the key set again", self.options.patience);
            tokio::select! {
                () = tokio::time::sleep(self.options.patience) => {}
                _ = self.options.stop.changed() => {}
            }
            (heard, said) = self.good("a good assertion, later", &user).await?;
        }
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

    /// Whether a service that was examined a moment ago may know the issuer by a key of then: it refuses the signature, and does not look for
    /// another key.
    fn may_rest(&self, heard: &Heard) -> bool {
        let Heard::Refused { code: Some(code), .. } = heard else { return false };
        let refusal = Class::Signature.answer(Kind::Assertion, self.stage.target.dialect);
        let of_signatures = matches!(refusal, Answer::Refuse { codes, .. } if codes.contains(&code.as_str()));
        let fetched = self.stage.hosted.fetches(&self.stage.jwks_path()).len() > self.fetched_before;
        of_signatures && !fetched && !self.options.patience.is_zero()
    }

    /// A credential whose life can be looked at.
    async fn is_seen_to_work(&mut self, credential: Credential) -> Option<Credential> {
        if self.stage.lets_in(&credential.bearer).await {
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
        self.look_at_the_scope(reply);
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
            format!(
                "It did not fetch the keys of {issuer}: it may not trust that issuer yet, cannot reach it, or rests for half a minute since it was examined last."
            )
        } else if said.evidence.answer.as_ref().is_some_and(|answer| answer.status == 401) {
            "It may not know the client: name one with --client.".to_owned()
        } else {
            "It did fetch the issuer's keys. If it was examined a moment ago with another key, it may not fetch again yet.".to_owned()
        };
        format!("A good assertion is not taken: the service {why}. {hint}")
    }
}

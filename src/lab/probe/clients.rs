//! Client documents with flaws. Each is at an address of its own, so that nothing that the service keeps of another comes between.

use tokio::task::JoinSet;

use super::blocks::Tried;
use super::examiner::Probe;
use crate::jose::JoseError;
use crate::lab::examine::hear::{At, Heard, hear, judge};
use crate::lab::examine::talk::Said;
use crate::lab::flaws::{Class, Dialect, Draft, Flaw, Kind};
use crate::lab::hosted::{JWKS, client_document, path_of};

impl Probe {
    /// Every flaw of a client's document: all at once, since some are slow.
    pub(super) async fn clients(&mut self) -> Result<(), JoseError> {
        let wanted = self.wanted(Kind::Cimd);
        if wanted.is_empty() || self.stopped() {
            return Ok(());
        }
        if self.stage.target.dialect == Dialect::Plain {
            for flaw in wanted {
                self.keep(flaw, Tried::skipped("it knows its clients by registration"), None);
            }
            return Ok(());
        }
        self.results.say("documents of clients");
        let before = match self.good_client("before").await? {
            Ok(said) => said.evidence,
            Err(why) => {
                for flaw in wanted {
                    let why = format!("a good document of a client of its own is not enough: {why}");
                    self.keep(flaw, Tried::skipped(why), None);
                }
                return Ok(());
            }
        };
        let mut under_way = JoinSet::new();
        for flaw in &wanted {
            // Whoever kept the document does not fetch it again for a minute.
            if flaw.class == Class::Tolerated && flaw.name == "cimd-with-changed-keys" {
                self.keep(flaw, Tried::skipped("it takes longer than a probe: avouch drill rotation shows it"), None);
                continue;
            }
            let Some(draft) = self.of_spoilt_client(flaw)? else { continue };
            let token = draft.token(&self.stage.cast)?;
            let Some((call, _)) = self.stage.call(Kind::Assertion, &draft, &token)? else { continue };
            let (talk, flaw) = (self.stage.talk.clone(), *flaw);
            self.presented += 1;
            under_way.spawn(async move {
                (flaw, talk.send("whose client's document has the flaw", &call, Some(&draft)).await)
            });
        }
        self.fresh = false;
        let mut ids = Vec::new();
        while let Some(Ok((flaw, said))) = under_way.join_next().await {
            let heard = hear(At::Door, &said.reply);
            self.look_at_a_refusal(&heard, &said);
            let (verdict, why) = judge(flaw, self.stage.target.dialect, &heard);
            ids.push(flaw.check());
            self.keep(flaw, Tried { verdict, why, evidence: vec![said.evidence] }, Some(&before));
        }
        if let Err(why) = self.good_client("after").await? {
            self.results.void(&ids, &format!("a good document was not enough after it: {why}"));
        }
        Ok(())
    }

    /// A good assertion of a client whose document has the flaw.
    fn of_spoilt_client(&mut self, flaw: &Flaw) -> Result<Option<Draft>, JoseError> {
        let (id, path, jwks_uri) = self.client_at(flaw.name);
        let good = client_document(&id, &jwks_uri);
        let Some(document) = flaw.spoil(&good, &self.stage.cast) else { return Ok(None) };
        self.stage.hosted.put(&path, document);
        self.draft_of(&id).map(Some)
    }

    async fn good_client(&mut self, name: &str) -> Result<Result<Said, String>, JoseError> {
        let name = format!("good-{name}-{}", self.stage.rng.token());
        let (id, path, jwks_uri) = self.client_at(&name);
        self.stage.hosted.put(&path, client_document(&id, &jwks_uri));
        let draft = self.draft_of(&id)?;
        let token = draft.token(&self.stage.cast)?;
        self.presented += 1;
        let (heard, said) =
            self.stage.present("whose client's document is good", Kind::Assertion, &draft, &token).await;
        Ok(if heard == Heard::Taken { Ok(said) } else { Err(heard.in_words()) })
    }

    fn draft_of(&mut self, client_id: &str) -> Result<Draft, JoseError> {
        let user = self.stage.user.clone();
        let mut draft = self.stage.good(Kind::Assertion, &user)?;
        draft.set("client_id", client_id);
        Ok(draft)
    }

    /// Identifier and path of a client, and where its keys are: those of the issuer.
    fn client_at(&self, name: &str) -> (String, String, String) {
        let issuer = &self.stage.cast.issuer.url;
        let below = format!("/clients/{name}.json");
        (issuer.at(&below), format!("{}{below}", path_of(issuer)), issuer.at(JWKS))
    }
}

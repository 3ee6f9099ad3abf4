//! The keys of a harness: made by the lab, kept, published and moved by the provider's own code.

use serde_json::{Value, json};

use super::{Harness, Wrong};
use crate::domain::ids::Kid;
use crate::domain::rotation::{Key, KeyState, SigningAlg};
use crate::flow::compromise::{self, Order};
use crate::flow::issuers;
use crate::flow::rotate::{self, Reason};
use crate::jose::LabKey;

/// Every key that an issuer of a harness ever had.
#[derive(Default)]
pub(super) struct Keys(Vec<LabKey>);

/// What a call names; without a key it is the one that it can be meant for.
#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ask {
    pub(super) issuer: Option<String>,
    kid: Option<String>,
    alg: Option<String>,
}

fn reason() -> Result<Reason, Wrong> {
    Reason::parse("a test asked for it").map_err(|e| Wrong::fault(&e))
}

/// What a call names.
pub(super) fn alg(named: Option<&str>) -> Result<SigningAlg, Wrong> {
    match named {
        None | Some("ES256") => Ok(SigningAlg::Es256),
        Some("RS256") => Ok(SigningAlg::Rs256),
        Some(_) => Err(Wrong::request("alg is ES256 or RS256")),
    }
}

impl Harness {
    /// Puts a lab's key in the place of the one that the provider made for itself.
    pub(super) async fn take_over(&self, id: &str) -> Result<(), Wrong> {
        let own = self.listed(id).await?;
        self.prepare(id, SigningAlg::Es256).await?;
        self.activate(id, SigningAlg::Es256, None).await?;
        for key in own {
            rotate::retire(&self.0.host, id, &key.kid, Some(&reason()?)).await?;
        }
        self.settled().await
    }

    async fn listed(&self, id: &str) -> Result<Vec<Key>, Wrong> {
        Ok(rotate::list(&self.0.host, id).await?.into_iter().map(|listed| listed.key).collect())
    }

    async fn settled(&self) -> Result<(), Wrong> {
        Ok(issuers::refresh(&self.0.host).await?)
    }

    async fn find(&self, id: &str, alg: SigningAlg, state: KeyState) -> Result<Option<Kid>, Wrong> {
        let found = self.listed(id).await?.into_iter().find(|key| key.alg == alg && key.state == state);
        Ok(found.map(|key| key.kid))
    }

    /// A copy of the key that signs; one of RSA is made when it is first asked for.
    pub(super) async fn signer(&self, id: &str, alg: SigningAlg) -> Result<LabKey, Wrong> {
        let missing = || Wrong::fault(&"an issuer of the harness has no key of the lab");
        let kid = match self.find(id, alg, KeyState::Active).await? {
            Some(kid) => kid,
            None => self.first(id, alg).await?,
        };
        let keys = self.0.keys.lock().await;
        let key = keys.get(id).and_then(|keys| keys.0.iter().find(|key| *key.kid() == kid)).ok_or_else(missing)?;
        Ok(LabKey::read(&key.to_jwk()?)?)
    }

    /// The first key of an algorithm, unless another call has made it meanwhile.
    async fn first(&self, id: &str, alg: SigningAlg) -> Result<Kid, Wrong> {
        let _turn = self.0.turn.lock().await;
        if let Some(kid) = self.find(id, alg, KeyState::Active).await? {
            return Ok(kid);
        }
        if self.find(id, alg, KeyState::Pending).await?.is_none() {
            self.prepare(id, alg).await?;
        }
        let kid = self.activate(id, alg, None).await?;
        self.settled().await?;
        Ok(kid)
    }

    async fn prepare(&self, id: &str, alg: SigningAlg) -> Result<Kid, Wrong> {
        let key = LabKey::generate(alg, &self.0.host.rng)?;
        let kid = rotate::import_of_lab(&self.0.host, id, &key.to_jwk()?).await?;
        self.0.keys.lock().await.entry(id.to_owned()).or_default().0.push(key);
        Ok(kid)
    }

    async fn activate(&self, id: &str, alg: SigningAlg, kid: Option<Kid>) -> Result<Kid, Wrong> {
        let nothing = || Wrong::new(axum::http::StatusCode::CONFLICT, "conflict", "no key is pending: prepare one");
        let kid = match kid {
            Some(kid) => kid,
            None => self.find(id, alg, KeyState::Pending).await?.ok_or_else(nothing)?,
        };
        rotate::activate(&self.0.host, id, &kid, Some(&reason()?)).await?;
        Ok(kid)
    }

    async fn retire(&self, id: &str, alg: SigningAlg, kid: Option<Kid>) -> Result<Kid, Wrong> {
        let nothing = || Wrong::new(axum::http::StatusCode::CONFLICT, "conflict", "no key is retiring");
        let kid = match kid {
            Some(kid) => kid,
            None => self.find(id, alg, KeyState::Retiring).await?.ok_or_else(nothing)?,
        };
        rotate::retire(&self.0.host, id, &kid, Some(&reason()?)).await?;
        Ok(kid)
    }

    /// Another one takes over first, so that the provider makes none of its own in its place.
    async fn revoke(&self, id: &str, alg: SigningAlg, kid: Option<Kid>) -> Result<Kid, Wrong> {
        let named = self.listed(id).await?.into_iter().find(|key| Some(&key.kid) == kid.as_ref());
        let alg = named.map_or(alg, |key| key.alg);
        let active = self.find(id, alg, KeyState::Active).await?;
        let kid = kid.or(active.clone()).ok_or_else(|| Wrong::request("no key of that algorithm signs"))?;
        if active.as_ref() == Some(&kid) {
            if self.find(id, alg, KeyState::Pending).await?.is_none() {
                self.prepare(id, alg).await?;
            }
            self.activate(id, alg, None).await?;
        }
        let order = Order { kid: kid.clone(), reason: reason()?, withdraw_since: None, dry_run: false };
        compromise::run(&self.0.host, id, &order, |_, _| {}).await?;
        Ok(kid)
    }

    /// Moves a key, and says where all of them are then.
    pub(super) async fn move_key(&self, what: &str, id: &str, ask: &Ask) -> Result<Value, Wrong> {
        let _turn = self.0.turn.lock().await;
        let (alg, kid) = (alg(ask.alg.as_deref())?, ask.kid.as_deref().map(Kid::from));
        let moved = match what {
            "prepare" if kid.is_some() => return Err(Wrong::request("a key that is made has a name of its own")),
            "prepare" => self.prepare(id, alg).await?,
            "activate" => self.activate(id, alg, kid).await?,
            "retire" => self.retire(id, alg, kid).await?,
            _ => self.revoke(id, alg, kid).await?,
        };
        self.settled().await?;
        Ok(json!({"kid": moved, "keys": self.keys(id).await?}))
    }

    /// Where the keys of an issuer are.
    pub(super) async fn keys(&self, id: &str) -> Result<Value, Wrong> {
        let shown = |key: Key| json!({"kid": key.kid, "alg": key.alg, "state": key.state});
        let of_lab = self.listed(id).await?.into_iter().filter(|key| key.kid.is_of_lab());
        let keys: Vec<Value> = of_lab.map(shown).collect();
        Ok(json!(keys))
    }
}

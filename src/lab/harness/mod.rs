//! A scriptable issuer for other people's tests: the provider's own code (metadata, key sets, its client document, journal) over a store of
//! its own, with keys of a lab, a clock that moves when told, and an API that mints, rotates and breaks things at will.

mod control;
mod faults;
mod front;
mod keys;
mod ledger;
mod wrong;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::middleware::from_fn_with_state;

use self::faults::Faults;
use self::keys::Keys;
use self::ledger::Ledger;
pub use self::wrong::Wrong;
use crate::domain::display_name::DisplayName;
use crate::domain::ids::IssuerUrl;
use crate::domain::issuer::IssuerId;
use crate::domain::rotation::SigningAlg;
use crate::flow::issuers_admin::{self, Looks};
use crate::host::{DEFAULT_ISSUER, Host};
use crate::http;
use crate::lab::flaws::{Cast, Others};
use crate::lab::issuer::LabIssuer;

/// The issuer that no test's service should trust, whose keys are published all the same.
const UNTRUSTED: &str = "untrusted";

/// Most issuers of one harness.
const MAX_ISSUERS: usize = 1000;

/// A harness. Cheap to clone.
#[derive(Clone)]
pub struct Harness(Arc<Inner>);

struct Inner {
    host: Host,
    port: u16,
    /// Held by whoever moves keys, so that one call is done with them before the next begins.
    turn: tokio::sync::Mutex<()>,
    /// By our key of the issuer.
    keys: tokio::sync::Mutex<HashMap<String, Keys>>,
    ledger: Mutex<Ledger>,
    faults: Mutex<Faults>,
}

impl Harness {
    /// A harness over a host that nothing else serves, reached on loopback at `port`.
    ///
    /// # Errors
    /// When its first keys cannot be made.
    pub async fn new(host: Host, port: u16) -> Result<Self, Wrong> {
        let harness = Self(Arc::new(Inner {
            host,
            port,
            turn: tokio::sync::Mutex::default(),
            keys: tokio::sync::Mutex::default(),
            ledger: Mutex::default(),
            faults: Mutex::default(),
        }));
        harness.take_over(DEFAULT_ISSUER).await?;
        harness.add_issuer(UNTRUSTED).await?;
        Ok(harness)
    }

    /// Its routes, to be served at the root of its origin.
    pub fn router(&self) -> Router {
        // Around a router of its own, since a router's layers see a request only after its path has been looked up.
        Router::new()
            .nest("/harness", control::router(self.clone()))
            .fallback_service(http::router(self.0.host.clone()))
            .layer(from_fn_with_state(self.clone(), front::around))
    }

    /// Adds an issuer by path, with keys of a lab.
    async fn add_issuer(&self, id: &str) -> Result<IssuerUrl, Wrong> {
        let id = IssuerId::parse(id).map_err(|e| Wrong::request(e.to_string()))?;
        if id.as_str() == "harness" {
            return Err(Wrong::request("the control API is there"));
        }
        let _turn = self.0.turn.lock().await;
        if self.0.keys.lock().await.len() >= MAX_ISSUERS {
            return Err(Wrong::request(format!("a harness has {MAX_ISSUERS} issuers at most")));
        }
        let name = DisplayName::try_from(format!("Lab {}", id.as_str())).map_err(|e| Wrong::request(e.to_string()))?;
        issuers_admin::add(&self.0.host, &id, &Looks { name, colour: None, logo: None }).await?;
        self.take_over(id.as_str()).await?;
        Ok(id.under(&self.0.host.root))
    }

    /// Everybody who plays a part when an issuer mints.
    async fn cast(&self, id: &str, url: IssuerUrl, alg: SigningAlg) -> Result<Cast, Wrong> {
        let issuer = LabIssuer::new(url, self.signer(id, SigningAlg::Es256).await?)?;
        let issuer = match alg {
            SigningAlg::Es256 => issuer,
            SigningAlg::Rs256 => issuer.with_rs256(self.signer(id, alg).await?),
        };
        let untrusted = IssuerUrl::parse(&self.0.host.root.at(&format!("/{UNTRUSTED}")));
        let untrusted = untrusted.map_err(|e| Wrong::fault(&e))?;
        let untrusted = LabIssuer::new(untrusted, self.signer(UNTRUSTED, SigningAlg::Es256).await?)?;
        Ok(Cast { issuer, untrusted, others: Others::default(), now: self.0.host.now() })
    }
}

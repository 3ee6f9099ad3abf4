//! The two handles: a process, and one issuer on it.
//!
//! [`Host`] is what all issuers of a process share. [`App`] is one of them at work, which is what every flow takes; nothing in it
//! reaches the rows of another.

mod sealing;

use std::ops::Deref;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Once};

use ipnet::IpNet;
use tokio::sync::{Notify, watch};

use crate::cache::{Cache, Recent};
use crate::clock::Clock;
use crate::domain::client::Client;
use crate::domain::ids::{ClientId, IssuerUrl};
use crate::domain::issuer::Colour;
use crate::domain::rotation::Rotation;
use crate::domain::time::{Seconds, Timestamp};
use crate::error::Error;
use crate::fetches::Fetches;
use crate::jose::{Jwks, Keyring};
use crate::net::{Documents, Net, Turns};
use crate::passwords::Hashing;
use crate::rng::Rng;
use crate::store::{Database, Store};
pub use sealing::{Given, Place, Placed, Sealing};

/// The default issuer's key in the database: the one at the root of the origin. No path issuer may be called that.
pub const DEFAULT_ISSUER: &str = "default";

/// A process: everything that its issuers share. Cheap to clone.
#[derive(Clone)]
pub struct Host(Arc<Process>);

impl Deref for Host {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.0
    }
}

/// What a [`Host`] holds.
pub struct Process {
    /// Where the default issuer sits; the others are under it.
    pub root: IssuerUrl,
    /// The rows of all issuers.
    pub database: Database,
    /// The way out.
    pub net: Net,
    /// What others publish, fetched and kept for as long as they let it.
    pub documents: Documents,
    /// Turns at looking for that.
    pub looks: Turns,
    /// The time.
    pub clock: Clock,
    /// The randomness.
    pub rng: Rng,
    /// Opens signing keys.
    pub sealing: Sealing,
    /// How signing keys rotate.
    pub rotation: Rotation,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Done once it was said that a proxy is missing there.
    pub proxy_missed: Once,
    /// How long the last refresh token may be sent again.
    pub refresh_retry: Seconds,
    /// How long a notice is tried.
    pub give_up_after: Seconds,
    /// Rung when a notice was enqueued.
    pub outbox_signal: Notify,
    /// Where passwords are hashed.
    pub hashing: Hashing,
    /// False until the plain passwords of the configuration are hashed; sign-ins wait for that.
    pub passwords_ready: watch::Sender<bool>,
    /// Up to which change of an issuer this process has forgotten what it knew.
    pub revision: Revision,
    /// Issuers that were used lately, by our key.
    pub issuers: Recent<Arc<Issuer>>,
    /// Who has fetched keys and documents since that was last written down.
    pub fetches: Fetches,
    /// Registered clients, by issuer and `client_id`.
    pub clients: Cache<(Arc<str>, ClientId), Arc<Registered>>,
}

impl Host {
    /// Wraps the parts.
    #[must_use]
    pub fn new(process: Process) -> Self {
        Self(Arc::new(process))
    }

    /// One of its issuers at work.
    #[must_use]
    pub fn app(&self, issuer: Arc<Issuer>) -> App {
        App { store: self.database.of(issuer.id.clone()), issuer, host: self.clone() }
    }
}

/// A number that only grows.
#[derive(Debug)]
pub struct Revision(AtomicI64);

impl Revision {
    /// Begins at a number.
    #[must_use]
    pub fn at(number: i64) -> Self {
        Self(AtomicI64::new(number))
    }

    /// The number.
    pub fn seen(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }

    /// Moves it on.
    pub fn advance(&self, number: i64) {
        self.0.fetch_max(number, Ordering::SeqCst);
    }
}

impl Process {
    /// The time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Does work that waits for the database, as long as that answers.
    ///
    /// # Errors
    /// Why it does not answer; what of the work has happened is unknown then.
    pub async fn while_database_answers<T>(&self, work: impl Future<Output = T>) -> Result<T, Error> {
        Ok(self.database.while_it_answers(work).await?)
    }

    /// A new row's identifier.
    #[must_use]
    pub fn id(&self) -> String {
        self.rng.id(self.now())
    }
}

/// One issuer as last loaded. It never changes: what changes is loaded anew.
#[derive(Debug)]
pub struct Issuer {
    /// Our key of it in the database: [`DEFAULT_ISSUER`], or what its path says.
    pub id: Arc<str>,
    /// Its identifier.
    pub url: IssuerUrl,
    /// What it calls itself on pages.
    pub name: String,
    /// The colour of its pages.
    pub colour: Option<Colour>,
    /// SHA-256 of its logo. The picture itself is read when it is asked for: thousands of them would fill the memory.
    pub logo_hash: Option<String>,
    /// What services know it by: the URL of its Client ID Metadata Document.
    pub client_id: ClientId,
    /// That document, judged and ready to serve.
    pub cimd: Arc<str>,
    /// SHA-256 of its administrator's token.
    pub admin_token_hash: String,
    /// Whether a client of it cannot prove who it is.
    pub has_public_client: bool,
    /// Its keys.
    pub ring: Keyring,
    /// When they change next by themselves.
    pub next_key_change: Option<Timestamp>,
    /// When one of them was revoked last.
    pub key_revoked_at: Option<Timestamp>,
}

/// One issuer at work: what every flow takes. Cheap to clone, meant for one request: a longer-lived one sees old keys.
#[derive(Clone)]
pub struct App {
    /// The issuer.
    pub issuer: Arc<Issuer>,
    /// Its rows, and no others.
    pub store: Store,
    /// The process.
    pub host: Host,
}

impl Deref for App {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.host
    }
}

/// A client and its keys, parsed once.
#[derive(Debug)]
pub struct Registered {
    /// The client.
    pub client: Arc<Client>,
    /// Its keys.
    pub jwks: Jwks,
}

//! The one handle: everything a flow needs, cheap to clone.

use std::collections::HashMap;
use std::hash::Hash;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use ipnet::IpNet;
use tokio::sync::{Notify, watch};

use crate::clock::Clock;
use crate::domain::claims::IdJag;
use crate::domain::client::Client;
use crate::domain::ids::Issuer;
use crate::flow::passwords::Hashing;
use crate::jose::{Jwks, Keyring, SealingKey};
use crate::net::Net;
use crate::rng::Rng;
use crate::store::Store;

/// The server's state.
#[derive(Clone)]
pub struct App(Arc<Inner>);

impl Deref for App {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

/// What an [`App`] holds.
pub struct Inner {
    /// Who we are.
    pub issuer: Issuer,
    /// Our key of that issuer in the database.
    pub issuer_id: Arc<str>,
    /// What we call ourselves on pages.
    pub product: String,
    /// Our own Client ID Metadata Document, judged and ready to serve.
    pub cimd: Arc<str>,
    /// SHA-256 of the administrator's token.
    pub admin_token_hash: String,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The rows.
    pub store: Store,
    /// The way out.
    pub net: Net,
    /// The time.
    pub clock: Clock,
    /// The randomness.
    pub rng: Rng,
    /// Opens signing keys.
    pub sealing: SealingKey,
    /// Rung when a notice is owed.
    pub owed: Notify,
    /// Where passwords are hashed.
    pub hashing: Hashing,
    /// False until the plain passwords of the configuration are hashed; sign-ins wait for that.
    pub passwords_ready: watch::Sender<bool>,
    /// Registered clients.
    pub clients: Cache<String, Arc<Registered>>,
    pub(crate) ring: RwLock<Arc<Keyring>>,
}

/// A client and its keys, parsed once.
#[derive(Debug)]
pub struct Registered {
    /// The client.
    pub client: Arc<Client>,
    /// Its keys.
    pub jwks: Jwks,
}

impl App {
    /// Wraps the parts.
    #[must_use]
    pub fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    /// Seconds since the epoch.
    #[must_use]
    pub fn now(&self) -> i64 {
        self.clock.now()
    }

    /// A new row's identifier.
    #[must_use]
    pub fn id(&self) -> String {
        self.rng.id(self.now())
    }

    /// The keys as last loaded.
    #[must_use]
    pub fn keyring(&self) -> Arc<Keyring> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The URL of our Client ID Metadata Document.
    #[must_use]
    pub fn cimd_url(&self) -> String {
        self.issuer.at("/agent-auth.json")
    }

    /// Signs an assertion, and looks at what came out before it leaves (SPIRE's habit): a token that does not say what was decided is a
    /// fault, never a token.
    ///
    /// # Errors
    /// A fault of ours.
    pub fn sign_assertion(&self, ring: &Keyring, claims: &IdJag) -> Result<String, crate::error::Error> {
        use base64::Engine as _;
        let token = ring.active.sign(crate::domain::claims::ID_JAG, claims)?;
        let payload =
            token.split('.').nth(1).and_then(|p| base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(p).ok());
        let signed: Option<IdJag> = payload.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        match signed {
            Some(signed) if signed == *claims => {
                signed.check(self.issuer.as_str(), self.now()).map_err(crate::error::Error::invariant)?;
                Ok(token)
            }
            _ => Err(crate::error::Error::invariant("a signed assertion says what was decided")),
        }
    }
}

/// A small cache of what was read: forgotten when any of its kind is written here, and after a few seconds because replicas write too.
/// It may be stale; whatever it says is compared again where it matters.
pub struct Cache<K, V> {
    held: Mutex<Held<K, V>>,
    /// Seconds an entry may be used.
    lifetime: i64,
}

struct Held<K, V> {
    changes: u64,
    entries: HashMap<K, (V, i64)>,
}

/// Most entries of a cache.
const MAX_ENTRIES: usize = 10_000;

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    /// An empty cache whose entries may be used for `lifetime` seconds.
    #[must_use]
    pub fn new(lifetime: i64) -> Self {
        Self { held: Mutex::new(Held { changes: 0, entries: HashMap::new() }), lifetime }
    }

    /// What was put in while the store counted `changes`.
    pub fn get(&self, key: &K, changes: u64, now: i64) -> Option<V> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let (value, at) = held.entries.get(key).filter(|_| held.changes == changes)?;
        (now - at < self.lifetime).then(|| value.clone())
    }

    /// Keeps what was read after the store's count was `changes`.
    pub fn put(&self, key: K, value: V, changes: u64, now: i64) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.changes > changes {
            return;
        }
        if held.changes < changes || held.entries.len() >= MAX_ENTRIES {
            held.entries.clear();
        }
        held.changes = changes;
        held.entries.insert(key, (value, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_forgets() {
        let cache = Cache::new(2);
        cache.put("k", 1, 7, 100);
        assert_eq!(cache.get(&"k", 7, 101), Some(1));
        assert_eq!(cache.get(&"k", 7, 102), None, "too old");
        assert_eq!(cache.get(&"k", 8, 101), None, "something was written");
        cache.put("k", 2, 8, 101);
        cache.put("k", 3, 7, 101);
        assert_eq!(cache.get(&"k", 8, 101), Some(2), "what was read before it was written is not kept after");
    }
}

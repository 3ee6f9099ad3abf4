//! The sealing keys of a process, which change while it runs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::domain::ids::SealingKeyId;
use crate::jose::{Device, SealingKey, SealingKeys};

/// Most issuers with keys that are remembered as not opening: one is enough to say so.
const MAX_UNOPENED: usize = 100;

/// Where a sealing key came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// This file.
    File(PathBuf),
    /// A command of the configuration, under this name.
    Command(&'static str),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Command(name) => f.write_str(name),
        }
    }
}

/// A sealing key, and where it came from.
#[derive(Clone, Debug)]
pub struct Placed {
    /// The key.
    pub key: Arc<SealingKey>,
    /// Its place.
    pub place: Place,
}

/// The sealing keys that an operator gives.
#[derive(Clone, Debug)]
pub struct Given {
    /// Where its files are.
    pub folder: PathBuf,
    /// The one that is there without fail.
    pub main: Placed,
    /// The one that is to follow it, or has just done so.
    pub next: Option<Placed>,
    /// Those of before that were kept.
    pub old: Vec<Placed>,
    /// Where signing keys are made and sign.
    pub device: Option<Device>,
}

impl Given {
    /// All of them, as a ring.
    #[must_use]
    pub fn keys(&self) -> SealingKeys {
        let others = self.next.iter().chain(&self.old).map(|placed| placed.key.clone());
        SealingKeys::new(self.main.key.clone(), others).with_device(self.device.clone())
    }
}

/// The sealing keys of a process.
#[derive(Debug)]
pub struct Sealing {
    held: RwLock<Held>,
    unopened: Mutex<BTreeMap<String, String>>,
    trouble: Mutex<Option<String>>,
}

#[derive(Debug)]
struct Held {
    given: Arc<Given>,
    keys: Arc<SealingKeys>,
    /// What the database seals by, where that is none of them.
    missing: Option<SealingKeyId>,
}

impl Held {
    fn new(given: Given, named: &SealingKeyId) -> Self {
        let keys = given.keys();
        let led = keys.led_by(named);
        let missing = led.is_none().then(|| named.clone());
        Self { given: Arc::new(given), keys: Arc::new(led.unwrap_or(keys)), missing }
    }
}

impl Sealing {
    /// What is given; the database seals by the one of that name.
    #[must_use]
    pub fn new(given: Given, named: &SealingKeyId) -> Self {
        Self { held: RwLock::new(Held::new(given, named)), unopened: Mutex::default(), trouble: Mutex::default() }
    }

    /// The keys as they are now; the first of them is what the database seals by, if that is here.
    #[must_use]
    pub fn keys(&self) -> Arc<SealingKeys> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).keys.clone()
    }

    /// What is given.
    #[must_use]
    pub fn given(&self) -> Arc<Given> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).given.clone()
    }

    /// Goes on with others, or with another that the database seals by.
    pub fn replace(&self, given: Given, named: &SealingKeyId) {
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = Held::new(given, named);
    }

    /// What the database seals by, where this process has not got that.
    #[must_use]
    pub fn missing(&self) -> Option<SealingKeyId> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).missing.clone()
    }

    /// Remembers what of an issuer does not open; none: all does.
    pub fn opened(&self, issuer_id: &str, unopened: Option<&str>) {
        let mut all = self.unopened.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(issuer_id);
        if let Some(what) = unopened
            && all.len() < MAX_UNOPENED
        {
            all.insert(issuer_id.to_owned(), what.to_owned());
        }
    }

    /// The first of what did not open when it was last tried.
    #[must_use]
    pub fn unopened(&self) -> Option<String> {
        self.unopened.lock().unwrap_or_else(PoisonError::into_inner).values().next().cloned()
    }

    /// Whether there is trouble with a sealing key that is named.
    #[must_use]
    pub fn is_in_trouble(&self) -> bool {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Whether this trouble is another than the last, so that it is worth a line in the log.
    pub fn is_news(&self, trouble: Option<&str>) -> bool {
        let mut last = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let news = trouble.is_some() && last.as_deref() != trouble;
        *last = trouble.map(str::to_owned);
        news
    }
}

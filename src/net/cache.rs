//! The places in which [`super::Documents`] keeps what it fetched: one per URL and kind, bounded, the longest unused
//! going first. No I/O here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use url::Url;

use super::document::{Document, DocumentError, Limits};
use crate::domain::time::{Seconds, Timestamp};

/// What is kept of each kind of document; kinds are counted apart, so that one cannot push out another. Bytes are those
/// that were fetched: parsed, a hostile document takes some thirty times as many.
pub(super) const BOUNDS: Bounds = Bounds { documents: 1000, bytes: 4 * 1024 * 1024 };

/// Seconds between two forced fetches of one document. Whoever sends us an unknown `kid` would else decide how often we
/// call somebody's key set.
const REFETCH_AFTER: Seconds = Seconds(30);

pub(super) struct Cache {
    bounds: Bounds,
    pub(super) slots: HashMap<Key, Arc<Slot>>,
    /// Counts uses, so that the one longest ago is known even within a second.
    uses: u64,
}

#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub(super) documents: usize,
    pub(super) bytes: usize,
}

pub(super) type Key = (Limits, Url);
pub(super) type Outcome = Result<Arc<Document>, DocumentError>;

/// One document's place. Whoever fetches holds the gate; whoever waited at it takes the outcome that came meanwhile.
#[derive(Default)]
pub(super) struct Slot {
    pub(super) gate: tokio::sync::Mutex<()>,
    pub(super) state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    document: Option<Arc<Document>>,
    bytes: usize,
    used: u64,
    forced_at: Option<Timestamp>,
    /// How many fetches ended, and how the last one did: an error is told to those who waited, and to nobody after them.
    pub(super) fetches: u64,
    outcome: Option<Outcome>,
}

impl Cache {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { bounds, slots: HashMap::new(), uses: 0 }
    }

    /// The place of a document, made if there is none.
    pub(super) fn slot(&mut self, key: &Key) -> Arc<Slot> {
        self.uses += 1;
        let known = self.slots.get(key).cloned();
        let slot = known.unwrap_or_else(|| {
            let slot = Arc::<Slot>::default();
            self.slots.insert(key.clone(), slot.clone());
            self.make_room(key);
            slot
        });
        lock(&slot.state).used = self.uses;
        slot
    }

    /// Drops what was used longest ago until the newcomer's kind keeps its bounds. Places that hold nothing are counted
    /// by themselves: URLs that lead nowhere push no document out.
    pub(super) fn make_room(&mut self, newcomer: &Key) {
        for holding in [false, true] {
            while let Some(key) = self.surplus(newcomer, holding) {
                self.slots.remove(&key);
            }
        }
    }

    /// The next place to give up, if there is one too many. Never the newcomer: its caller is about to fill it.
    fn surplus(&self, newcomer: &Key, holding: bool) -> Option<Key> {
        let (mut documents, mut bytes, mut oldest) = (0, 0, None);
        for (key, slot) in self.slots.iter().filter(|(key, _)| key.0 == newcomer.0) {
            let state = lock(&slot.state);
            if state.document.is_some() != holding {
                continue;
            }
            documents += 1;
            bytes += state.bytes;
            if key != newcomer && oldest.is_none_or(|(used, _)| state.used < used) {
                oldest = Some((state.used, key));
            }
        }
        let within = documents <= self.bounds.documents && bytes <= self.bounds.bytes;
        if within { None } else { oldest.map(|(_, key)| key.clone()) }
    }
}

impl State {
    /// A clock that was set back does not make a document fresh for longer.
    pub(super) fn fresh(&self, now: Timestamp) -> Option<Arc<Document>> {
        self.document.clone().filter(|document| (document.fetched_at..document.fresh_until).contains(&now))
    }

    /// Takes the leave to force a fetch, if it is there.
    pub(super) fn force(&mut self, now: Timestamp) -> bool {
        let recent = |at: Timestamp| (at..at + REFETCH_AFTER).contains(&now);
        let free = !self.forced_at.is_some_and(recent);
        if free {
            self.forced_at = Some(now);
        }
        free
    }

    pub(super) fn since(&self, seen: u64) -> Option<Outcome> {
        if self.fetches == seen { None } else { self.outcome.clone() }
    }

    pub(super) fn settle(&mut self, fetched: Result<(Arc<Document>, usize), DocumentError>) -> Outcome {
        let outcome = fetched.map(|(document, bytes)| {
            (self.document, self.bytes) = (Some(document.clone()), bytes);
            document
        });
        self.fetches += 1;
        self.outcome = Some(outcome.clone());
        outcome
    }

    pub(super) fn forget(&mut self) {
        (self.document, self.bytes, self.outcome) = (None, 0, None);
    }
}

/// The fragment never reaches the server, so it makes no other document.
pub(super) fn key(url: &Url, limits: Limits) -> Key {
    let mut url = url.clone();
    url.set_fragment(None);
    (limits, url)
}

/// No code under these locks can leave their content half changed, so a panic elsewhere does not spoil them.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Bounded caches.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::time::{Seconds, Timestamp};

/// A cache of what was read: forgotten when any of its kind is written here, and after a few seconds because replicas write too.
/// It may be stale; whatever it says is compared again where it matters.
pub struct Cache<K, V> {
    held: Mutex<Held<K, V>>,
    /// How long an entry may be used.
    lifetime: Seconds,
}

struct Held<K, V> {
    changes: u64,
    entries: HashMap<K, (V, Timestamp)>,
}

/// Most entries of a cache.
const MAX_ENTRIES: usize = 10_000;

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    /// An empty cache whose entries may be used for a `lifetime`.
    #[must_use]
    pub fn new(lifetime: Seconds) -> Self {
        Self { held: Mutex::new(Held { changes: 0, entries: HashMap::new() }), lifetime }
    }

    /// What was put in while the store counted `changes`.
    pub fn get(&self, key: &K, changes: u64, now: Timestamp) -> Option<V> {
        let held = lock(&self.held);
        let (value, at) = held.entries.get(key).filter(|_| held.changes == changes)?;
        // A clock that was set back does not make it younger.
        (*at..*at + self.lifetime).contains(&now).then(|| value.clone())
    }

    /// Keeps what was read after the store's count was `changes`.
    pub fn put(&self, key: K, value: V, changes: u64, now: Timestamp) {
        let mut held = lock(&self.held);
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

/// Keeps what was used lately, without a list of uses: entries begin in the young half, and when that is full it becomes the old one,
/// whose unused entries are forgotten. At most twice `half` entries, every operation in constant time.
pub struct Recent<V> {
    halves: Mutex<Halves<V>>,
    half: usize,
}

struct Halves<V> {
    young: HashMap<String, V>,
    old: HashMap<String, V>,
}

impl<V: Clone> Recent<V> {
    /// An empty one.
    #[must_use]
    pub fn new(half: usize) -> Self {
        Self { halves: Mutex::new(Halves { young: HashMap::new(), old: HashMap::new() }), half }
    }

    /// What is kept under a key.
    pub fn get(&self, key: &str) -> Option<V> {
        let mut halves = lock(&self.halves);
        if let Some(value) = halves.young.get(key) {
            return Some(value.clone());
        }
        let value = halves.old.remove(key)?;
        halves.put(key.to_owned(), value.clone(), self.half);
        Some(value)
    }

    /// Keeps a value.
    pub fn put(&self, key: String, value: V) {
        lock(&self.halves).put(key, value, self.half);
    }

    /// Forgets a value.
    pub fn remove(&self, key: &str) {
        let mut halves = lock(&self.halves);
        halves.young.remove(key);
        halves.old.remove(key);
    }

    /// Forgets everything.
    pub fn clear(&self) {
        let mut halves = lock(&self.halves);
        halves.young.clear();
        halves.old.clear();
    }
}

impl<V> Halves<V> {
    fn put(&mut self, key: String, value: V, half: usize) {
        self.old.remove(&key);
        if self.young.len() >= half && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_forgets() {
        let cache = Cache::new(Seconds(2));
        cache.put("k", 1, 7, Timestamp(100));
        assert_eq!(cache.get(&"k", 7, Timestamp(101)), Some(1));
        assert_eq!(cache.get(&"k", 7, Timestamp(102)), None, "too old");
        assert_eq!(cache.get(&"k", 8, Timestamp(101)), None, "something was written");
        cache.put("k", 2, 8, Timestamp(101));
        cache.put("k", 3, 7, Timestamp(101));
        assert_eq!(
            cache.get(&"k", 8, Timestamp(101)),
            Some(2),
            "what was read before it was written is not kept after"
        );
    }

    #[test]
    fn what_was_used_lately_stays() {
        let recent = Recent::new(2);
        for key in ["a", "b", "c"] {
            recent.put(key.to_owned(), key.len());
        }
        assert!(recent.get("a").is_some(), "used again, so it is young");
        recent.put("d".to_owned(), 1);
        assert!(recent.get("b").is_none(), "not used since");
        assert!(recent.get("a").is_some() && recent.get("c").is_some());
        recent.remove("a");
        assert!(recent.get("a").is_none());
        recent.clear();
        assert!(recent.get("c").is_none());
    }
}

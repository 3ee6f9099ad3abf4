//! Who fetches our key sets and documents, counted in memory until the worker writes it down: no fetch waits for the database.

use std::collections::HashMap;
use std::mem;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::fetcher::Fetcher;
use crate::domain::ids::Kid;
use crate::domain::time::Timestamp;

/// Most that is remembered between two times of writing down; what comes beyond is not counted.
const MAX: usize = 10_000;

/// One document of an issuer, one fetcher.
type Key = (Arc<str>, Arc<str>, Fetcher);

/// How often somebody fetched a document.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Our key of the issuer.
    pub issuer_id: Arc<str>,
    /// Who it was.
    pub fetcher: Fetcher,
    /// The keys of the set; none for the document about ourselves.
    pub kids: Arc<[Kid]>,
    /// How often.
    pub count: i64,
    /// When for the last time.
    pub last_at: Timestamp,
}

/// What was fetched since it was last written down.
#[derive(Debug, Default)]
pub struct Fetches(Mutex<HashMap<Key, Fetched>>);

impl Fetches {
    /// Counts a fetch of the version of a document, whose keys are named where that version is new here.
    pub fn count(
        &self,
        (issuer_id, version): (&Arc<str>, &Arc<str>),
        (address, user_agent): (IpAddr, &str),
        kids: impl FnOnce() -> Arc<[Kid]>,
        now: Timestamp,
    ) {
        let key = (issuer_id.clone(), version.clone(), Fetcher::new(address, user_agent));
        let mut fetched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = fetched.get_mut(&key) {
            known.count += 1;
            known.last_at = known.last_at.max(now);
        } else if fetched.len() < MAX {
            let (issuer_id, _, fetcher) = key.clone();
            fetched.insert(key, Fetched { issuer_id, fetcher, kids: kids(), count: 1, last_at: now });
        }
    }

    /// Takes all of it.
    pub fn take(&self) -> Vec<Fetched> {
        let fetched = mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        fetched.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounded_and_counted() {
        let fetches = Fetches::default();
        let (issuer, version): (Arc<str>, Arc<str>) = ("default".into(), "1".into());
        let count = |n: u32| {
            let from = (IpAddr::from(n.to_be_bytes()), "curl");
            fetches.count((&issuer, &version), from, || ["1".into()].into(), Timestamp(i64::from(n)));
        };
        (0..10_002).for_each(count);
        count(7);
        count(10_001);
        let taken = fetches.take();
        assert_eq!(taken.len(), MAX);
        assert_eq!(taken.iter().filter(|fetched| fetched.count == 2).count(), 1);
        assert!(fetches.take().is_empty());
    }
}

//! Who fetches our key sets and documents, counted in memory until the worker writes it down: no fetch waits for the database.

use std::collections::HashMap;
use std::mem;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::fetcher::{Fetcher, MAX_USER_AGENTS};
use crate::domain::ids::Kid;
use crate::domain::time::Timestamp;

/// Most that is remembered between two times of writing down; what comes beyond is not counted.
const MAX: usize = 4000;

/// An issuer, and an address as a fetcher bears it.
type Key = (Arc<str>, Box<str>);

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
pub struct Fetches(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    /// By version of the document, a few for each address.
    by_address: HashMap<Key, Vec<(Arc<str>, Fetched)>>,
    entries: usize,
}

impl Fetches {
    /// Counts a fetch of the version of a document, whose keys are named where that version is new here.
    pub fn count(
        &self,
        (issuer_id, version): (&Arc<str>, &Arc<str>),
        (address, user_agent): (IpAddr, &str),
        kids: impl FnOnce() -> Arc<[Kid]>,
        now: Timestamp,
    ) {
        let mut fetcher = Fetcher::new(address, user_agent);
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Held { by_address, entries } = &mut *held;
        let key = (issuer_id.clone(), fetcher.address.clone());
        if *entries >= MAX && !by_address.contains_key(&key) {
            return;
        }
        let here = by_address.entry(key).or_default();
        let find = |here: &[(Arc<str>, Fetched)], fetcher: &Fetcher| {
            here.iter().position(|(known, fetched)| known == version && fetched.fetcher == *fetcher)
        };
        let mut found = find(here, &fetcher);
        if found.is_none() && here.iter().filter(|(known, _)| known == version).count() >= MAX_USER_AGENTS {
            fetcher = fetcher.others();
            found = find(here, &fetcher);
        }
        if let Some(at) = found {
            let known = &mut here[at].1;
            known.count += 1;
            known.last_at = known.last_at.max(now);
        } else if *entries < MAX {
            let fetched = Fetched { issuer_id: issuer_id.clone(), fetcher, kids: kids(), count: 1, last_at: now };
            here.push((version.clone(), fetched));
            *entries += 1;
        }
    }

    /// Takes all of it.
    pub fn take(&self) -> Vec<Fetched> {
        let held = mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        held.by_address.into_values().flatten().map(|(_, fetched)| fetched).collect()
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
        (0..4002).for_each(count);
        count(7);
        count(4001);
        let taken = fetches.take();
        assert_eq!(taken.len(), MAX);
        assert_eq!(taken.iter().filter(|fetched| fetched.count == 2).count(), 1);
        assert!(fetches.take().is_empty());
    }

    #[test]
    fn one_address_does_not_fill_it_by_calling_itself_many_things() {
        let fetches = Fetches::default();
        let (issuer, version): (Arc<str>, Arc<str>) = ("default".into(), "1".into());
        for n in 0..100 {
            let agent = format!("agent {n}");
            let from = (IpAddr::from([127, 0, 0, 1]), agent.as_str());
            fetches.count((&issuer, &version), from, || ["1".into()].into(), Timestamp(n));
        }
        let taken = fetches.take();
        assert_eq!(taken.len(), MAX_USER_AGENTS + 1);
        let others = taken.iter().find(|fetched| &*fetched.fetcher.user_agent == "(others)").unwrap();
        assert_eq!((others.count, others.last_at), (92, Timestamp(99)));
    }
}

//! Turns at something that takes a while and that other people cause: so many at a time altogether, and so many for each of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Turns; cheap to clone, all clones count together.
#[derive(Clone, Debug)]
pub struct Turns(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    most: usize,
    each: usize,
    taken: Mutex<HashMap<String, usize>>,
}

/// A turn, over when it is dropped.
#[derive(Debug)]
pub struct Turn {
    turns: Turns,
    who: String,
}

impl Turns {
    /// `most` altogether, `each` for one.
    #[must_use]
    pub fn new(most: usize, each: usize) -> Self {
        Self(Arc::new(Inner { most, each, taken: Mutex::default() }))
    }

    /// A turn for somebody, if there is one.
    pub fn take(&self, who: &str) -> Option<Turn> {
        let mut taken = lock(&self.0.taken);
        let all: usize = taken.values().sum();
        let own = taken.get(who).copied().unwrap_or_default();
        if all >= self.0.most || own >= self.0.each {
            return None;
        }
        taken.insert(who.to_owned(), own + 1);
        Some(Turn { turns: self.clone(), who: who.to_owned() })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut taken = lock(&self.turns.0.taken);
        match taken.get_mut(&self.who) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(taken.remove(&self.who)),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_all_turns() {
        let turns = Turns::new(3, 2);
        let (first, _second) = (turns.take("a").unwrap(), turns.take("a").unwrap());
        assert!(turns.take("a").is_none(), "each has so many");
        let third = turns.take("b").unwrap();
        assert!(turns.take("c").is_none(), "and so have all");
        drop(third);
        let _third = turns.take("c").unwrap();
        drop(first);
        let _again = turns.take("a").unwrap();
        assert!(turns.take("b").is_none());
    }
}

//! Every request that a harness received, so that a test can see who fetched what, and when.

use std::collections::VecDeque;

use serde::Serialize;

use crate::domain::time::Timestamp;

/// Most requests that are kept; the oldest go first.
const MAX_KEPT: usize = 10_000;
/// Most characters of a path or a user agent that are kept.
const MAX_TEXT: usize = 500;

/// A request.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Entry {
    /// Its number, from one on; a ledger that is cleared counts on.
    pub(super) n: u64,
    pub(super) at: Timestamp,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) user_agent: Option<String>,
    pub(super) status: u16,
    /// Of a key set: the keys in it, as it went out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) kids: Vec<String>,
    /// What was wrong with the answer on purpose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fault: Option<&'static str>,
}

#[derive(Default)]
pub(super) struct Ledger {
    entries: VecDeque<Entry>,
    count: u64,
}

impl Ledger {
    pub(super) fn add(&mut self, entry: Entry) {
        self.count += 1;
        if self.entries.len() == MAX_KEPT {
            self.entries.pop_front();
        }
        self.entries.push_back(Entry { n: self.count, ..entry });
    }

    pub(super) fn entries(&self) -> Vec<Entry> {
        self.entries.iter().cloned().collect()
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }
}

/// What is kept of a text of others.
pub(super) fn kept(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}

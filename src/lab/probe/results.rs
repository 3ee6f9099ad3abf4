//! Verdicts as they come.

use std::collections::BTreeMap;
use std::time::Duration;

use super::check::{Check, Selection, all};
use super::report::{Checked, Verdict};
use crate::lab::flaws::Dialect;

/// How far it has come.
pub struct Progress<'a> {
    /// Checks that have a verdict.
    pub done: usize,
    /// Checks that are wanted.
    pub of: usize,
    /// The newest one; nothing while something is waited for.
    pub checked: Option<&'a Checked>,
    /// What is going on.
    pub doing: &'a str,
    /// For how long that waits, where it does nothing else.
    pub waits: Option<Duration>,
}

/// Verdicts so far.
pub(super) struct Results {
    pub(super) dialect: Option<Dialect>,
    done: BTreeMap<String, Checked>,
    of: usize,
    tell: Tell,
    pub(super) remarks: Vec<String>,
}

/// Who is told of each verdict.
pub type Tell = Box<dyn Fn(&Progress<'_>) + Send + Sync>;

impl Results {
    pub(super) fn new(of: usize, tell: Tell) -> Self {
        Self { dialect: None, done: BTreeMap::new(), of, tell, remarks: Vec::new() }
    }

    /// Every check in its place, also what was not reached, for which `why` is the reason.
    pub(super) fn finish(&mut self, selection: &Selection, why: &str) -> Vec<Checked> {
        let place = |check: &Check| {
            let why = if selection.has(check) { why } else { "it was left out on request" };
            let done = self.done.remove(&check.id());
            done.unwrap_or_else(|| check.checked(self.dialect, Verdict::Skipped, why))
        };
        all().iter().map(place).collect()
    }

    /// Keeps a verdict, the first one of a check.
    pub(super) fn keep(&mut self, checked: Checked) {
        if self.done.contains_key(&checked.id) {
            return;
        }
        let done = self.done.len() + 1;
        (self.tell)(&Progress { done, of: self.of, checked: Some(&checked), doing: &checked.name, waits: None });
        self.done.insert(checked.id.clone(), checked);
    }

    pub(super) fn say(&self, doing: &str) {
        (self.tell)(&Progress { done: self.done.len(), of: self.of, checked: None, doing, waits: None });
    }

    pub(super) fn wait(&self, doing: &str, span: Duration) {
        (self.tell)(&Progress { done: self.done.len(), of: self.of, checked: None, doing, waits: Some(span) });
    }

    /// Takes back what a block showed whose control came to nothing.
    pub(super) fn void(&mut self, ids: &[String], why: &str) {
        for id in ids {
            if let Some(checked) = self.done.get_mut(id).filter(|checked| checked.verdict == Verdict::Pass) {
                checked.verdict = Verdict::Void;
                checked.reason = format!("{why}; before that: {}", checked.reason);
            }
        }
    }
}

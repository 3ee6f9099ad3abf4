//! What one connection is at, in words that are read and written without a lock.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a connection is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(super) enum Phase {
    /// There is none, or it is being ended.
    Ended,
    /// Between two requests, or before the first.
    Idle,
    /// The head of a request has begun.
    Head,
    /// The rest of a request's body is waited for.
    Body,
    /// A request is being worked on.
    Working,
    /// The answer is on its way.
    Answering,
    /// All is said; the peer may close.
    Farewell,
}

const PHASES: [Phase; 7] =
    [Phase::Ended, Phase::Idle, Phase::Head, Phase::Body, Phase::Working, Phase::Answering, Phase::Farewell];

/// A phase and since when, in microseconds, in one word.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct State(pub(super) u64);

impl State {
    pub(super) fn new(phase: Phase, since: u64) -> Self {
        Self(since << 3 | phase as u64)
    }

    pub(super) fn phase(self) -> Phase {
        PHASES.get((self.0 & 7) as usize).copied().unwrap_or(Phase::Ended)
    }

    pub(super) fn since(self) -> u64 {
        self.0 >> 3
    }
}

#[derive(Default)]
pub(super) struct Slot {
    pub(super) state: AtomicU64,
    /// When the request began whose answer is not through yet.
    pub(super) began: AtomicU64,
    /// Since when the peer has taken nothing of the answer; 0: it does.
    pub(super) blocked: AtomicU64,
}

impl Slot {
    pub(super) fn state(&self) -> State {
        State(self.state.load(Ordering::Acquire))
    }

    /// Since when it has been waiting for its peer, if it has.
    pub(super) fn waiting(&self, state: State) -> Option<u64> {
        match state.phase() {
            Phase::Idle | Phase::Farewell | Phase::Head | Phase::Body => Some(state.since()),
            Phase::Answering => Some(self.blocked.load(Ordering::Relaxed)).filter(|since| *since > 0),
            Phase::Working | Phase::Ended => None,
        }
    }
}

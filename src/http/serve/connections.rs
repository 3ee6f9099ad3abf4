//! The connections of a server: what each is at and since when. From here the ones that take too long are ended, and the ones that have
//! waited longest where another needs the room.
//!
//! A connection writes down what it is at without a lock, in a slot that lies beside the others, so that looking at four thousand of them
//! takes microseconds.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::limits::Limits;

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
struct State(u64);

impl State {
    fn new(phase: Phase, since: u64) -> Self {
        Self(since << 3 | phase as u64)
    }

    fn phase(self) -> Phase {
        PHASES.get((self.0 & 7) as usize).copied().unwrap_or(Phase::Ended)
    }

    fn since(self) -> u64 {
        self.0 >> 3
    }
}

#[derive(Default)]
struct Slot {
    state: AtomicU64,
    /// When the request began whose answer is not through yet.
    began: AtomicU64,
    /// Since when the peer has taken nothing of the answer; 0: it does.
    blocked: AtomicU64,
}

impl Slot {
    fn state(&self) -> State {
        State(self.state.load(Ordering::Acquire))
    }

    /// Since when it has been waiting for its peer, if it has; the idle ones come first.
    fn waiting(&self, state: State) -> Option<(bool, u64)> {
        match state.phase() {
            Phase::Idle | Phase::Farewell => Some((false, state.since())),
            Phase::Head | Phase::Body => Some((true, state.since())),
            Phase::Answering => match self.blocked.load(Ordering::Relaxed) {
                0 => None,
                since => Some((true, since)),
            },
            Phase::Working | Phase::Ended => None,
        }
    }
}

/// All connections of a server.
pub(super) struct Connections {
    began: Instant,
    slots: Box<[Slot]>,
    held: Mutex<Held>,
    per_address: usize,
    stopping: AtomicBool,
    /// Rung when a slot is free again.
    pub(super) freed: Notify,
}

struct Held {
    free: Vec<usize>,
    taken: Vec<Taken>,
    /// Slots whose connection was ended and that are not free yet.
    ending: usize,
    by_owner: HashMap<IpAddr, usize>,
}

#[derive(Default)]
struct Taken {
    owner: Option<IpAddr>,
    task: Option<AbortHandle>,
    ended: bool,
}

impl Held {
    /// The connection no longer counts as its owner's.
    fn disown(&mut self, slot: usize) {
        if let Some(owner) = self.taken[slot].owner.take()
            && let Some(count) = self.by_owner.get_mut(&owner)
        {
            *count -= 1;
            if *count == 0 {
                self.by_owner.remove(&owner);
            }
        }
    }
}

impl Connections {
    pub(super) fn new(limits: &Limits) -> Arc<Self> {
        let all = 0..limits.connections;
        let taken = all.clone().map(|_| Taken::default()).collect();
        Arc::new(Self {
            began: Instant::now(),
            slots: all.clone().map(|_| Slot::default()).collect(),
            held: Mutex::new(Held { free: all.rev().collect(), taken, ending: 0, by_owner: HashMap::new() }),
            per_address: limits.per_address,
            stopping: AtomicBool::new(false),
            freed: Notify::new(),
        })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Microseconds since the start, and never 0.
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX) + 1
    }

    pub(super) fn has_room(&self) -> bool {
        !self.held().free.is_empty()
    }

    /// A slot for a connection of an owner. `None` when the owner has too many, all of them at work.
    pub(super) fn enter(self: &Arc<Self>, owner: Option<IpAddr>) -> Option<Arc<Place>> {
        let mut held = self.held();
        if let Some(owner) = owner
            && held.by_owner.get(&owner).is_some_and(|count| *count >= self.per_address)
            && !self.end_longest_waiting(&mut held, Some(owner))
        {
            return None;
        }
        let slot = held.free.pop()?;
        held.taken[slot] = Taken { owner, ..Taken::default() };
        if let Some(owner) = owner {
            *held.by_owner.entry(owner).or_default() += 1;
        }
        // One makes room before the next one comes.
        if held.free.len() + held.ending < self.slots.len().div_ceil(64) {
            self.end_longest_waiting(&mut held, None);
        }
        let state = &self.slots[slot];
        state.blocked.store(0, Ordering::Relaxed);
        state.state.store(State::new(Phase::Idle, self.now()).0, Ordering::Release);
        Some(Arc::new(Place { connections: self.clone(), slot, answered: AtomicBool::new(false) }))
    }

    /// Notes by which task a connection can be ended.
    pub(super) fn started(&self, place: usize, task: AbortHandle) {
        self.held().taken[place].task = Some(task);
    }

    fn leave(&self, slot: usize) {
        let mut held = self.held();
        self.slots[slot].state.store(State::new(Phase::Ended, 0).0, Ordering::Release);
        held.disown(slot);
        if std::mem::take(&mut held.taken[slot]).ended {
            held.ending -= 1;
        }
        held.free.push(slot);
        self.freed.notify_one();
    }

    /// Ends the connection that has been idle longest, else the one that has waited longest for its peer in the middle of something.
    /// `false` when each is being worked for.
    pub(super) fn make_room(&self) -> bool {
        self.end_longest_waiting(&mut self.held(), None)
    }

    fn end_longest_waiting(&self, held: &mut Held, owner: Option<IpAddr>) -> bool {
        loop {
            let longest = held.taken.iter().zip(&self.slots).enumerate().filter_map(|(n, (taken, slot))| {
                let state = slot.state();
                let waiting = slot.waiting(state).filter(|_| owner.is_none() || taken.owner == owner)?;
                (taken.task.is_some() && !taken.ended).then_some((waiting, n, state))
            });
            let Some((_, slot, state)) = longest.min() else { return false };
            if self.end(held, slot, state) {
                return true;
            }
        }
    }

    /// Ends a connection, unless it has just gone on to something else.
    fn end(&self, held: &mut Held, slot: usize, state: State) -> bool {
        let ended = State::new(Phase::Ended, 0).0;
        let word = &self.slots[slot].state;
        let still = word.compare_exchange(state.0, ended, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if still && let Some(task) = held.taken[slot].task.take() {
            task.abort();
            held.taken[slot].ended = true;
            held.ending += 1;
            held.disown(slot);
        }
        still
    }

    /// Ends what has taken too long.
    pub(super) fn end_the_late(&self, limits: &Limits) {
        let now = self.now();
        let over = |since: u64, limit: Duration| u128::from(now.saturating_sub(since)) >= limit.as_micros();
        let idle = if self.is_stopping() { limits.idle.min(limits.last_request) } else { limits.idle };
        let mut held = self.held();
        for (n, slot) in self.slots.iter().enumerate() {
            let state = slot.state();
            let since = state.since();
            let age = || over(slot.began.load(Ordering::Relaxed), limits.exchange);
            let late = match state.phase() {
                Phase::Ended => false,
                Phase::Idle => over(since, idle),
                Phase::Head => over(since, limits.head),
                Phase::Body | Phase::Working => age(),
                Phase::Answering => {
                    let blocked = slot.blocked.load(Ordering::Relaxed);
                    (blocked > 0 && over(blocked, limits.stalled)) || age()
                }
                Phase::Farewell => over(since, limits.farewell),
            };
            if late {
                self.end(&mut held, n, state);
            }
        }
    }

    /// From now on each answer is its connection's last.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        let now = self.now();
        for slot in &self.slots {
            let state = slot.state();
            if state.phase() == Phase::Idle {
                // Whoever has been idle for long may still ask once more.
                let fresh = State::new(Phase::Idle, now).0;
                let _ = slot.state.compare_exchange(state.0, fresh, Ordering::AcqRel, Ordering::Acquire);
            }
        }
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}

/// A connection's slot, given back when dropped.
pub(super) struct Place {
    connections: Arc<Connections>,
    slot: usize,
    /// The whole answer was handed over to be written.
    answered: AtomicBool,
}

impl Place {
    pub(super) fn number(&self) -> usize {
        self.slot
    }

    fn slot(&self) -> &Slot {
        &self.connections.slots[self.slot]
    }

    fn phase(&self) -> Phase {
        self.slot().state().phase()
    }

    fn set(&self, phase: Phase) {
        self.slot().state.store(State::new(phase, self.connections.now()).0, Ordering::Release);
    }

    /// Bytes came in.
    pub(super) fn received(&self) {
        if self.phase() == Phase::Idle {
            self.set(Phase::Head);
        }
    }

    /// A request's head is whole.
    pub(super) fn asked(&self) {
        let now = self.connections.now();
        self.answered.store(false, Ordering::Relaxed);
        self.slot().began.store(now, Ordering::Relaxed);
        self.slot().state.store(State::new(Phase::Working, now).0, Ordering::Release);
    }

    /// More of a body is needed than is there.
    pub(super) fn wants_more(&self) {
        if self.phase() == Phase::Working {
            self.set(Phase::Body);
        }
    }

    /// There is more of it.
    pub(super) fn has_more(&self) {
        if self.phase() == Phase::Body {
            self.set(Phase::Working);
        }
    }

    /// The answer is there. Says whether it has to be the last.
    pub(super) fn answers(&self) -> bool {
        self.set(Phase::Answering);
        self.connections.is_stopping()
    }

    /// All of the answer was handed over to be written.
    pub(super) fn answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    /// The peer takes nothing.
    pub(super) fn blocked(&self) {
        let now = self.connections.now();
        let _ = self.slot().blocked.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The peer took something.
    pub(super) fn unblocked(&self) {
        self.slot().blocked.store(0, Ordering::Relaxed);
    }

    /// Everything that was handed over is written.
    pub(super) fn flushed(&self) {
        if self.phase() == Phase::Answering && self.answered.load(Ordering::Relaxed) {
            self.set(Phase::Idle);
        }
    }

    /// There will be no further request.
    pub(super) fn farewell(&self) {
        self.set(Phase::Farewell);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.leave(self.slot);
    }
}

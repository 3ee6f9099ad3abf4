//! The connections of a server: what each is at and since when. From here the ones that take too long are ended, and the ones that have
//! waited longest where another needs the room.
//!
//! A connection writes down what it is at without a lock, in a slot that lies beside the others, so that looking at four thousand of them
//! takes microseconds.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::limits::Limits;
use super::slot::{Phase, Slot, State};

/// All connections of a server.
pub(super) struct Connections {
    began: Instant,
    slots: Box<[Slot]>,
    held: Mutex<Held>,
    per_address: usize,
    /// In microseconds.
    young: u64,
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

/// Who is not ended to make room.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spared {
    Nobody,
    TheYoung,
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
            young: u64::try_from(limits.young.as_micros()).unwrap_or(u64::MAX),
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
            && !self.end_longest_waiting(&mut held, Some(owner), Spared::Nobody)
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
            self.end_longest_waiting(&mut held, None, Spared::Nobody);
        }
        let state = &self.slots[slot];
        state.blocked.store(0, Ordering::Relaxed);
        state.state.store(State::new(Phase::Idle, self.now()).0, Ordering::Release);
        Some(Arc::new(Place {
            connections: self.clone(),
            slot,
            answered: AtomicBool::new(false),
            waited: AtomicBool::new(true),
        }))
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

    /// Ends the connection that has been idle longest, else the one that has waited longest for its peer in the middle of something, and
    /// of those that have not waited for long only where there are no others. `false` when each is being worked for.
    pub(super) fn make_room(&self) -> bool {
        self.end_longest_waiting(&mut self.held(), None, Spared::Nobody)
    }

    /// The same for somebody who may be about to come: no reason to end one that has only just come, and whose request is on its way.
    pub(super) fn make_room_early(&self) -> bool {
        self.end_longest_waiting(&mut self.held(), None, Spared::TheYoung)
    }

    fn end_longest_waiting(&self, held: &mut Held, owner: Option<IpAddr>, spared: Spared) -> bool {
        let young = self.now().saturating_sub(self.young);
        let rank = |phase, since: u64| match phase {
            _ if since > young => 2,
            Phase::Idle | Phase::Farewell => 0,
            _ => 1,
        };
        loop {
            let longest = held.taken.iter().zip(&self.slots).enumerate().filter_map(|(n, (taken, slot))| {
                let state = slot.state();
                let since = slot.waiting(state).filter(|_| owner.is_none() || taken.owner == owner)?;
                (taken.task.is_some() && !taken.ended).then(|| (rank(state.phase(), since), since, n, state))
            });
            let longest = longest.filter(|(rank, ..)| spared == Spared::Nobody || *rank < 2);
            let Some((_, _, slot, state)) = longest.min() else { return false };
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
    /// Nothing was there to be read since the last request.
    waited: AtomicBool,
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

    /// Nothing is there to be read.
    pub(super) fn waits(&self) {
        self.waited.store(true, Ordering::Relaxed);
    }

    /// A request's head is whole. Says whether it was sent without waiting for the answer to the one before.
    pub(super) fn asked(&self) -> bool {
        let now = self.connections.now();
        self.answered.store(false, Ordering::Relaxed);
        self.slot().began.store(now, Ordering::Relaxed);
        self.slot().state.store(State::new(Phase::Working, now).0, Ordering::Release);
        !self.waited.swap(false, Ordering::Relaxed)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What the connections of two owners are at, since how many milliseconds; in which order they make room.
    #[tokio::test]
    async fn who_makes_room_first() {
        const MS: u64 = 1000;
        let at = [
            (Phase::Idle, 10),
            (Phase::Head, 30_000),
            (Phase::Idle, 2000),
            (Phase::Working, 60_000),
            (Phase::Body, 5000),
            (Phase::Answering, 40_000),
            (Phase::Idle, 3000),
            (Phase::Head, 20),
            (Phase::Answering, 90_000),
        ];
        let order = |owner: Option<IpAddr>, spared| {
            let mut connections = Connections::new(&Limits { connections: 1000, ..Limits::default() });
            Arc::get_mut(&mut connections).unwrap().began -= Duration::from_mins(10);
            let now = connections.now();
            let owners = ["192.0.2.1", "192.0.2.2"].map(|ip| Some(ip.parse().unwrap()));
            let mut places = Vec::new();
            for (n, (phase, since)) in at.into_iter().enumerate() {
                let place = connections.enter(owners[n % 2]).unwrap();
                connections.started(place.number(), tokio::spawn(std::future::pending::<()>()).abort_handle());
                place.slot().state.store(State::new(phase, now - since * MS).0, Ordering::Release);
                places.push(place);
            }
            // The last one takes its answer.
            places[5].slot().blocked.store(now - 4000 * MS, Ordering::Relaxed);
            let mut order = Vec::new();
            while connections.end_longest_waiting(&mut connections.held(), owner, spared) {
                let gone = |n: &usize| places[*n].phase() == Phase::Ended && !order.contains(n);
                order.push((0..at.len()).find(gone).unwrap());
            }
            order
        };
        assert_eq!(
            order(None, Spared::Nobody),
            [6, 2, 1, 4, 5, 7, 0],
            "idle, then in the middle, then the young; none that is at work"
        );
        assert_eq!(order(None, Spared::TheYoung), [6, 2, 1, 4, 5], "nobody is there yet who needs the room");
        assert_eq!(order("192.0.2.2".parse().ok(), Spared::Nobody), [1, 5, 7]);
    }

    /// A proxy keeps connections for its next requests, and does not know yet that this server ends.
    #[tokio::test]
    async fn at_the_end_who_was_idle_for_long_may_still_ask() {
        let second = Duration::from_secs(1);
        let limits = Limits { idle: second * 3600, last_request: second * 30, ..Limits::default() };
        let mut connections = Connections::new(&limits);
        Arc::get_mut(&mut connections).unwrap().began -= second * 60;
        let place = connections.enter(None).unwrap();
        connections.started(place.number(), tokio::spawn(std::future::pending::<()>()).abort_handle());
        let idle_for_a_minute = || place.slot().state.store(State::new(Phase::Idle, 1).0, Ordering::Relaxed);
        idle_for_a_minute();
        connections.stop();
        connections.end_the_late(&limits);
        assert_eq!(place.phase(), Phase::Idle);
        idle_for_a_minute();
        connections.end_the_late(&limits);
        assert_eq!(place.phase(), Phase::Ended, "who has not asked after that is not waited for");
    }
}

//! Where notices wait for their answers, so that services that hang hold up nobody.
//!
//! A host is told from one of the places of the fast lane. Whoever has not answered after a moment is waited for in the slow lane, and the
//! place is free again. Where the slow lane is full, it goes on without whoever has waited there longest, if that is long enough. Hosts
//! that hung get no place in the fast lane: after a pause, which doubles each time, they are told from the slow one, of which they get half.

use std::collections::{HashMap, VecDeque};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, timeout};

/// Places of the fast lane.
const PLACES: usize = 192;
/// Places of the slow lane.
const SLOW_PLACES: usize = 256;
/// How long an answer is waited for in the fast lane.
const MOMENT: Duration = Duration::from_millis(100);
/// How long everybody may wait in the slow lane, whoever else comes.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between a host that hung and the next look at it: shorter than the plan of a notice, so that a host with only one waits no longer.
const PAUSES: (Duration, Duration) = (Duration::from_secs(4), Duration::from_mins(1));
/// Most hosts that are known to hang; of more it is found out anew each time.
const MAX_HUNG: usize = 4096;
/// After this long nothing is known of a host that nobody told anything any more.
const FORGET: Duration = Duration::from_mins(10);

/// The lanes of a worker.
#[derive(Debug)]
pub struct Lanes {
    fast: Arc<Semaphore>,
    slow: Mutex<Slow>,
    hung: Mutex<HashMap<String, Hung>>,
    room: Notify,
}

#[derive(Debug, Default)]
struct Slow {
    /// Who came first is in front.
    waiting: VecDeque<(u64, Instant, oneshot::Sender<()>)>,
    last: u64,
}

#[derive(Debug)]
struct Hung {
    again_at: Instant,
    pause: Duration,
}

/// A place for one host.
#[derive(Debug)]
pub struct Place {
    lanes: Option<Arc<Lanes>>,
    /// While it is in the fast lane.
    permit: Option<OwnedSemaphorePermit>,
}

impl Lanes {
    /// Empty ones.
    #[must_use]
    pub fn new() -> Arc<Self> {
        let fast = Arc::new(Semaphore::new(PLACES));
        Arc::new(Self { fast, slow: Mutex::default(), hung: Mutex::default(), room: Notify::new() })
    }

    /// Places of the fast lane that are free.
    pub fn free(&self) -> usize {
        self.fast.available_permits()
    }

    /// Waits until one becomes free because its host does not answer.
    pub async fn room(&self) {
        self.room.notified().await;
    }

    /// A place in the fast lane.
    pub fn enter(self: &Arc<Self>) -> Option<Place> {
        let permit = self.fast.clone().try_acquire_owned().ok()?;
        Some(Place { lanes: Some(self.clone()), permit: Some(permit) })
    }

    /// A place in the slow lane, for a host that hung.
    pub fn enter_slow(self: &Arc<Self>) -> Place {
        Place { lanes: Some(self.clone()), permit: None }
    }

    /// The hosts that are known to hang.
    pub fn hung(&self) -> Vec<String> {
        lock(&self.hung).keys().cloned().collect()
    }

    /// Those of them whose pause is over by `now`, whether or not anything is due for them, and how many there is room for.
    pub fn hung_to_try(&self, now: Instant) -> (Vec<String>, usize) {
        let mut hung = lock(&self.hung);
        hung.retain(|_, host| now < host.again_at + FORGET);
        let room = (SLOW_PLACES / 2).saturating_sub(lock(&self.slow).waiting.len());
        let over = hung.iter().filter(|(_, host)| host.again_at <= now);
        (over.map(|(name, _)| name.clone()).collect(), room)
    }

    /// A ticket to the slow lane; `None` where all who wait there came only just now.
    fn step_aside(self: &Arc<Self>, now: Instant) -> Option<(Ticket, oneshot::Receiver<()>)> {
        let mut slow = lock(&self.slow);
        if slow.waiting.len() >= SLOW_PLACES {
            slow.waiting.front().filter(|(_, since, _)| now.duration_since(*since) >= PATIENCE)?;
            let (.., out) = slow.waiting.pop_front()?;
            let _ = out.send(());
        }
        slow.last += 1;
        let (out, is_out) = oneshot::channel();
        let number = slow.last;
        slow.waiting.push_back((number, now, out));
        Some((Ticket { lanes: self.clone(), number }, is_out))
    }
}

/// Held by whoever waits in the slow lane.
struct Ticket {
    lanes: Arc<Lanes>,
    number: u64,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        lock(&self.lanes.slow).waiting.retain(|(number, ..)| *number != self.number);
    }
}

impl Place {
    /// Outside the lanes: for whoever tells one host after the other anyway.
    #[must_use]
    pub fn anywhere() -> Self {
        Self { lanes: None, permit: None }
    }

    /// Waits for an answer, wherever there is room for that. `None` when there is none left.
    pub async fn wait<T>(&mut self, answer: impl Future<Output = T>) -> Option<T> {
        let mut answer = pin!(answer);
        let Some(lanes) = &self.lanes else { return Some(answer.await) };
        let mut aside = if self.permit.is_some() { None } else { lanes.step_aside(Instant::now()) };
        let (_ticket, is_out) = loop {
            if let Some(aside) = aside {
                break aside;
            }
            if let Ok(answered) = timeout(MOMENT, answer.as_mut()).await {
                return Some(answered);
            }
            aside = lanes.step_aside(Instant::now());
        };
        if self.permit.take().is_some() {
            lanes.room.notify_one();
        }
        tokio::select! {
            biased;
            answered = answer => Some(answered),
            _ = is_out => None,
        }
    }

    /// Notes whether a host hung.
    pub fn note(&self, host: &str, hung: bool) {
        if let Some(lanes) = &self.lanes {
            lanes.note(host, hung, Instant::now());
        }
    }
}

impl Lanes {
    fn note(&self, host: &str, hung: bool, now: Instant) {
        let mut all = lock(&self.hung);
        if !hung {
            all.remove(host);
            return;
        }
        if all.len() >= MAX_HUNG && !all.contains_key(host) {
            return;
        }
        let (first, last) = PAUSES;
        let pause = all.get(host).map_or(first, |before| (before.pause * 2).min(last));
        all.insert(host.to_owned(), Hung { again_at: now + pause, pause });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    /// Starts to wait for somebody who never answers, from the fast lane.
    fn hang(lanes: &Arc<Lanes>) -> tokio::task::JoinHandle<Option<()>> {
        let mut place = lanes.enter().expect("there is a place");
        tokio::spawn(async move { place.wait(pending()).await })
    }

    #[tokio::test]
    async fn whoever_does_not_answer_gives_the_place_back() {
        let lanes = Lanes::new();
        let all: Vec<_> = (0..PLACES).map(|_| hang(&lanes)).collect();
        assert!(lanes.enter().is_none());
        while lanes.free() < PLACES {
            lanes.room().await;
        }
        assert!(all.iter().all(|task| !task.is_finished()), "they are waited for elsewhere");
        let answered = lanes.enter().unwrap().wait(ready(7)).await;
        assert_eq!((answered, lanes.free()), (Some(7), PLACES));
    }

    #[tokio::test]
    async fn a_full_slow_lane_goes_on_without_those_who_waited_longest() {
        let (lanes, begin) = (Lanes::new(), Instant::now());
        let came = |n: usize| begin + Duration::from_millis(u64::try_from(n).unwrap());
        let mut waiting: Vec<_> = (0..SLOW_PLACES).map(|n| lanes.step_aside(came(n)).unwrap()).collect();
        assert!(lanes.step_aside(begin + PATIENCE / 2).is_none(), "nobody is sent away who has just come");
        let late = lanes.step_aside(begin + PATIENCE).unwrap();
        assert!(waiting[0].1.try_recv().is_ok() && waiting[1].1.try_recv().is_err(), "the first one is");
        assert!(lanes.step_aside(begin + PATIENCE).is_none());
        drop(late);
        assert!(lanes.step_aside(begin + PATIENCE).is_some(), "whoever leaves makes room");
        let mut place = lanes.enter_slow();
        assert_eq!(place.wait(ready(7)).await, Some(7), "and who answers is heard without any");
    }

    #[tokio::test]
    async fn who_is_sent_away_hears_of_it() {
        let lanes = Lanes::new();
        let task = hang(&lanes);
        lanes.room().await;
        for _ in 1..SLOW_PLACES {
            std::mem::forget(lanes.step_aside(Instant::now()));
        }
        assert!(lanes.step_aside(Instant::now() + PATIENCE).is_some());
        assert_eq!(task.await.unwrap(), None);
    }

    #[test]
    fn hosts_that_hang_are_left_alone_for_a_while() {
        let lanes = Lanes::new();
        let mut now = Instant::now();
        for pause in [4, 8, 16, 32, 60, 60].map(Duration::from_secs) {
            lanes.note("a.example", true, now);
            assert_eq!(lanes.hung(), ["a.example"]);
            assert!(lanes.hung_to_try(now + pause.mul_f64(0.99)).0.is_empty(), "{pause:?}");
            now += pause;
            assert_eq!(lanes.hung_to_try(now).0, ["a.example"], "{pause:?}");
        }
        lanes.note("a.example", false, now);
        assert!(lanes.hung().is_empty());
        lanes.note("b.example", true, now);
        assert!(lanes.hung_to_try(now + PAUSES.0 + FORGET).0.is_empty(), "nobody told it anything since");
        assert!(lanes.hung().is_empty());
    }

    #[test]
    fn half_of_the_slow_lane_is_for_others() {
        let (lanes, now) = (Lanes::new(), Instant::now());
        for n in 0..SLOW_PLACES {
            lanes.note(&format!("{n}.example"), true, now);
        }
        let later = now + PAUSES.0;
        assert_eq!(lanes.hung_to_try(later).1, SLOW_PLACES / 2);
        let one = lanes.step_aside(now).unwrap();
        assert_eq!(lanes.hung_to_try(later).1, SLOW_PLACES / 2 - 1);
        drop(one);
        assert_eq!(lanes.hung_to_try(later).1, SLOW_PLACES / 2);
    }

    #[test]
    fn no_more_hosts_are_kept_than_there_is_room_for() {
        let (lanes, now) = (Lanes::new(), Instant::now());
        for n in 0..=MAX_HUNG {
            lanes.note(&format!("{n}.example"), true, now);
        }
        assert_eq!(lanes.hung().len(), MAX_HUNG);
    }
}

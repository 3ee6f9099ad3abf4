//! How often somebody may register (auth.md v0.1, "Rate limiting"; off unless asked for): from one address, looked at first, and for one user.
//! A sliding window, in memory.

use std::collections::{HashMap, VecDeque};
use std::str::FromStr;

use super::reply::Refusal;
use crate::domain::time::{Seconds, Timestamp};
use crate::lab::flaws::Dialect;

/// Most addresses and users that are counted. Beyond, those nobody has a place for are let in ("Fail open").
const MAX_COUNTED: usize = 10_000;

/// Most times in a window: each is remembered.
const MAX_TIMES: usize = 10_000;

/// So many times in so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    times: usize,
    window: Seconds,
}

/// Why a text is no rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a rate is a number from 1 to 10000 and s, m or h, such as 60/h")]
pub struct RateError;

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let (times, unit) = text.split_once('/').ok_or(RateError)?;
        let window = match unit {
            "s" => Seconds(1),
            "m" => Seconds(60),
            "h" => Seconds(3600),
            _ => return Err(RateError),
        };
        let times = times.parse().ok().filter(|times| (1..=MAX_TIMES).contains(times)).ok_or(RateError)?;
        Ok(Self { times, window })
    }
}

/// When each came, within the window.
#[derive(Default)]
pub(super) struct Counter(HashMap<String, VecDeque<Timestamp>>);

impl Counter {
    /// One more of somebody; where that is one too many, until when it is.
    pub(super) fn count(&mut self, who: &str, rate: Rate, now: Timestamp) -> Result<(), Timestamp> {
        let old = |at: &Timestamp| *at + rate.window <= now;
        if self.0.len() >= MAX_COUNTED && !self.0.contains_key(who) {
            self.0.retain(|_, times| times.back().is_some_and(|last| !old(last)));
            if self.0.len() >= MAX_COUNTED {
                return Ok(());
            }
        }
        let times = self.0.entry(who.to_owned()).or_default();
        while times.front().is_some_and(old) {
            times.pop_front();
        }
        match times.front() {
            Some(first) if times.len() >= rate.times => Err(*first + rate.window),
            _ => {
                times.push_back(now);
                Ok(())
            }
        }
    }
}

/// Too often, in the words of a dialect. OAuth has no code for it, and this one says that it is for now.
pub(super) fn too_often(dialect: Dialect, wait: Seconds) -> Refusal {
    let code = match dialect {
        Dialect::V01 | Dialect::Flat => "rate_limited",
        Dialect::Nested => "rate_limit_exceeded",
        Dialect::Plain => "temporarily_unavailable",
    };
    let mut refusal = Refusal::coded(429, code, "too often: wait, and come again");
    if dialect == Dialect::Nested {
        refusal.more.insert("retry_after".into(), serde_json::json!(wait.0));
    }
    Refusal { retry_after: Some(wait), ..refusal }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_and_a_unit() {
        let rate = |text: &str| text.parse::<Rate>().ok();
        assert_eq!(rate("60/h"), Some(Rate { times: 60, window: Seconds(3600) }));
        assert_eq!(rate("5/m"), Some(Rate { times: 5, window: Seconds(60) }));
        assert_eq!(rate("10000/s"), Some(Rate { times: 10_000, window: Seconds(1) }));
        for bad in ["", "60", "60/d", "0/h", "-1/h", "10001/h", "1.5/h", "60/", "/h", " 60/h", "60 / h"] {
            assert_eq!(rate(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_window_slides() {
        let (mut counter, rate) = (Counter::default(), Rate { times: 2, window: Seconds(60) });
        let mut at = |seconds| counter.count("a", rate, Timestamp(seconds));
        assert_eq!((at(0), at(30)), (Ok(()), Ok(())));
        assert_eq!(at(59), Err(Timestamp(60)), "one that was refused does not count");
        assert_eq!((at(60), at(61)), (Ok(()), Err(Timestamp(90))));
        assert_eq!(counter.count("b", rate, Timestamp(61)), Ok(()));
    }

    #[test]
    fn so_many_are_counted_and_no_more() {
        let (mut counter, rate) = (Counter::default(), Rate { times: 1, window: Seconds(60) });
        for n in 0..MAX_COUNTED {
            assert_eq!(counter.count(&n.to_string(), rate, Timestamp(0)), Ok(()));
        }
        for _ in 0..3 {
            assert_eq!(counter.count("one more", rate, Timestamp(1)), Ok(()), "let in, and not remembered");
        }
        assert_eq!(counter.0.len(), MAX_COUNTED);
        assert_eq!(counter.count("one more", rate, Timestamp(60)), Ok(()));
        assert_eq!(counter.0.len(), 1, "what is over has made room");
    }
}

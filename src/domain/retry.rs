//! When a notice is tried again, and when it is given up. This page is the schedule: the first attempt is made at once, the others after
//! `PAUSES`, until the notice's time is over.

use super::answer::Verdict;
use super::rotation::MAX_AGE;
use super::time::{Seconds, Timestamp};

/// The longest time between two attempts, each about three times the one before; the last one repeats. A third of it is left to chance.
const PAUSES: [Seconds; 7] =
    [Seconds(6), Seconds(20), Seconds(60), Seconds(180), Seconds(600), Seconds(1800), Seconds(3600)];

/// By how much `Retry-After` may stretch a pause: no service shall postpone its own withdrawal for days.
const STRETCH: i64 = 2;

/// After which a service that honours our key set's `max-age` fetches it again.
const KEYS_FETCHED: Seconds = MAX_AGE;

/// The longest pause after no attempt, after one, and so on; the last one repeats.
#[must_use]
pub fn longest_pauses() -> Vec<Seconds> {
    std::iter::once(Seconds(0)).chain(PAUSES.map(|pause| (pause * STRETCH).max(KEYS_FETCHED))).collect()
}

/// An attempt that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tried {
    /// Which one it was, from 1.
    pub number: i64,
    /// What came of it.
    pub verdict: Verdict,
    /// The span of a `Retry-After`.
    pub retry_after: Option<Seconds>,
    /// The status before that one.
    pub before: Option<i64>,
}

/// What to do after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The service has it.
    Delivered,
    /// It answered well, which proves nothing.
    Unproven,
    /// Try again at this time.
    Again(Timestamp),
    /// It said no for good, or last of all when time is up.
    Refused,
    /// Time is up.
    GivenUp,
}

/// Says what follows from an attempt; `jitter`, in `0.0..1.0`, is drawn where there is a pause.
#[must_use]
pub fn next(tried: Tried, now: Timestamp, give_up_at: Timestamp, jitter: impl FnOnce() -> f64) -> Next {
    let over = match tried.verdict {
        Verdict::Taken => return Next::Delivered,
        Verdict::Unproven => return Next::Unproven,
        Verdict::Refused => return Next::Refused,
        Verdict::UnknownKey | Verdict::Replayed | Verdict::Declined => Next::Refused,
        Verdict::Failed => Next::GivenUp,
    };
    let at = now + pause(tried, jitter());
    if at < give_up_at { Next::Again(at) } else { over }
}

fn pause(Tried { number, verdict, retry_after, before }: Tried, jitter: f64) -> Seconds {
    let number = match verdict {
        // It is signed anew, so it is heard at once; whoever says so again has another reason.
        Verdict::Replayed if before != Some(400) => 1,
        _ => number,
    };
    let step = usize::try_from(number.max(1) - 1).unwrap_or(usize::MAX).min(PAUSES.len() - 1);
    let longest = PAUSES[step];
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "an hour fits in both")]
    let planned = Seconds((longest.0 as f64 * (2.0 + jitter) / 3.0).ceil() as i64);
    let pause = retry_after.map_or(planned, |asked| asked.clamp(planned, longest * STRETCH));
    if verdict == Verdict::UnknownKey { pause.max(KEYS_FETCHED) } else { pause }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(100);

    fn tried(number: i64, verdict: Verdict) -> Tried {
        Tried { number, verdict, retry_after: None, before: None }
    }

    #[test]
    fn schedule() {
        use Verdict::{Declined, Failed, Refused, Replayed, Taken, UnknownKey, Unproven};
        let far = Timestamp(1_000_000);
        let asks = |number, verdict, seconds| Tried { retry_after: Some(Seconds(seconds)), ..tried(number, verdict) };
        let again = |seconds| Next::Again(NOW + Seconds(seconds));
        let cases = [
            ("a yes ends it", tried(1, Taken), far, Next::Delivered),
            ("also the last", tried(9, Taken), NOW, Next::Delivered),
            ("a yes that proves nothing", tried(1, Unproven), far, Next::Unproven),
            ("a no for good", tried(1, Refused), far, Next::Refused),
            ("a no that may heal", tried(1, Declined), far, again(5)),
            ("no answer", tried(1, Failed), far, again(5)),
            ("the second waits longer", tried(2, Failed), far, again(17)),
            ("the last pause repeats", tried(99, Failed), far, again(3000)),
            ("Retry-After stretches", asks(3, Failed, 90), far, again(90)),
            ("but not beyond twice", asks(3, Failed, 9999), far, again(120)),
            ("nor below the plan", asks(3, Declined, 1), far, again(50)),
            ("nor before", asks(3, Declined, -60), far, again(50)),
            ("over, after a no", tried(9, Declined), NOW, Next::Refused),
            ("over, after silence", tried(9, Failed), NOW, Next::GivenUp),
            ("over, with a key it never knew", tried(9, UnknownKey), NOW, Next::Refused),
            ("an unknown key waits for the key set", tried(1, UnknownKey), far, again(300)),
            ("or for its turn", tried(7, UnknownKey), far, again(3000)),
            ("or as it is asked to", asks(5, UnknownKey, 800), far, again(800)),
            ("a replay is heard at once", tried(7, Replayed), far, again(5)),
            ("but not twice", Tried { before: Some(400), ..tried(7, Replayed) }, far, again(3000)),
        ];
        for (name, tried, give_up_at, expected) in cases {
            assert_eq!(next(tried, NOW, give_up_at, || 0.5), expected, "{name}");
        }
        for (jitter, seconds) in [(0.0, 2400), (0.999_999, 3600)] {
            assert_eq!(next(tried(7, Failed), NOW, far, || jitter), again(seconds));
        }
    }

    #[test]
    fn no_pause_is_longer_than_the_longest() {
        let longest = longest_pauses();
        for number in 1..20 {
            for verdict in [Verdict::Failed, Verdict::UnknownKey, Verdict::Replayed] {
                let tried = Tried { retry_after: Some(Seconds(i64::MAX)), ..tried(number, verdict) };
                let most = longest[usize::try_from(number).unwrap().min(longest.len() - 1)];
                assert!(pause(tried, 0.99) <= most, "{number} {verdict:?}");
            }
        }
    }
}

//! When a notice is tried again, and when it is given up.

use super::time::{Seconds, Timestamp};

/// The time between the attempts; the last one repeats.
const SCHEDULE: [Seconds; 8] =
    [Seconds(5), Seconds(15), Seconds(60), Seconds(300), Seconds(900), Seconds(1800), Seconds(3600), Seconds(10_800)];

/// How far Retry-After may stretch a delay.
const STRETCH: i64 = 2;

/// The longest pause after no attempt, after one, and so on; the last one repeats.
#[must_use]
pub fn longest_pauses() -> Vec<Seconds> {
    std::iter::once(Seconds(0)).chain(SCHEDULE.map(|planned| planned * STRETCH)).collect()
}

/// What an attempt came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A status, and a `Retry-After`.
    Status(u16, Option<Seconds>),
    /// None: refused address, time-out, broken connection.
    None,
}

/// What to do after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The service has it.
    Delivered,
    /// Try again at this time.
    Again(Timestamp),
    /// Time is up, and the last answer was a 4xx.
    Refused,
    /// Time is up.
    GivenUp,
}

/// Judges the `attempt`-th attempt (from 1). Only a 2xx ends a notice; `jitter` is in `0.0..1.0` and spreads a delay by a fifth
/// either way; `Retry-After` may stretch a delay to twice its length, so that no service can postpone its own withdrawal for days.
#[must_use]
pub fn next(attempt: i64, answer: Answer, now: Timestamp, give_up_at: Timestamp, jitter: f64) -> Next {
    if let Answer::Status(200..=299, _) = answer {
        return Next::Delivered;
    }
    let step = usize::try_from(attempt.max(1) - 1).unwrap_or(usize::MAX).min(SCHEDULE.len() - 1);
    let planned = SCHEDULE[step];
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a delay of hours fits in both")]
    let spread = Seconds((planned.0 as f64 * (0.8 + 0.4 * jitter)).ceil() as i64);
    let delay = match answer {
        Answer::Status(_, Some(asked)) => asked.clamp(spread, planned * STRETCH),
        _ => spread,
    };
    let at = now + delay;
    if at < give_up_at {
        return Next::Again(at);
    }
    match answer {
        Answer::Status(400..=499, _) => Next::Refused,
        _ => Next::GivenUp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedule() {
        let far = Timestamp(1_000_000);
        let cases = [
            ("200 ends it", 1, Answer::Status(200, None), far, Next::Delivered),
            ("202 ends it", 9, Answer::Status(202, None), far, Next::Delivered),
            ("a redirect does not", 1, Answer::Status(307, None), far, Next::Again(Timestamp(105))),
            ("the second waits longer", 2, Answer::None, far, Next::Again(Timestamp(115))),
            ("the last delay repeats", 99, Answer::Status(500, None), far, Next::Again(Timestamp(100 + 10_800))),
            ("Retry-After stretches", 3, Answer::Status(503, Some(Seconds(90))), far, Next::Again(Timestamp(190))),
            ("but not beyond twice", 3, Answer::Status(503, Some(Seconds(9999))), far, Next::Again(Timestamp(220))),
            ("nor below the plan", 3, Answer::Status(429, Some(Seconds(1))), far, Next::Again(Timestamp(160))),
            ("over, after a 4xx", 9, Answer::Status(410, None), Timestamp(200), Next::Refused),
            ("over, after silence", 9, Answer::None, Timestamp(200), Next::GivenUp),
        ];
        for (name, attempt, answer, give_up_at, expected) in cases {
            assert_eq!(next(attempt, answer, Timestamp(100), give_up_at, 0.5), expected, "{name}");
        }
        assert_eq!(next(7, Answer::None, Timestamp(0), far, 0.0), Next::Again(Timestamp(2880)));
    }
}

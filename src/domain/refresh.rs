//! What it means that a refresh token comes in (RFC 6749 section 6, RFC 9700 section 4.14.2).

use super::time::{Seconds, Timestamp};

/// A refresh token, and where its family stands.
#[derive(Clone, Copy, Debug)]
pub struct Presented {
    /// How many came before it; those that replaced the same one have the same.
    pub generation: i64,
    /// When it was used first.
    pub used_at: Option<Timestamp>,
    /// The last generation of the family of which one was used.
    pub used_generation: i64,
}

/// Which time it is that it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The first.
    First,
    /// It was used a moment ago, and nothing that it gave has been used: the answer was lost, or two parts of the client asked at once.
    Again,
    /// Somebody has it who should not, or had what replaced it.
    Reuse,
}

/// Judges by what was used, and how long ago. One that comes again is answered for `retry`; whichever of the pairs is used first counts,
/// and the others are then as used as it is.
#[must_use]
pub fn turn(token: Presented, retry: Seconds, now: Timestamp) -> Turn {
    // Another server's clock may be ahead by a moment, and ours may have been set back: neither makes the moment longer.
    let lately = |used: Timestamp| retry > Seconds(0) && now - used <= retry && used - now <= retry;
    match token.used_at {
        None if token.generation > token.used_generation => Turn::First,
        Some(used) if token.generation == token.used_generation && lately(used) => Turn::Again,
        _ => Turn::Reuse,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_time_it_is() {
        let used = |at| Some(Timestamp(at));
        for (case, generation, used_at, used_generation, now, expected) in [
            ("the first of all", 1, None, 0, 100, Turn::First),
            ("the next", 2, None, 1, 100, Turn::First),
            ("again, at once", 1, used(100), 1, 100, Turn::Again),
            ("again, as late as may be", 1, used(100), 1, 110, Turn::Again),
            ("again, too late", 1, used(100), 1, 111, Turn::Reuse),
            ("again, by a clock that is behind", 1, used(100), 1, 95, Turn::Again),
            ("again, by a clock that was set back", 1, used(100), 1, 80, Turn::Reuse),
            ("after its successor", 1, used(100), 2, 101, Turn::Reuse),
            ("after one that replaced the same", 2, None, 2, 101, Turn::Reuse),
            ("long after one that replaced the same", 2, None, 3, 101, Turn::Reuse),
        ] {
            let token = Presented { generation, used_at, used_generation };
            assert_eq!(turn(token, Seconds(10), Timestamp(now)), expected, "{case}");
        }
        let at_once = Presented { generation: 1, used_at: used(100), used_generation: 1 };
        assert_eq!(turn(at_once, Seconds(0), Timestamp(100)), Turn::Reuse, "turned off");
    }
}

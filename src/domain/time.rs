//! Points in time and spans of it, in whole seconds: what a JWT carries (RFC 7519 section 2, `NumericDate`) and a column holds.
//!
//! ```compile_fail,E0308
//! use avouch::domain::time::{Seconds, Timestamp};
//! let expires_at: Timestamp = Seconds(300);
//! ```

use std::fmt;
use std::ops::{Add, Mul, Sub};

use chrono::DateTime;
use serde::{Deserialize, Serialize};

/// A point in time: seconds since the Unix epoch. It is in JSON and in the database the number that it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

/// A span of time, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seconds(pub i64);

impl Timestamp {
    /// The first of January 1970.
    pub const EPOCH: Self = Self(0);
    /// Later than anything.
    pub const MAX: Self = Self(i64::MAX);

    /// For APIs and operators, in UTC (RFC 3339).
    #[must_use]
    pub fn rfc3339(self) -> String {
        DateTime::from_timestamp(self.0, 0)
            .map_or_else(|| self.to_string(), |time| time.format("%Y-%m-%dT%H:%M:%SZ").to_string())
    }
}

// Saturating, all of them: a number that somebody sent may be any.

impl Add<Seconds> for Timestamp {
    type Output = Self;

    fn add(self, span: Seconds) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl Sub<Seconds> for Timestamp {
    type Output = Self;

    fn sub(self, span: Seconds) -> Self {
        Self(self.0.saturating_sub(span.0))
    }
}

impl Sub for Timestamp {
    type Output = Seconds;

    fn sub(self, earlier: Self) -> Seconds {
        Seconds(self.0.saturating_sub(earlier.0))
    }
}

impl Add for Seconds {
    type Output = Self;

    fn add(self, more: Self) -> Self {
        Self(self.0.saturating_add(more.0))
    }
}

impl Sub for Seconds {
    type Output = Self;

    fn sub(self, less: Self) -> Self {
        Self(self.0.saturating_sub(less.0))
    }
}

impl Mul<i64> for Seconds {
    type Output = Self;

    fn mul(self, times: i64) -> Self {
        Self(self.0.saturating_mul(times))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic() {
        let noon = Timestamp(1_800_000_000);
        assert_eq!(noon + Seconds(60) - noon, Seconds(60));
        assert_eq!(noon - Seconds(60), Timestamp(1_799_999_940));
        assert_eq!(Seconds(60) * 2 + Seconds(1) - Seconds(3), Seconds(118));
        assert_eq!(
            (Timestamp::MAX + Seconds(1), Timestamp(i64::MIN) - Seconds(1)),
            (Timestamp::MAX, Timestamp(i64::MIN))
        );
        assert_eq!(Timestamp::MAX - Timestamp(-1), Seconds(i64::MAX));
    }

    #[test]
    fn a_number_in_json() {
        assert_eq!(serde_json::to_string(&(Timestamp(7), Seconds(-1))).unwrap(), "[7,-1]");
        assert_eq!(serde_json::from_str::<(Timestamp, Seconds)>("[7,-1]").unwrap(), (Timestamp(7), Seconds(-1)));
        assert!(
            serde_json::from_str::<Timestamp>("7.5").is_err() && serde_json::from_str::<Timestamp>("\"7\"").is_err()
        );
    }
}

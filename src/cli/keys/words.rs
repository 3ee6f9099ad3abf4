//! Times as they are said.

use chrono::DateTime;

use crate::domain::time::{Seconds, Timestamp};

/// When something happens by itself.
pub(in crate::cli) fn when(at: Timestamp, now: Timestamp) -> String {
    let date = DateTime::from_timestamp(at.0, 0);
    let date = date.map_or_else(|| at.to_string(), |date| date.format("%-d %b %Y %H:%M UTC").to_string());
    if at <= now { format!("at any moment (was due {date})") } else { format!("in {}, on {date}", span(at - now)) }
}

/// The largest unit that tells enough.
pub(super) fn span(of: Seconds) -> String {
    match of.0.max(0) {
        s @ 0..120 => format!("{s} s"),
        s @ 120..7200 => format!("{} min", s / 60),
        s @ 7200..172_800 => format!("{} h", s / 3600),
        s => format!("{} d", s / 86_400),
    }
}

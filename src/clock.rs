//! The one place that reads the machine's clock. Everything else is given the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Where the time comes from: the machine, or a test's hand.
///
/// Times are whole seconds since the Unix epoch, as in every JWT (RFC 7519 section 2, `NumericDate`).
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// A clock that moves only when told.
    Fixed(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that stands at `seconds` since the epoch until [`Clock::advance`] moves it.
    #[must_use]
    pub fn fixed(seconds: i64) -> Self {
        Self::Fixed(Arc::new(AtomicI64::new(seconds)))
    }

    /// Seconds since the epoch.
    #[must_use]
    pub fn now(&self) -> i64 {
        match self {
            #[expect(clippy::disallowed_methods, reason = "this is the clock's home")]
            Self::System => match SystemTime::now().duration_since(UNIX_EPOCH) {
                Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
                Err(_) => 0,
            },
            Self::Fixed(seconds) => seconds.load(Ordering::SeqCst),
        }
    }

    /// Moves a fixed clock forward; the machine's clock does not listen.
    pub fn advance(&self, seconds: i64) {
        if let Self::Fixed(at) = self {
            at.fetch_add(seconds, Ordering::SeqCst);
        }
    }
}

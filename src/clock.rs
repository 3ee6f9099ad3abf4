//! The one place that reads the machine's clock. Everything else is given the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::domain::time::{Seconds, Timestamp};

/// Where the time comes from: the machine, or a test's hand.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// A clock that moves only when told.
    Fixed(Arc<AtomicI64>),
    /// The machine's clock, so many seconds ahead: a lab's.
    Shifted(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that stands at a time until [`Clock::advance`] moves it.
    #[must_use]
    pub fn fixed(at: Timestamp) -> Self {
        Self::Fixed(Arc::new(AtomicI64::new(at.0)))
    }

    /// The machine's clock until [`Clock::advance`] moves it ahead of that.
    #[must_use]
    pub fn shifted() -> Self {
        Self::Shifted(Arc::default())
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match self {
            Self::Shifted(by) => Self::System.now() + Seconds(by.load(Ordering::SeqCst)),
            #[expect(clippy::disallowed_methods, reason = "this is the clock's home")]
            Self::System => match SystemTime::now().duration_since(UNIX_EPOCH) {
                Ok(since) => i64::try_from(since.as_secs()).map_or(Timestamp::MAX, Timestamp),
                Err(_) => Timestamp::EPOCH,
            },
            Self::Fixed(at) => Timestamp(at.load(Ordering::SeqCst)),
        }
    }

    /// Moves a fixed clock forward; the machine's clock does not listen.
    pub fn advance(&self, span: Seconds) {
        if let Self::Fixed(at) | Self::Shifted(at) = self {
            at.fetch_add(span.0, Ordering::SeqCst);
        }
    }

    /// Lets a shifted clock be the machine's again.
    pub fn reset(&self) {
        if let Self::Shifted(by) = self {
            by.store(0, Ordering::SeqCst);
        }
    }
}

//! Two kinds of no: a refusal is about the request, a fault is about us.

use crate::domain::refusal::Refusal;
use crate::jose::JoseError;
use crate::store::StoreError;

/// What a flow ends with when it does not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request may not have what it asks for. Its text may be shown.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Something of ours failed. Its text never leaves the process.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// What failed, with the place it was noticed at.
#[derive(Debug, thiserror::Error)]
#[error("{cause} (noticed at {at})")]
pub struct Fault {
    #[source]
    cause: Cause,
    at: &'static std::panic::Location<'static>,
}

#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error(transparent)]
    Store(StoreError),
    #[error(transparent)]
    Jose(JoseError),
    #[error("an invariant does not hold: {0}")]
    Invariant(&'static str),
}

impl Fault {
    /// Whether it may be over a moment later: the database does not answer, is locked, or has no room; the device that signs
    /// does not answer.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        match &self.cause {
            Cause::Store(error) => error.is_outage(),
            Cause::Jose(error) => error.is_outage(),
            Cause::Invariant(_) => false,
        }
    }
}

impl Error {
    /// Whether the database cut the transaction off, so that it may be run again.
    #[must_use]
    pub fn is_cut_off(&self) -> bool {
        matches!(self, Self::Fault(Fault { cause: Cause::Store(error), .. }) if error.is_cut_off())
    }

    /// A state that our own code should have made impossible.
    #[track_caller]
    pub fn invariant(what: &'static str) -> Self {
        Self::Fault(Fault { cause: Cause::Invariant(what), at: std::panic::Location::caller() })
    }
}

impl From<StoreError> for Error {
    #[track_caller]
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unstorable => Self::Refused(Refusal::Malformed("the request", "contains U+0000")),
            other => Self::Fault(Fault { cause: Cause::Store(other), at: std::panic::Location::caller() }),
        }
    }
}

impl From<JoseError> for Error {
    /// For our own keys and tokens. What is wrong with somebody else's is a [`Refusal`], which the caller chooses.
    #[track_caller]
    fn from(error: JoseError) -> Self {
        Self::Fault(Fault { cause: Cause::Jose(error), at: std::panic::Location::caller() })
    }
}

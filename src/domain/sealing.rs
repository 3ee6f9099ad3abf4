//! Sealing keys: what each is to the database, and which servers have which. The keys themselves are no rows.

use super::ids::{Kid, SealingKeyId};
use super::rotation::SigningAlg;

vocabulary! {
    /// What a sealing key is to the database.
    pub enum SealingState {
        /// Announced: every server has to have it before anything is sealed by it.
        Next = "next",
        /// Whatever is sealed is sealed by it.
        Current = "current",
        /// It was the current one, and there may still be rows that only it opens.
        Leaving = "leaving",
        /// It was the current one, and opens nothing any more.
        Retired = "retired",
    }
}

/// A private key as it is stored.
#[derive(Clone, Debug)]
pub struct SealedKey {
    /// Whose it is.
    pub issuer_id: String,
    /// Its name.
    pub kid: Kid,
    /// What it signs with.
    pub alg: SigningAlg,
    /// The sealed text.
    pub sealed: String,
}

/// A server that runs, or did when it was last heard of.
#[derive(Clone, Debug)]
pub struct Server {
    /// Its name in the database.
    pub id: String,
    /// Where it runs, for people.
    pub place: String,
    /// The sealing keys that it has.
    pub sealing_keys: Vec<SealingKeyId>,
    /// Grows each time that it is heard of. Nobody's clock is needed to tell whether it runs.
    pub beats: i64,
}

impl Server {
    /// Whether it opens what is sealed by a key.
    #[must_use]
    pub fn has(&self, id: &SealingKeyId) -> bool {
        self.sealing_keys.contains(id)
    }
}

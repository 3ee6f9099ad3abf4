//! Randomness as an argument: the operating system's in production, a seed's in tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::domain::ids::{Jti, Subject};
use crate::domain::time::Timestamp;

/// Counts the identifiers of this process.
static COUNTER: AtomicU32 = AtomicU32::new(0);

/// Where random bytes come from.
#[derive(Clone, Debug)]
pub enum Rng {
    /// The operating system.
    Os,
    /// A repeatable stream for tests: SHA-256 over (seed, counter). Never for anything that must be secret.
    Seeded(u64, Arc<AtomicU64>),
}

impl Rng {
    /// A repeatable stream.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self::Seeded(seed, Arc::new(AtomicU64::new(0)))
    }

    /// `N` random bytes.
    ///
    /// # Panics
    /// When the operating system has no randomness to give: there is nothing safe left to do then.
    #[must_use]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut out = [0_u8; N];
        match self {
            Self::Os => getrandom::fill(&mut out).expect("the operating system gives random bytes"),
            Self::Seeded(seed, counter) => {
                for chunk in out.chunks_mut(digest::SHA256_OUTPUT_LEN) {
                    let n = counter.fetch_add(1, Ordering::SeqCst);
                    let block = digest::digest(&digest::SHA256, &[seed.to_be_bytes(), n.to_be_bytes()].concat());
                    chunk.copy_from_slice(&block.as_ref()[..chunk.len()]);
                }
            }
        }
        out
    }

    /// A bearer secret of 256 bits, as 43 characters of base64url.
    #[must_use]
    pub fn token(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.bytes::<32>())
    }

    /// A row's identifier: a UUID of version 7 (RFC 9562 section 5.7) as 32 hex digits. Those of one process sort in the order they were
    /// made, also within a second.
    #[must_use]
    pub fn id(&self, now: Timestamp) -> String {
        let millis = u64::try_from(now.0).unwrap_or(0).saturating_mul(1000);
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        let [r0, r1, r2, r3, r4, r5] = self.bytes::<6>();
        // Version and variant take the upper four bits of the first byte and the upper two of the third.
        let [c0, c1, _, _] = (count >> 14 << 16).to_be_bytes();
        let [_, _, c2, c3] = (count & 0x3fff).to_be_bytes();
        let after_time = [c0 & 0x0f, c1, c2, c3, r0, r1, r2, r3, r4, r5];
        uuid::Builder::from_unix_timestamp_millis(millis, &after_time).into_uuid().simple().to_string()
    }

    /// What a new user is called on the wire.
    ///
    /// # Panics
    /// Never: base64url is ASCII.
    #[must_use]
    pub fn subject(&self) -> Subject {
        self.token().try_into().expect("43 characters of base64url are a subject")
    }

    /// A token's identifier, which strangers see: 128 random bits as 22 characters of base64url, so that it tells nobody how many there are.
    ///
    /// # Panics
    /// Never: they are neither too many nor control characters.
    #[must_use]
    pub fn jti(&self) -> Jti {
        URL_SAFE_NO_PAD.encode(self.bytes::<16>()).try_into().expect("22 characters of base64url are a jti")
    }

    /// A fraction in `0.0..1.0`, for jitter.
    #[must_use]
    pub fn fraction(&self) -> f64 {
        f64::from(u32::from_be_bytes(self.bytes::<4>())) / (f64::from(u32::MAX) + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_sort_as_they_were_made() {
        let rng = Rng::Os;
        let ids: Vec<String> = (0..100_000).map(|_| rng.id(Timestamp(1_800_000_000))).collect();
        assert!(ids.is_sorted());
        assert!(ids.iter().all(|id| id.len() == 32 && &id[12..13] == "7"));
    }
}

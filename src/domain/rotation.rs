//! Signing keys: what each is for, from when on it may move, and when it should.
//!
//! A new key is published before it signs, and an old one stays published until nothing that it signed can still be valid: so no verifier
//! that honours `max-age`, and none that keeps a key set for ten minutes whatever it says (auth.md), ever misses a key.

use super::claims::{ASSERTION_LIFETIME, ID_TOKEN_LIFETIME};
use super::ids::Kid;
use super::notice::{LOGOUT_LIFETIME, REVOCATION_LIFETIME};
use super::time::{Seconds, Timestamp};

vocabulary! {
    /// Where a signing key stands.
    pub enum KeyState {
        /// Published, so that verifiers have it before it signs.
        Pending = "pending",
        /// Published, and the one that signs.
        Active = "active",
        /// Published for what it signed, and signs no more.
        Retiring = "retiring",
        /// Published no more, its private half destroyed.
        Removed = "removed",
        /// Published no more, because somebody else may have it.
        Revoked = "revoked",
    }
}

impl KeyState {
    /// Whether it is in the key set, so that what it signed is taken.
    #[must_use]
    pub fn is_published(self) -> bool {
        matches!(self, Self::Pending | Self::Active | Self::Retiring)
    }
}

vocabulary! {
    /// What a key signs with (RFC 7518 section 3.1).
    pub enum SigningAlg {
        /// ECDSA on P-256.
        Es256 = "ES256",
        /// RSASSA-PKCS1-v1_5.
        Rs256 = "RS256",
    }
}

vocabulary! {
    /// Why a key signs that was not published ahead.
    pub enum Early {
        /// It is the first of its kind: nobody keeps a key set that lacks it and needs it.
        First = "first",
        /// The one before was revoked.
        Emergency = "emergency",
        /// An operator said so.
        Forced = "forced",
    }
}

/// Longest that a key set may be kept for: its `max-age`, unless a change is ahead.
pub const MAX_AGE: Seconds = Seconds(300);
/// The same while a revoked key may still be in somebody's memory, and for how long after the revocation.
const MAX_AGE_AFTER_REVOCATION: Seconds = Seconds(30);
const ALERT: Seconds = Seconds(24 * 3600);
/// What auth.md has services keep a key set for, whatever it says of itself.
const FLOOR: Seconds = Seconds(600);
/// Until every replica publishes what one has changed; they look every second.
const LAG: Seconds = Seconds(5);
/// By how much the clock of a service may be behind ours.
const SKEW: Seconds = Seconds(60);
/// What a rotation may be late before it is overdue.
pub const GRACE: Seconds = Seconds(3600);
/// What is spread over: this part of an interval.
const SPREAD: f64 = 0.1;

/// How keys rotate by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// How long a key signs; `None`: until somebody activates another.
    pub interval: Option<Seconds>,
    /// How long a key is published before it signs, at least.
    pub publish_ahead: Seconds,
}

/// A key on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// RFC 7638 thumbprint.
    pub kid: Kid,
    /// What it signs with.
    pub alg: SigningAlg,
    /// Where it stands.
    pub state: KeyState,
    /// Since when it is published.
    pub created_at: Timestamp,
    /// Since when it signs or signed.
    pub activated_at: Option<Timestamp>,
    /// What its age counts from; a little later than `activated_at`, so that ten thousand issuers do not rotate in one minute.
    pub rotates_from: Option<Timestamp>,
    /// When it signed for the last time.
    pub retired_at: Option<Timestamp>,
    /// When it was removed or revoked.
    pub ended_at: Option<Timestamp>,
    /// Why, in the words of whoever did it.
    pub reason: Option<String>,
}

vocabulary! {
    /// What is planned for a key.
    pub enum Step {
        /// Its successor is published.
        Prepare = "prepare",
        /// Its successor takes over.
        Activate = "activate",
        /// It leaves the key set.
        Remove = "remove",
    }
}

impl Rotation {
    /// How long a key has to be published before it signs.
    #[must_use]
    pub fn lead(&self) -> Seconds {
        self.publish_ahead.max(MAX_AGE).max(FLOOR) + LAG
    }

    /// From when on a pending key may sign: then nobody can have a key set any more that lacks it.
    #[must_use]
    pub fn usable_at(&self, key: &Key) -> Timestamp {
        key.created_at + self.lead()
    }

    /// When the successor of a key is to be published; never where nothing rotates by itself.
    #[must_use]
    pub fn prepare_at(&self, rotates_from: Timestamp) -> Option<Timestamp> {
        self.activate_at(rotates_from).map(|at| at - self.lead())
    }

    /// When the successor of a key is to sign.
    #[must_use]
    pub fn activate_at(&self, rotates_from: Timestamp) -> Option<Timestamp> {
        Some(rotates_from + self.interval?)
    }

    /// What a key's age counts from when it is activated at `now`; `fraction` is between 0 and 1.
    #[must_use]
    pub fn rotates_from(&self, now: Timestamp, fraction: f64) -> Timestamp {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            reason = "a tenth of ten years fits in both"
        )]
        let spread = self.interval.map_or(0, |interval| (interval.0 as f64 * SPREAD * fraction) as i64);
        now + Seconds(spread)
    }

    /// What comes next for a key by itself, and when. `successor` is a pending key of the same algorithm.
    #[must_use]
    pub fn next(&self, key: &Key, successor: Option<&Key>) -> Option<(Step, Timestamp)> {
        match key.state {
            KeyState::Active => {
                let rotates_from = key.rotates_from?;
                Some(match successor {
                    None => (Step::Prepare, self.prepare_at(rotates_from)?),
                    Some(pending) => (Step::Activate, self.activate_at(rotates_from)?.max(self.usable_at(pending))),
                })
            }
            KeyState::Retiring => Some((Step::Remove, removable_at(key)?)),
            KeyState::Pending | KeyState::Removed | KeyState::Revoked => None,
        }
    }

    /// The next change of a key set that is planned.
    #[must_use]
    pub fn next_change(&self, keys: &[Key]) -> Option<Timestamp> {
        keys.iter().filter_map(|key| self.next(key, successor(keys, key)).map(|(_, at)| at)).min()
    }
}

/// Whether a key may be called so: its name goes into headers, key sets and file names.
#[must_use]
pub fn is_kid(text: &str) -> bool {
    (1..=100).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}

/// The pending key that would follow.
#[must_use]
pub fn successor<'a>(keys: &'a [Key], active: &Key) -> Option<&'a Key> {
    keys.iter().find(|key| key.state == KeyState::Pending && key.alg == active.alg)
}

/// From when on a retiring key may leave the key set: then all that it signed has expired, by any clock. Notices are signed anew for each
/// attempt, so one that waits for its service needs no old key.
#[must_use]
pub fn removable_at(key: &Key) -> Option<Timestamp> {
    Some(key.retired_at? + kept_for())
}

/// How long a key stays published after it has signed for the last time.
#[must_use]
pub fn kept_for() -> Seconds {
    [ASSERTION_LIFETIME, ID_TOKEN_LIFETIME, LOGOUT_LIFETIME].into_iter().fold(REVOCATION_LIFETIME, Seconds::max)
        + SKEW
        + MAX_AGE
        + LAG
}

/// How long a key set may be kept that is sent at `now`, so that nobody who honours it holds it beyond a planned change, nor a revoked key
/// for long.
#[must_use]
pub fn max_age(now: Timestamp, next_change: Option<Timestamp>, revoked_at: Option<Timestamp>) -> Seconds {
    let usual = if revoked_at.is_some_and(|at| now < at + ALERT) { MAX_AGE_AFTER_REVOCATION } else { MAX_AGE };
    // A change that is late comes at any moment.
    next_change.map_or(usual, |at| usual.min((at - now).max(Seconds(1))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    fn key(state: KeyState, at: i64) -> Key {
        let signs = matches!(state, KeyState::Active | KeyState::Retiring);
        Key {
            kid: "k".into(),
            alg: SigningAlg::Es256,
            state,
            created_at: Timestamp(at),
            activated_at: signs.then_some(Timestamp(at)),
            rotates_from: signs.then_some(Timestamp(at)),
            retired_at: (state == KeyState::Retiring).then_some(Timestamp(at)),
            ended_at: None,
            reason: None,
        }
    }

    fn rotation(interval: Option<i64>, ahead: i64) -> Rotation {
        Rotation { interval: interval.map(Seconds), publish_ahead: Seconds(ahead) }
    }

    #[test]
    fn a_key_is_published_before_it_signs() {
        let pending = key(KeyState::Pending, 1000);
        assert_eq!(rotation(None, DAY).usable_at(&pending), Timestamp(1000 + DAY + 5));
        assert_eq!(rotation(None, 1).usable_at(&pending), Timestamp(1000 + 600 + 5), "auth.md's ten minutes");
    }

    #[test]
    fn a_key_stays_until_nothing_that_it_signed_is_alive() {
        let retiring = key(KeyState::Retiring, 1000);
        // ID tokens live longest: an hour.
        assert_eq!(removable_at(&retiring), Some(Timestamp(1000 + 3600 + 60 + 300 + 5)));
        assert_eq!(removable_at(&key(KeyState::Active, 1000)), None);
    }

    #[test]
    fn what_comes_next() {
        let monthly = rotation(Some(30 * DAY), DAY);
        let active = key(KeyState::Active, 0);
        let at = 30 * DAY;
        assert_eq!(monthly.next(&active, None), Some((Step::Prepare, Timestamp(at - DAY - 5))));
        let pending = key(KeyState::Pending, at - DAY - 5);
        assert_eq!(monthly.next(&active, Some(&pending)), Some((Step::Activate, Timestamp(at))));
        let late = key(KeyState::Pending, at - 10);
        assert_eq!(monthly.next(&active, Some(&late)), Some((Step::Activate, Timestamp(at - 10 + DAY + 5))));
        assert_eq!(rotation(None, DAY).next(&active, Some(&pending)), None);
        let retiring = key(KeyState::Retiring, 7);
        assert_eq!(rotation(None, DAY).next(&retiring, None), Some((Step::Remove, Timestamp(7 + 3965))));
        assert_eq!(monthly.next_change(&[active, retiring]), Some(Timestamp(7 + 3965)));
        let mut rsa = pending;
        rsa.alg = SigningAlg::Rs256;
        assert_eq!(successor(&[rsa], &key(KeyState::Active, 0)), None, "each algorithm for itself");
    }

    #[test]
    fn no_key_set_outlives_a_change() {
        let now = Timestamp(10_000);
        let cases = [
            ("nothing ahead", None, None, 300),
            ("far ahead", Some(20_000), None, 300),
            ("near", Some(10_040), None, 40),
            ("now", Some(10_000), None, 1),
            ("late", Some(9_000), None, 1),
            ("after a revocation", None, Some(9_990), 30),
            ("a change soon after one", Some(10_007), Some(9_990), 7),
            ("long after one", None, Some(10_000 - 24 * 3600), 300),
        ];
        for (name, change, revoked, expected) in cases {
            let age = max_age(now, change.map(Timestamp), revoked.map(Timestamp));
            assert_eq!(age, Seconds(expected), "{name}");
        }
    }

    #[test]
    fn rotations_are_spread() {
        let monthly = rotation(Some(30 * DAY), DAY);
        assert_eq!(monthly.rotates_from(Timestamp(5), 0.0), Timestamp(5));
        assert_eq!(monthly.rotates_from(Timestamp(5), 0.5), Timestamp(5 + 3 * DAY / 2));
        assert_eq!(rotation(None, DAY).rotates_from(Timestamp(5), 0.5), Timestamp(5));
    }
}

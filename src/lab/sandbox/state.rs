//! What the sandbox remembers, in memory and bounded: used `jti`s, credentials by their hash, and the latest events.

use std::collections::{HashMap, VecDeque};

use super::reply::{Code, Refusal};
use crate::domain::scope::Scope;
use crate::domain::time::Timestamp;
use crate::secret::sha256;

/// Most credentials, and most `jti`s of assertions. Full, it refuses: to forget a `jti` would open the door to a replay.
const MAX_ENTRIES: usize = 10_000;

/// Most events kept; the oldest go first.
const MAX_EVENTS: usize = 1_000;

/// Something that happened, in order. For tests and demonstrations; it never holds a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// What it was.
    pub what: What,
}

/// What happened (auth.md v0.1, "Recommended audit events", and the refusals).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// An assertion was accepted and a credential given out.
    Registered {
        /// The registration.
        registration_id: String,
        /// `access_token` or `api_key`.
        credential_type: &'static str,
    },
    /// A notice was accepted.
    Revoked {
        /// The registration.
        registration_id: String,
        /// How many credentials it ended; may be none.
        credentials: usize,
    },
    /// A live credential was used at the resource.
    Served {
        /// The registration.
        registration_id: String,
    },
    /// The resource was asked for without a live credential.
    Unauthorized,
    /// An assertion or notice was refused.
    Refused {
        /// The path.
        endpoint: &'static str,
        /// The error code answered.
        code: &'static str,
    },
}

/// Who stands behind a credential.
#[derive(Clone, Debug)]
pub(super) struct Registration {
    pub(super) id: String,
    pub(super) iss: String,
    pub(super) sub: String,
    /// Only if verified.
    pub(super) email: Option<String>,
    /// Only if verified.
    pub(super) phone_number: Option<String>,
    pub(super) scopes: Scope,
}

/// A registration's name: the same for the same (iss, sub, aud), for ever (auth.md v0.1, the reference service).
pub(super) fn registration_id(iss: &str, sub: &str, aud: &str) -> String {
    // An issuer holds no bar and `aud` is always ours, so no two triples make one text. 22 characters are 132 bits.
    format!("reg_{}", &sha256(format!("{iss}|{sub}|{aud}").as_bytes())[..22])
}

struct Credential {
    registration: Registration,
    /// When it expires; `None` for an API key.
    expires_at: Option<Timestamp>,
}

/// A token's `jti` and how long to remember it. Assertions and notices share one memory for each issuer.
pub(super) struct Mark {
    key: String,
    until: Timestamp,
}

impl Mark {
    pub(super) fn new(iss: &str, jti: &str, until: Timestamp) -> Self {
        // Hashed, so that a long one takes no room; an issuer holds no space, so no two pairs make one text.
        Self { key: sha256(format!("{iss} {jti}").as_bytes()), until }
    }
}

pub(super) struct State {
    pub(super) most: usize,
    jtis: HashMap<String, Timestamp>,
    credentials: HashMap<String, Credential>,
    events: VecDeque<Event>,
}

impl Default for State {
    fn default() -> Self {
        Self { most: MAX_ENTRIES, jtis: HashMap::new(), credentials: HashMap::new(), events: VecDeque::new() }
    }
}

impl State {
    /// Refuses a token whose `jti` was used.
    pub(super) fn fresh(&self, mark: &Mark, now: Timestamp) -> Result<(), Refusal> {
        if self.jtis.get(&mark.key).is_some_and(|until| now < *until) {
            return Refusal::because(Code::ReplayDetected, "this jti was used before");
        }
        Ok(())
    }

    /// Uses up the `jti` and keeps the credential, or does neither.
    pub(super) fn register(
        &mut self,
        mark: Mark,
        hash: String,
        registration: Registration,
        expires_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        self.fresh(&mark, now)?;
        self.make_room(now);
        if self.credentials.len() >= self.most || self.jtis.len() >= self.most {
            return full();
        }
        self.jtis.insert(mark.key, mark.until);
        self.credentials.insert(hash, Credential { registration, expires_at });
        Ok(())
    }

    /// Uses up the `jti` and ends every credential of the registration; says how many were alive.
    pub(super) fn revoke(&mut self, mark: Mark, registration_id: &str, now: Timestamp) -> Result<usize, Refusal> {
        self.fresh(&mark, now)?;
        self.make_room(now);
        // Notices have as much room again, so that no flood of assertions keeps a revocation out.
        if self.jtis.len() >= self.most * 2 {
            return full();
        }
        self.jtis.insert(mark.key, mark.until);
        let mut ended = 0;
        self.credentials.retain(|_, credential| {
            let stays = credential.registration.id != registration_id;
            ended += usize::from(!stays && credential.alive(now));
            stays
        });
        Ok(ended)
    }

    /// Who stands behind a credential, while it lives.
    pub(super) fn find(&self, hash: &str, now: Timestamp) -> Option<&Registration> {
        self.credentials.get(hash).filter(|credential| credential.alive(now)).map(|credential| &credential.registration)
    }

    pub(super) fn note(&mut self, at: Timestamp, what: What) {
        if self.events.len() >= MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(Event { at, what });
    }

    pub(super) fn events(&self) -> Vec<Event> {
        self.events.iter().cloned().collect()
    }

    /// Drops what time has ended, once there is much of it.
    fn make_room(&mut self, now: Timestamp) {
        if self.credentials.len() >= self.most {
            self.credentials.retain(|_, credential| credential.alive(now));
        }
        if self.jtis.len() >= self.most {
            self.jtis.retain(|_, until| now < *until);
        }
    }
}

impl Credential {
    fn alive(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|at| now < at)
    }
}

fn full<T>() -> Result<T, Refusal> {
    Refusal::because(Code::TemporarilyUnavailable, "the sandbox is full: try again later, or start it anew")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Seconds;

    const NOW: Timestamp = Timestamp(1_800_000_000);

    fn registration(sub: &str) -> Registration {
        Registration {
            id: registration_id("https://i.example", sub, "https://s.example"),
            iss: "https://i.example".into(),
            sub: sub.into(),
            email: None,
            phone_number: None,
            scopes: Scope::default(),
        }
    }

    fn mark(jti: &str) -> Mark {
        Mark::new("https://i.example", jti, NOW + Seconds(100))
    }

    fn code<T>(outcome: Result<T, Refusal>) -> Option<Code> {
        outcome.err().map(|refusal| refusal.code)
    }

    #[test]
    fn a_full_memory_refuses_and_forgets_nothing_that_lives() {
        let mut state = State { most: 2, ..State::default() };
        for (jti, expires_at) in [("1", Some(NOW + Seconds(50))), ("2", Some(NOW + Seconds(200)))] {
            assert!(state.register(mark(jti), jti.into(), registration("u"), expires_at, NOW).is_ok());
        }
        let third = |state: &mut State, now| state.register(mark("3"), "3".into(), registration("u"), None, now);
        assert_eq!(code(third(&mut state, NOW)), Some(Code::TemporarilyUnavailable));
        assert_eq!(code(state.fresh(&mark("3"), NOW)), None, "a refused request uses no jti up");
        assert_eq!(
            code(third(&mut state, NOW + Seconds(99))),
            Some(Code::TemporarilyUnavailable),
            "jtis are still needed"
        );
        assert_eq!(code(state.fresh(&mark("1"), NOW + Seconds(99))), Some(Code::ReplayDetected));
        assert_eq!(code(third(&mut state, NOW + Seconds(100))), None);
    }

    #[test]
    fn a_flood_of_assertions_leaves_room_for_notices() {
        let mut state = State { most: 2, ..State::default() };
        for jti in ["1", "2"] {
            assert!(state.register(mark(jti), jti.into(), registration("u"), None, NOW).is_ok());
        }
        let id = registration("u").id;
        assert_eq!(state.revoke(mark("3"), &id, NOW).unwrap(), 2);
        assert_eq!(state.revoke(mark("4"), &id, NOW).unwrap(), 0);
        assert_eq!(code(state.revoke(mark("5"), &id, NOW)), Some(Code::TemporarilyUnavailable));
    }

    #[test]
    fn only_living_credentials_are_found_and_counted() {
        let mut state = State::default();
        state.register(mark("1"), "short".into(), registration("u"), Some(NOW + Seconds(10)), NOW).unwrap();
        state.register(mark("2"), "long".into(), registration("u"), None, NOW).unwrap();
        state.register(mark("3"), "other".into(), registration("v"), None, NOW).unwrap();
        assert!(state.find("short", NOW + Seconds(9)).is_some());
        assert!(state.find("short", NOW + Seconds(10)).is_none());
        assert_eq!(state.revoke(mark("4"), &registration("u").id, NOW + Seconds(10)).unwrap(), 1);
        assert!(state.find("long", NOW + Seconds(10)).is_none());
        assert!(state.find("other", NOW + Seconds(10)).is_some());
    }

    #[test]
    fn a_jti_belongs_to_its_issuer() {
        let mut state = State::default();
        state.revoke(mark("1"), "reg_x", NOW).unwrap();
        assert_eq!(code(state.fresh(&mark("1"), NOW)), Some(Code::ReplayDetected));
        assert_eq!(code(state.fresh(&Mark::new("https://j.example", "1", NOW + Seconds(100)), NOW)), None);
    }

    #[test]
    fn events_are_bounded() {
        let mut state = State::default();
        for at in 0..=1000 {
            state.note(Timestamp(at), What::Unauthorized);
        }
        let events = state.events();
        assert_eq!((events.len(), events[0].at), (MAX_EVENTS, Timestamp(1)));
    }
}

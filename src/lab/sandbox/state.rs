//! What the sandbox remembers, in memory and bounded: used `jti`s, accounts, registrations, credentials, ceremonies, and the latest events.

use std::collections::{BTreeMap, HashMap, VecDeque};

use tokio::sync::watch;

use super::checks::Judged;
use super::claimable::Claims;
use super::event::{Event, What};
use super::person::Person;
use super::rate::Counter;
pub(super) use super::registration::{Account, Credential, Given, Registration, registration_id};
use super::reply::Refusal;
use crate::domain::time::{Seconds, Timestamp};
use crate::lab::flaws::Class;
use crate::secret::{sha256, token_hash};

/// Most credentials, and most `jti`s of assertions. Full, it refuses: to forget a `jti` would open the door to a replay.
const MAX_ENTRIES: usize = 10_000;

/// Most events kept; the oldest go first.
const MAX_EVENTS: usize = 1_000;

/// Most tokens kept that were judged, likewise.
const MAX_TOKENS: usize = 20;

/// Seconds in which a user may confirm that an account is theirs.
pub(super) const CEREMONY: Seconds = Seconds(600);

/// A registration that waits for its user.
#[derive(Clone, Debug)]
pub(super) struct Ceremony {
    /// Names the page.
    pub(super) attempt: String,
    pub(super) user_code: String,
    pub(super) registration: Registration,
    pub(super) expires_at: Timestamp,
    /// What the user said.
    pub(super) answer: Option<bool>,
    /// Wrong codes so far.
    pub(super) failures: u8,
}

/// A token's `jti` and how long to remember it. Assertions and notices share one memory for each issuer.
#[derive(Clone, Debug)]
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
    accounts: Vec<Account>,
    /// (iss, sub), hashed, to the account that it is linked with.
    links: HashMap<String, String>,
    credentials: HashMap<String, Given>,
    /// The key that each issuer signed with last.
    kids: HashMap<String, String>,
    /// By the hash of its claim token.
    ceremonies: BTreeMap<String, Ceremony>,
    /// Those of v0.1, which go another way.
    pub(super) claims: Claims,
    /// How often who came: addresses, and users.
    pub(super) came: [Counter; 2],
    events: VecDeque<Event>,
    tokens: VecDeque<Judged>,
    /// How many events and tokens there have been.
    happened: (u64, u64),
    /// Rings when there is one more.
    pub(super) news: watch::Sender<()>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            most: MAX_ENTRIES,
            jtis: HashMap::new(),
            accounts: Vec::new(),
            links: HashMap::new(),
            credentials: HashMap::new(),
            kids: HashMap::new(),
            ceremonies: BTreeMap::new(),
            claims: Claims::default(),
            came: Default::default(),
            events: VecDeque::new(),
            tokens: VecDeque::new(),
            happened: (0, 0),
            news: watch::Sender::new(()),
        }
    }
}

pub(super) fn full<T>() -> Result<T, Refusal> {
    Refusal::because(Class::Unavailable, "the sandbox is full: restart it, or wait until something expires")
}

/// Whose account it is.
pub(super) enum Match {
    /// This one's, which it is linked with.
    Linked(Account),
    /// This one's, by its address; nobody has confirmed that.
    Alike(Account),
    /// Nobody's yet.
    Nobody,
}

impl State {
    /// Whether a token's `jti` was used.
    pub(super) fn is_used(&self, mark: &Mark, now: Timestamp) -> bool {
        self.jtis.get(&mark.key).is_some_and(|until| now < *until)
    }

    /// Uses up a `jti`.
    pub(super) fn spend(&mut self, mark: Mark, most: usize, now: Timestamp) -> Result<(), Refusal> {
        self.make_room(now);
        if self.jtis.len() >= most {
            return full();
        }
        self.jtis.insert(mark.key, mark.until);
        Ok(())
    }

    /// Forgets which `jti`s were used, as a service does that keeps them in memory alone.
    pub(super) fn forget_jtis(&mut self) {
        self.jtis.clear();
    }

    /// Whose account (iss, sub) is, else whose address it is.
    pub(super) fn account_of(&self, iss: &str, sub: &str, person: &Person) -> Match {
        let find = |fits: &dyn Fn(&Account) -> bool| self.accounts.iter().find(|account| fits(account)).cloned();
        let linked = self.links.get(&link(iss, sub)).and_then(|id| find(&|account| account.id == *id));
        let same = |a: &Option<String>, b: &Option<String>| a.is_some() && a == b;
        let alike = || {
            find(&|account| {
                same(&account.person.email, &person.email) || same(&account.person.phone_number, &person.phone_number)
            })
        };
        linked.map(Match::Linked).or_else(|| alike().map(Match::Alike)).unwrap_or(Match::Nobody)
    }

    /// Makes an account.
    pub(super) fn add_account(&mut self, id: String, person: Person) -> Result<Account, Refusal> {
        if self.accounts.len() >= self.most {
            return full();
        }
        let account = Account { id, person };
        self.accounts.push(account.clone());
        Ok(account)
    }

    /// From now on (iss, sub) is this account's user.
    pub(super) fn link(&mut self, iss: &str, sub: &str, account: &str) {
        self.links.insert(link(iss, sub), account.to_owned());
    }

    /// Whether there is room for one more credential.
    pub(super) fn judge_room(&mut self, now: Timestamp) -> Result<(), Refusal> {
        self.make_room(now);
        let fullest = self.credentials.len().max(self.jtis.len()).max(self.links.len());
        if fullest >= self.most { full() } else { Ok(()) }
    }

    /// Keeps a credential, by its hash.
    pub(super) fn give(&mut self, hash: String, given: Given) {
        self.credentials.insert(hash, given);
    }

    /// What was given for a registration is its owner's from now on, and does not end by itself.
    pub(super) fn rebind(&mut self, registration: &Registration) {
        for given in self.credentials.values_mut().filter(|given| given.registration.id == registration.id) {
            (given.registration, given.expires_at) = (registration.clone(), None);
        }
    }

    /// What a credential is, while it lives.
    pub(super) fn find(&self, hash: &str, now: Timestamp) -> Option<&Given> {
        self.credentials.get(hash).filter(|given| given.is_alive(now))
    }

    /// Ends one credential.
    pub(super) fn end(&mut self, hash: &str) -> Option<Given> {
        self.credentials.remove(hash)
    }

    /// Ends those credentials of which this holds; says how many were alive.
    pub(super) fn end_all(&mut self, of: impl Fn(&Registration) -> bool, now: Timestamp) -> usize {
        let mut ended = 0;
        self.credentials.retain(|_, given| {
            let stays = !of(&given.registration);
            ended += usize::from(!stays && given.is_alive(now));
            stays
        });
        self.ceremonies.retain(|_, ceremony| !of(&ceremony.registration));
        ended
    }

    /// Whether an issuer signs with another key than last time.
    pub(super) fn has_another_key(&mut self, iss: &str, kid: &str) -> bool {
        self.kids.insert(iss.to_owned(), kid.to_owned()).is_some_and(|before| before != kid)
    }

    /// Keeps a ceremony in the place of what there was for its registration.
    pub(super) fn begin(
        &mut self,
        claim_token_hash: String,
        ceremony: Ceremony,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        self.ceremonies.retain(|_, other| now < other.expires_at && other.registration.id != ceremony.registration.id);
        if self.ceremonies.len() >= self.most {
            return full();
        }
        self.ceremonies.insert(claim_token_hash, ceremony);
        Ok(())
    }

    /// The ceremony of a claim token, by its hash.
    pub(super) fn ceremony(&mut self, claim_token_hash: &str) -> Option<&mut Ceremony> {
        self.ceremonies.get_mut(claim_token_hash)
    }

    /// The ceremony of a page.
    pub(super) fn attempt(&mut self, attempt: &str) -> Option<&mut Ceremony> {
        self.ceremonies.values_mut().find(|ceremony| ceremony.attempt == attempt)
    }

    /// Those that wait.
    pub(super) fn ceremonies(&self, now: Timestamp) -> Vec<Ceremony> {
        self.ceremonies.values().filter(|c| c.answer.is_none() && now < c.expires_at).cloned().collect()
    }

    /// What the user said, to whoever polls (auth.md v0.4 to v0.7: the grant `urn:workos:agent-auth:grant-type:claim`).
    pub(super) fn polled(&mut self, claim_token: &str, now: Timestamp) -> Result<Registration, Refusal> {
        let hash = token_hash(claim_token);
        let no = |code, why: &'static str| Refusal::coded(400, code, why);
        let Some(ceremony) = self.ceremony(&hash).cloned() else {
            return Err(no("invalid_grant", "claim_token is unknown"));
        };
        if now >= ceremony.expires_at {
            return Err(no("expired_token", "the user did not answer in time"));
        }
        match ceremony.answer {
            None => Err(no("authorization_pending", "the user has not answered yet")),
            Some(false) => Err(no("access_denied", "the user says that the account is not theirs")),
            Some(true) => {
                self.finish(&hash);
                Ok(ceremony.registration)
            }
        }
    }

    /// Ends a ceremony.
    pub(super) fn finish(&mut self, claim_token_hash: &str) {
        self.ceremonies.remove(claim_token_hash);
    }

    /// What time has ended of claims, in the journal.
    pub(super) fn lapse(&mut self, now: Timestamp) {
        for registration_id in self.claims.lapse(now) {
            self.note(now, What::Expired { registration_id });
        }
    }

    pub(super) fn note(&mut self, at: Timestamp, what: What) {
        if self.events.len() >= MAX_EVENTS {
            self.events.pop_front();
        }
        self.happened.0 += 1;
        self.events.push_back(Event { n: self.happened.0, at, what });
        self.news.send_replace(());
    }

    pub(super) fn events(&self) -> Vec<Event> {
        self.events.iter().cloned().collect()
    }

    /// Those after the one of a number, the oldest first, and how many there have been. Whoever has seen more has seen another sandbox's.
    pub(super) fn events_after(&self, n: u64) -> (Vec<Event>, u64) {
        let n = if n > self.happened.0 { 0 } else { n };
        (self.events.iter().filter(|event| event.n > n).cloned().collect(), self.happened.0)
    }

    /// Keeps what was made of a token.
    pub(super) fn judged(&mut self, judged: Judged) {
        if self.tokens.len() >= MAX_TOKENS {
            self.tokens.pop_front();
        }
        self.happened.1 += 1;
        self.tokens.push_back(Judged { n: self.happened.1, ..judged });
        self.news.send_replace(());
    }

    /// The latest first.
    pub(super) fn tokens(&self) -> impl Iterator<Item = &Judged> {
        self.tokens.iter().rev()
    }

    /// Every credential that lives.
    pub(super) fn alive(&self, now: Timestamp) -> impl Iterator<Item = &Given> {
        self.credentials.values().filter(move |given| given.is_alive(now))
    }

    /// Drops what time has ended, once there is much of it.
    fn make_room(&mut self, now: Timestamp) {
        if self.credentials.len() >= self.most {
            self.credentials.retain(|_, given| given.is_alive(now));
        }
        if self.jtis.len() >= self.most {
            self.jtis.retain(|_, until| now < *until);
        }
    }
}

fn link(iss: &str, sub: &str) -> String {
    sha256(format!("{iss} {sub}").as_bytes())
}

//! Who fetches our keys: told apart by address and user agent, which is all that is known of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use super::ids::Kid;
use super::time::{Seconds, Timestamp};

/// Most characters of a user agent.
const MAX_USER_AGENT: usize = 120;
/// User agents of one address that are told apart; anybody can think of many.
pub const MAX_USER_AGENTS: usize = 8;
/// What stands for the rest of them.
const OTHERS: &str = "(others)";
/// What counts as lately.
pub const LATELY: Seconds = Seconds(7 * 86_400);

/// Somebody at an address; of IPv6 at a network of 64 bits, of which one machine may have all.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fetcher {
    /// Of IPv6 the network, as in `2001:db8::/64`.
    pub address: Box<str>,
    /// What it calls itself.
    pub user_agent: Box<str>,
}

impl Fetcher {
    /// Bounds what it says of itself.
    #[must_use]
    pub fn new(address: IpAddr, user_agent: &str) -> Self {
        let shown = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
        let user_agent: String = user_agent.trim().chars().take(MAX_USER_AGENT).map(shown).collect();
        Self { address: network(address).into(), user_agent: user_agent.into() }
    }

    /// Somebody else at the same address.
    #[must_use]
    pub fn others(&self) -> Self {
        Self { address: self.address.clone(), user_agent: OTHERS.into() }
    }

    /// Whether a host with this address may be it.
    #[must_use]
    pub fn is_at(&self, address: IpAddr) -> bool {
        *self.address == network(address)
    }
}

fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) if ip.is_loopback() => ip.to_string(),
        IpAddr::V6(ip) => format!("{}/64", Ipv6Addr::from(u128::from(ip) >> 64 << 64)),
    }
}

/// What is on record of a fetcher and a key; without a key, of the document about ourselves.
#[derive(Clone, Debug)]
pub struct FetchRecord {
    /// Who it was.
    pub fetcher: Fetcher,
    /// The key that was in the set.
    pub kid: Option<Kid>,
    /// How often.
    pub count: i64,
    /// When for the last time.
    pub last_at: Timestamp,
}

/// What one fetcher has fetched lately.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The keys that were in the sets it fetched.
    pub kids: BTreeSet<Kid>,
    /// How many key sets, or documents about ourselves if those are more.
    pub count: i64,
    /// When for the last time.
    pub last_at: Timestamp,
    /// Whether it fetched the document about ourselves.
    pub client_document: bool,
}

/// Who has fetched what lately.
#[derive(Clone, Debug, Default)]
pub struct Fetchers(pub BTreeMap<Fetcher, Seen>);

impl Fetchers {
    /// Puts the records together.
    #[must_use]
    pub fn of(records: Vec<FetchRecord>) -> Self {
        let mut all: BTreeMap<Fetcher, Seen> = BTreeMap::new();
        for FetchRecord { fetcher, kid, count, last_at } in records {
            let seen = all.entry(fetcher).or_default();
            seen.count = seen.count.max(count);
            seen.last_at = seen.last_at.max(last_at);
            match kid {
                Some(kid) => drop(seen.kids.insert(kid)),
                None => seen.client_document = true,
            }
        }
        Self(all)
    }

    /// How many have seen a key, of how many that fetch keys.
    #[must_use]
    pub fn have_seen(&self, kid: &Kid) -> (usize, usize) {
        let fetch_keys = || self.0.values().filter(|seen| !seen.kids.is_empty());
        (fetch_keys().filter(|seen| seen.kids.contains(kid)).count(), fetch_keys().count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_one_fetcher() {
        let of = |address: &str| Fetcher::new(address.parse().unwrap(), "jose/6");
        for (address, shown) in [
            ("203.0.113.5", "203.0.113.5"),
            ("::ffff:203.0.113.5", "203.0.113.5"),
            ("::1", "::1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ] {
            assert_eq!(&*of(address).address, shown);
            assert!(of(address).is_at(address.parse().unwrap()));
        }
        assert_eq!(of("2001:db8::1"), of("2001:db8::2"));
        let odd = Fetcher::new("127.0.0.1".parse().unwrap(), &format!(" a\u{1b}[31m\u{e9}{}", "x".repeat(200)));
        assert_eq!(odd.user_agent.len(), MAX_USER_AGENT);
        assert!(odd.user_agent.starts_with("a?[31m?x"));
    }

    #[test]
    fn who_has_seen_a_key() {
        let record = |agent: &str, kid: Option<&str>, at| FetchRecord {
            fetcher: Fetcher::new("127.0.0.1".parse().unwrap(), agent),
            kid: kid.map(Kid::from),
            count: at,
            last_at: Timestamp(at),
        };
        let fetchers = Fetchers::of(vec![
            record("a", Some("1"), 5),
            record("a", Some("2"), 3),
            record("b", Some("1"), 4),
            record("c", None, 9),
        ]);
        assert_eq!(fetchers.have_seen(&"1".into()), (2, 2));
        assert_eq!(fetchers.have_seen(&"2".into()), (1, 2), "who reads only the document fetches no keys");
        assert_eq!(fetchers.have_seen(&"3".into()), (0, 2));
        let a = fetchers.0.values().next().unwrap();
        assert_eq!((a.count, a.last_at, a.client_document), (5, Timestamp(5), false));
        assert_eq!(Fetchers::default().have_seen(&"1".into()), (0, 0));
    }
}

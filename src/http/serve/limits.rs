//! How much of everything a server takes at the same time, and for how long.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use ipnet::IpNet;

/// Connections at the same time, where the system allows as many descriptors.
const CONNECTIONS: usize = 4096;
/// Connections from one address at least, even where there are few in all: a browser opens six.
const PER_ADDRESS: usize = 16;

/// What a server bounds its connections by.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at the same time. Beyond, those that have waited longest for their peer make room.
    pub connections: usize,
    /// Those from one address.
    pub per_address: usize,
    /// Proxies: whoever comes through them has no address of their own here, so only `connections` bounds them.
    pub trusted_proxies: Vec<IpNet>,
    /// Time for the head of a request from its first byte on.
    pub head: Duration,
    /// Time between two requests: longer than the minute after which proxies close, so that they do it first.
    pub idle: Duration,
    /// Time without any progress while an answer is being taken.
    pub stalled: Duration,
    /// Age of a request, from its head to the last byte of its answer.
    pub exchange: Duration,
    /// Time in which a peer may close a connection that we are done with.
    pub farewell: Duration,
    /// Whoever has not kept us waiting for this long is the last to make room for others.
    pub young: Duration,
    /// Once the end has been asked for: time for the next request on a connection that is kept, which is answered as the last.
    pub last_request: Duration,
    /// Once the end has been asked for: time for everything.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: CONNECTIONS,
            per_address: CONNECTIONS / 8,
            trusted_proxies: Vec::new(),
            head: Duration::from_secs(15),
            idle: Duration::from_secs(75),
            stalled: Duration::from_secs(15),
            exchange: Duration::from_mins(2),
            farewell: Duration::from_secs(2),
            young: Duration::from_secs(1),
            last_request: Duration::from_secs(3),
            grace: Duration::from_secs(18),
        }
    }
}

impl Limits {
    /// For a process that may spend so many descriptors on connections.
    #[must_use]
    pub fn within(descriptors: usize) -> Self {
        let connections = descriptors.clamp(1, CONNECTIONS);
        Self { connections, per_address: (connections / 8).max(PER_ADDRESS).min(connections), ..Self::default() }
    }

    /// The same behind proxies.
    #[must_use]
    pub fn behind(self, trusted_proxies: Vec<IpNet>) -> Self {
        Self { trusted_proxies, ..self }
    }

    /// Whose a connection is, if that counts. One IPv6 customer has a whole /64.
    pub(super) fn owner(&self, peer: IpAddr) -> Option<IpAddr> {
        let peer = peer.to_canonical();
        let direct = !self.trusted_proxies.iter().any(|proxies| proxies.contains(&peer));
        direct.then_some(match peer {
            IpAddr::V4(_) => peer,
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
        })
    }

    /// How often to look for what has taken too long.
    pub(super) fn look(&self) -> Duration {
        let all = [self.head, self.idle, self.stalled, self.exchange, self.farewell, self.last_request];
        let shortest = all.into_iter().min().unwrap_or_default();
        (shortest / 4).clamp(Duration::from_millis(5), Duration::from_secs(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_a_connection_is() {
        let limits = Limits::default().behind(vec!["10.0.0.0/8".parse().unwrap()]);
        let owner = |ip: &str| limits.owner(ip.parse().unwrap()).map(|ip| ip.to_string());
        assert_eq!(owner("192.0.2.1").as_deref(), Some("192.0.2.1"));
        assert_eq!(owner("::ffff:192.0.2.1").as_deref(), Some("192.0.2.1"));
        assert_eq!(owner("2001:db8:1:2:3:4:5:6").as_deref(), Some("2001:db8:1:2::"));
        assert_eq!(owner("10.1.2.3"), None, "everybody comes through the proxy");
        assert_eq!(owner("::ffff:10.1.2.3"), None);
    }

    #[test]
    fn few_descriptors_are_few_connections() {
        for (descriptors, all, one) in [(100_000, 4096, 512), (1000, 1000, 125), (64, 64, 16), (8, 8, 8), (0, 1, 1)] {
            let limits = Limits::within(descriptors);
            assert_eq!((limits.connections, limits.per_address), (all, one), "{descriptors}");
        }
    }
}

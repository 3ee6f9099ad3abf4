//! The rules of who may be called: the operator's policy, the judgement of an address, and the resolver that applies it
//! to names.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::vec;

use hyper_util::client::legacy::connect::dns::Name;
use ipnet::IpNet;
use tokio::sync::Semaphore;
use tower_service::Service;
use url::{Host, Url};

use super::{Cause, address};

/// Names looked up at a time. The system's resolver blocks a thread for as long as somebody else's name server likes,
/// and those threads also hash passwords.
const LOOKUPS: usize = 32;

/// What the operator opens beyond the public internet; the default opens nothing.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Reach loopback and private ranges (RFC 1918, RFC 4193) as well: development and tests.
    pub allow_private_addresses: bool,
    /// Networks to reach as well, whatever they are, over http too. Never one that holds link-local, multicast,
    /// unspecified or broadcast addresses.
    pub allowed_networks: Vec<IpNet>,
}

/// Why a call was not made. Written for the operator's log: to tell a caller which address a name has would answer
/// questions about the inner network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Neither https nor http.
    #[error("only https and http URLs are called")]
    Scheme,
    /// The URL has no host.
    #[error("the URL has no host")]
    NoHost,
    /// The URL carries a user name or password.
    #[error("the URL carries a user name or password")]
    Userinfo,
    /// The address belongs to no network that may be reached.
    #[error("address {0} is not public, and no setting allows it")]
    Address(IpAddr),
    /// Plain http to somewhere that is neither loopback nor in an allowed network.
    #[error("plain http is spoken only to loopback, when private addresses are allowed, and to allowed networks")]
    Plaintext,
    /// A configured network that may never be allowed.
    #[error(
        "network {0} cannot be allowed: it holds link-local, multicast, unspecified, broadcast or v4-mapped addresses"
    )]
    Network(IpNet),
}

/// How the bytes travel; each way has a client, and so a connection pool, of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Tls,
    Plain,
}

/// Looks a name up; blocks. A parameter, so that tests name the addresses.
pub(super) type Lookup = Arc<dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync>;

/// The system's resolver.
pub(super) fn system_lookup() -> Lookup {
    Arc::new(|name| Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect()))
}

impl Policy {
    /// Refuses a policy that would open what must stay closed.
    pub(super) fn check(&self) -> Result<(), Denied> {
        match self.allowed_networks.iter().find(|network| address::touches_closed(network)) {
            Some(network) => Err(Denied::Network(*network)),
            None => Ok(()),
        }
    }

    /// Judges what can be judged before any name is resolved. Literal addresses are judged here and nowhere else:
    /// the HTTP client dials them without asking its resolver.
    pub(super) fn admit(&self, url: &Url) -> Result<Way, Denied> {
        let way = match url.scheme() {
            "https" => Way::Tls,
            "http" => Way::Plain,
            _ => return Err(Denied::Scheme),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Denied::Userinfo);
        }
        match url.host().ok_or(Denied::NoHost)? {
            Host::Ipv4(ip) => self.judge(ip.into(), way)?,
            Host::Ipv6(ip) => self.judge(ip.into(), way)?,
            // Nothing that http may reach is open, so the name need not even be asked for.
            Host::Domain(_) if way == Way::Plain && !self.opens_anything() => return Err(Denied::Plaintext),
            Host::Domain(_) => {}
        }
        Ok(way)
    }

    /// Judges one address that is about to be dialled.
    fn judge(&self, ip: IpAddr, way: Way) -> Result<(), Denied> {
        let ip = ip.to_canonical();
        if address::is_closed(ip) {
            return Err(Denied::Address(ip));
        }
        if self.allowed_networks.iter().any(|network| network.contains(&ip)) {
            return Ok(());
        }
        let private = self.allow_private_addresses && address::is_private(ip);
        if !private && !address::is_public(ip) {
            return Err(Denied::Address(ip));
        }
        if way == Way::Plain && !ip.is_loopback() {
            return Err(Denied::Plaintext);
        }
        Ok(())
    }

    fn opens_anything(&self) -> bool {
        self.allow_private_addresses || !self.allowed_networks.is_empty()
    }
}

/// Resolves names for one way out and hands on judged addresses only, so that the address judged is the address
/// dialled. One forbidden address among several refuses the name: an honest name has none.
#[derive(Clone)]
pub(super) struct Guard {
    policy: Arc<Policy>,
    way: Way,
    lookup: Lookup,
    slots: Arc<Semaphore>,
}

impl Guard {
    pub(super) fn new(policy: Arc<Policy>, way: Way, lookup: Lookup) -> Self {
        Self { policy, way, lookup, slots: Arc::new(Semaphore::new(LOOKUPS)) }
    }
}

/// The name has none, or nobody knows one.
#[derive(Debug, thiserror::Error)]
#[error("the name has no address")]
pub(super) struct NoAddress(#[source] Option<io::Error>);

impl Guard {
    async fn resolve(self, name: Name) -> Result<Vec<IpAddr>, Cause> {
        let Self { policy, way, lookup, slots } = self;
        let permit = slots.acquire_owned().await?;
        // The permit moves into the thread: a caller that gives up does not free the thread it waited for.
        let found = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            lookup(name.as_str())
        });
        let addresses = found.await?.map_err(|e| NoAddress(Some(e)))?;
        if addresses.is_empty() {
            return Err(NoAddress(None).into());
        }
        addresses.iter().try_for_each(|ip| policy.judge(*ip, way))?;
        Ok(addresses)
    }
}

impl Service<Name> for Guard {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = Cause;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Cause>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let found = self.clone().resolve(name);
        Box::pin(async move {
            let dialled: Vec<SocketAddr> = found.await?.into_iter().map(|ip| SocketAddr::new(ip, 0)).collect();
            Ok(dialled.into_iter())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> Policy {
        Policy { allow_private_addresses: true, allowed_networks: Vec::new() }
    }

    fn intranet() -> Policy {
        let allowed_networks = vec!["10.20.0.0/16".parse().unwrap(), "100.64.0.0/10".parse().unwrap()];
        Policy { allow_private_addresses: false, allowed_networks }
    }

    fn nat64() -> Policy {
        Policy { allow_private_addresses: false, allowed_networks: vec!["64:ff9b::/96".parse().unwrap()] }
    }

    fn admit(policy: &Policy, url: &str) -> Result<Way, Denied> {
        policy.admit(&Url::parse(url).unwrap())
    }

    fn address(text: &str) -> Result<Way, Denied> {
        Err(Denied::Address(text.parse().unwrap()))
    }

    #[test]
    fn urls_are_judged_before_any_name_is_asked_for() {
        let closed = Policy::default();
        let table = [
            ("public https", &closed, "https://service.example/x", Ok(Way::Tls)),
            ("public literal", &closed, "https://8.8.8.8/", Ok(Way::Tls)),
            ("odd port", &closed, "https://service.example:8443/", Ok(Way::Tls)),
            ("http name", &closed, "http://service.example/", Err(Denied::Plaintext)),
            ("http literal", &closed, "http://8.8.8.8/", Err(Denied::Plaintext)),
            ("http literal, open", &open(), "http://8.8.8.8/", Err(Denied::Plaintext)),
            ("other scheme", &open(), "ftp://service.example/", Err(Denied::Scheme)),
            ("file", &open(), "file:///etc/passwd", Err(Denied::Scheme)),
            ("user", &open(), "https://user@service.example/", Err(Denied::Userinfo)),
            ("password", &open(), "https://:secret@service.example/", Err(Denied::Userinfo)),
            ("loopback", &closed, "https://127.0.0.1/", address("127.0.0.1")),
            ("loopback v6", &closed, "https://[::1]/", address("::1")),
            ("hexadecimal", &closed, "http://0x7f.1/", address("127.0.0.1")),
            ("decimal", &closed, "http://2130706433/", address("127.0.0.1")),
            ("octal", &closed, "http://0177.0.0.1/", address("127.0.0.1")),
            ("trailing dot", &closed, "http://127.0.0.1./", address("127.0.0.1")),
            ("full-width digits", &closed, "https://１２７.0.0.1/", address("127.0.0.1")),
            ("mapped", &closed, "http://[::ffff:127.0.0.1]/", address("127.0.0.1")),
            ("mapped, open", &open(), "http://[::ffff:127.0.0.1]/", Ok(Way::Plain)),
            ("loopback http, open", &open(), "http://127.0.0.1:8000/", Ok(Way::Plain)),
            ("loopback v6 http, open", &open(), "http://[::1]:8000/", Ok(Way::Plain)),
            ("private https, open", &open(), "https://10.0.0.1/", Ok(Way::Tls)),
            ("private http, open", &open(), "http://10.0.0.1/", Err(Denied::Plaintext)),
            ("shared space, open", &open(), "https://100.64.0.1/", address("100.64.0.1")),
            ("link-local, open", &open(), "https://169.254.169.254/", address("169.254.169.254")),
            ("link-local v6, open", &open(), "https://[fe80::1]/", address("fe80::1")),
            ("link-local mapped, open", &open(), "https://[::ffff:169.254.169.254]/", address("169.254.169.254")),
            ("unspecified, open", &open(), "http://0.0.0.0:8000/", address("0.0.0.0")),
            ("unspecified v6, open", &open(), "http://[::]:8000/", address("::")),
            ("multicast, open", &open(), "https://224.0.0.1/", address("224.0.0.1")),
            ("broadcast, open", &open(), "https://255.255.255.255/", address("255.255.255.255")),
            ("metadata in a private range, open", &open(), "https://[fd00:ec2::254]/", address("fd00:ec2::254")),
            (
                "link-local behind a listed NAT64",
                &nat64(),
                "https://[64:ff9b::a9fe:a9fe]/",
                address("64:ff9b::a9fe:a9fe"),
            ),
            ("public behind a listed NAT64", &nat64(), "https://[64:ff9b::808:808]/", Ok(Way::Tls)),
            ("listed https", &intranet(), "https://10.20.1.1/", Ok(Way::Tls)),
            ("listed http", &intranet(), "http://10.20.1.1/", Ok(Way::Plain)),
            ("beside the listed", &intranet(), "https://10.21.0.1/", address("10.21.0.1")),
            ("loopback is not listed", &intranet(), "http://127.0.0.1/", address("127.0.0.1")),
            ("listed special", &intranet(), "https://100.64.0.1/", Ok(Way::Tls)),
        ];
        for (name, policy, url, expected) in table {
            assert_eq!(admit(policy, url), expected, "{name}");
        }
    }

    #[test]
    fn a_network_that_must_stay_closed_is_refused() {
        for network in ["169.254.169.254/32", "0.0.0.0/0", "fe80::/10", "::/0"] {
            let network: IpNet = network.parse().unwrap();
            let policy = Policy { allow_private_addresses: false, allowed_networks: vec![network] };
            assert_eq!(policy.check(), Err(Denied::Network(network)));
        }
        assert_eq!(intranet().check(), Ok(()));
    }

    async fn resolve(
        policy: Policy,
        way: Way,
        addresses: &'static [&'static str],
    ) -> Result<Vec<String>, Option<Denied>> {
        let lookup: Lookup = Arc::new(move |_| Ok(addresses.iter().map(|ip| ip.parse().unwrap()).collect()));
        let mut guard = Guard::new(Arc::new(policy), way, lookup);
        match guard.call("service.example".parse().unwrap()).await {
            Ok(dialled) => Ok(dialled.map(|address| address.ip().to_string()).collect()),
            Err(error) => Err(error.downcast_ref().cloned()),
        }
    }

    #[tokio::test]
    async fn every_resolved_address_is_judged() {
        let denied = |ip: &str| Err(Some(Denied::Address(ip.parse().unwrap())));
        let both: &[&str] = &["8.8.8.8", "2606:4700::1111"];
        let kept = || Ok(both.iter().map(ToString::to_string).collect());
        assert_eq!(resolve(Policy::default(), Way::Tls, both).await, kept());
        assert_eq!(resolve(Policy::default(), Way::Tls, &["8.8.8.8", "10.0.0.1"]).await, denied("10.0.0.1"));
        assert_eq!(resolve(Policy::default(), Way::Tls, &["127.0.0.1", "8.8.8.8"]).await, denied("127.0.0.1"));
        assert_eq!(
            resolve(open(), Way::Tls, &["8.8.8.8", "10.0.0.1"]).await,
            Ok(vec!["8.8.8.8".into(), "10.0.0.1".into()])
        );
        assert_eq!(resolve(open(), Way::Tls, &["169.254.169.254"]).await, denied("169.254.169.254"));
        assert_eq!(
            resolve(open(), Way::Plain, &["127.0.0.1", "::1"]).await,
            Ok(vec!["127.0.0.1".into(), "::1".into()])
        );
        assert_eq!(resolve(open(), Way::Plain, &["127.0.0.1", "8.8.8.8"]).await, Err(Some(Denied::Plaintext)));
        assert_eq!(resolve(intranet(), Way::Plain, &["10.20.0.1"]).await, Ok(vec!["10.20.0.1".into()]));
        assert_eq!(resolve(intranet(), Way::Plain, &["8.8.8.8"]).await, Err(Some(Denied::Plaintext)));
        assert_eq!(resolve(Policy::default(), Way::Tls, &[]).await, Err(None));
    }
}

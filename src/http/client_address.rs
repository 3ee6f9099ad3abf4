//! The address at the other end, past our own proxies.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap};

use crate::host::Host;

/// What only a proxy says, and some proxies say no more than one of.
const OF_PROXIES: [&str; 6] =
    ["forwarded", "x-forwarded-for", "x-real-ip", "x-forwarded-proto", "x-forwarded-host", "via"];

/// The address a request came from, past proxies that are trusted. None where it is a proxy's that nobody has declared: what is counted by
/// that would be counted against everybody.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClientAddress(pub(super) Option<IpAddr>);

impl FromRequestParts<Host> for ClientAddress {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, host: &Host) -> Result<Self, Self::Rejection> {
        let peer = peer(&parts.extensions);
        // Where some proxy is trusted, whoever comes past it does not get rid of their address by a header.
        let own =
            peer.filter(|peer| !host.trusted_proxies.is_empty() || !is_undeclared_proxy(host, *peer, &parts.headers));
        Ok(Self(own.map(|peer| behind_proxies(host, peer, &parts.headers))))
    }
}

/// The address that a request came from, past proxies that are trusted.
pub(super) fn of(host: &Host, request: &Request) -> Option<IpAddr> {
    let (peer, headers) = (peer(request.extensions())?, request.headers());
    if !host.proxy_missed.is_completed() && is_undeclared_proxy(host, peer, headers) {
        host.proxy_missed.call_once(|| {
            tracing::warn!(
                %peer,
                "requests come by a proxy that trusted_proxies does not name: all users seem to have its address"
            );
        });
    }
    Some(behind_proxies(host, peer, headers))
}

/// Whether a request seems to have come by a proxy that is not trusted. An https issuer is always behind something that ends TLS.
fn is_undeclared_proxy(host: &Host, peer: IpAddr, headers: &HeaderMap) -> bool {
    host.root.is_https()
        && is_near(peer)
        && !is_trusted(host, peer)
        && OF_PROXIES.iter().any(|name| headers.contains_key(*name))
}

/// Whether an address is this machine's or of a network that people number themselves (RFC 1918, 3927, 4193, 4291, 6598).
fn is_near(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let is_shared = ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64;
            ip.is_loopback() || ip.is_private() || ip.is_link_local() || is_shared
        }
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// Whether a proxy that is trusted passed a request on.
pub(super) fn is_trusted_proxy(host: &Host, request: &Request) -> bool {
    peer(request.extensions()).is_some_and(|peer| is_trusted(host, peer))
}

fn peer(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<SocketAddr>().map(SocketAddr::ip)
}

fn is_trusted(host: &Host, ip: IpAddr) -> bool {
    host.trusted_proxies.iter().any(|net| net.contains(&ip.to_canonical()))
}

/// The client as trusted proxies report it. A proxy writes one of the two headers; a client may have sent the other to be passed on, so
/// where both are and differ, neither is believed.
fn behind_proxies(host: &Host, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    let trusted = |ip: &IpAddr| is_trusted(host, *ip);
    if !trusted(&peer) {
        return peer;
    }
    let line = |name: &str| headers.get_all(name).iter().filter_map(|v| v.to_str().ok()).collect::<Vec<_>>().join(",");
    let (plain, standard) = (line("x-forwarded-for"), line("forwarded"));
    let plain = (!plain.is_empty()).then(|| walk(peer, plain.split(',').map(node), &trusted));
    let standard = (!standard.is_empty()).then(|| walk(peer, standard.split(',').map(forwarded_for), &trusted));
    match (plain, standard) {
        (Some(a), Some(b)) if a != b => peer,
        (Some(ip), _) | (None, Some(ip)) => ip,
        (None, None) => peer,
    }
}

/// Goes back from the end, where our own proxy wrote, to the first address that is none of ours.
fn walk(
    peer: IpAddr,
    hops: impl DoubleEndedIterator<Item = Option<IpAddr>>,
    trusted: &impl Fn(&IpAddr) -> bool,
) -> IpAddr {
    let mut client = peer;
    for hop in hops.rev() {
        let Some(ip) = hop else { break };
        client = ip;
        if !trusted(&ip) {
            break;
        }
    }
    client
}

/// The `for` of one element of `Forwarded` (RFC 7239 section 4 and 6).
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let pairs = element.split(';').filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("for"))?;
    node(value.trim_matches('"'))
}

/// An address, perhaps in brackets, perhaps with a port.
fn node(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.split(']').next()).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes() {
        let ip = |t: &str| Some(t.parse().unwrap());
        for (text, expected) in [
            ("192.0.2.1", ip("192.0.2.1")),
            (" 192.0.2.1:80", ip("192.0.2.1")),
            ("[2001:db8::1]:80", ip("2001:db8::1")),
            ("2001:db8::1", ip("2001:db8::1")),
            ("unknown", None),
            ("_hidden", None),
        ] {
            assert_eq!(node(text), expected, "{text}");
        }
        assert_eq!(forwarded_for(r#"proto=https;For="[2001:db8::1]:4711";by=203.0.113.43"#), ip("2001:db8::1"));
        assert_eq!(forwarded_for("proto=https"), None);
    }

    #[test]
    fn near_and_far() {
        let near = |ip: &str| is_near(ip.parse().unwrap());
        for ip in ["127.0.0.1", "10.1.2.3", "172.31.0.1", "192.168.0.1", "169.254.1.1", "100.64.0.1", "100.127.0.1"] {
            assert!(near(ip) && near(&format!("::ffff:{ip}")), "{ip}");
        }
        assert!(near("::1") && near("fd00::1") && near("fe80::1"));
        for ip in ["100.128.0.1", "100.63.0.1", "172.32.0.1", "203.0.113.7", "2001:db8::1", "::ffff:8.8.8.8"] {
            assert!(!near(ip), "{ip}");
        }
    }

    #[test]
    fn only_what_our_own_proxies_wrote_counts() {
        let ours = |ip: &IpAddr| ip.to_string().starts_with("10.");
        let peer: IpAddr = "10.0.0.1".parse().unwrap();
        let back = |line: &str| walk(peer, line.split(',').map(node), &ours).to_string();
        assert_eq!(back("192.0.2.1"), "192.0.2.1");
        assert_eq!(
            back("198.51.100.9, 192.0.2.1, 10.0.0.2"),
            "192.0.2.1",
            "what stands before it is the client's own word"
        );
        assert_eq!(back("198.51.100.9, unknown"), "10.0.0.1");
    }
}

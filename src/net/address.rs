//! Which addresses are the public internet, by the IANA special-purpose registries (RFC 6890, RFC 8190 and successors).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Every special-purpose block of IPv4. Blocks with a few globally reachable addresses inside (192.0.0.9, 192.0.0.10)
/// are refused whole: nobody serves documents from them.
const SPECIAL_V4: [Ipv4Net; 19] = [
    v4([0, 0, 0, 0], 8),          // this network, RFC 791 section 3.2
    v4([10, 0, 0, 0], 8),         // private use, RFC 1918
    v4([100, 64, 0, 0], 10),      // carrier-grade NAT, RFC 6598
    v4([127, 0, 0, 0], 8),        // loopback, RFC 1122 section 3.2.1.3
    v4([169, 254, 0, 0], 16),     // link local, RFC 3927; the metadata services of clouds
    v4([172, 16, 0, 0], 12),      // private use, RFC 1918
    v4([192, 0, 0, 0], 24),       // IETF protocol assignments, RFC 6890
    v4([192, 0, 2, 0], 24),       // TEST-NET-1, RFC 5737
    v4([192, 31, 196, 0], 24),    // AS112, RFC 7535
    v4([192, 52, 193, 0], 24),    // AMT, RFC 7450
    v4([192, 88, 99, 0], 24),     // 6to4 relay anycast, deprecated by RFC 7526
    v4([192, 168, 0, 0], 16),     // private use, RFC 1918
    v4([192, 175, 48, 0], 24),    // AS112 direct delegation, RFC 7534
    v4([198, 18, 0, 0], 15),      // benchmarking, RFC 2544
    v4([198, 51, 100, 0], 24),    // TEST-NET-2, RFC 5737
    v4([203, 0, 113, 0], 24),     // TEST-NET-3, RFC 5737
    v4([224, 0, 0, 0], 4),        // multicast, RFC 5771
    v4([240, 0, 0, 0], 4),        // reserved, RFC 1112 section 4
    v4([255, 255, 255, 255], 32), // limited broadcast, RFC 919; inside the block above, listed as the registry lists it
];

/// The only block of IPv6 that is given out for global unicast (RFC 4291 section 2.4 and the IANA address space registry).
/// What is outside is refused without a line of its own: ::, ::1, v4-compatible ::/96, v4-mapped ::ffff:0:0/96,
/// 64:ff9b::/96 and 64:ff9b:1::/48 (NAT64), 100::/64 (discard), 5f00::/16 (segment routing), fc00::/7 (unique local),
/// fe80::/10 (link local), fec0::/10 (site local), ff00::/8 (multicast), and whatever is assigned next.
const GLOBAL_V6: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// The special-purpose blocks inside [`GLOBAL_V6`].
const SPECIAL_V6: [Ipv6Net; 5] = [
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), // IETF protocol assignments, RFC 2928: Teredo, benchmarking, ORCHID, AMT …
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), // documentation, RFC 3849
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16), // 6to4, RFC 3056: carries any IPv4 address inside
    v6([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48), // AS112 direct delegation, RFC 7534
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), // documentation, RFC 9637
];

/// What `allow_private_addresses` opens: this machine and the networks people number themselves.
const PRIVATE: [IpNet; 6] = [
    IpNet::V4(v4([127, 0, 0, 0], 8)),
    IpNet::V4(v4([10, 0, 0, 0], 8)),
    IpNet::V4(v4([172, 16, 0, 0], 12)),
    IpNet::V4(v4([192, 168, 0, 0], 16)),
    IpNet::V6(v6([0, 0, 0, 0, 0, 0, 0, 1], 128)),
    IpNet::V6(v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7)),
];

/// What no setting opens. Link-local is where clouds hand out a machine's credentials; the others name no single host.
/// A v4-mapped network would match nothing, because addresses are compared in their IPv4 form; it is a mistake.
const CLOSED: [IpNet; 8] = [
    IpNet::V4(v4([0, 0, 0, 0], 8)),
    IpNet::V4(v4([169, 254, 0, 0], 16)),
    IpNet::V4(v4([224, 0, 0, 0], 4)),
    IpNet::V4(v4([255, 255, 255, 255], 32)),
    IpNet::V6(v6([0, 0, 0, 0, 0, 0, 0, 0], 128)),
    IpNet::V6(v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96)),
    IpNet::V6(v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10)),
    IpNet::V6(v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8)),
];

/// Clouds' credentials again, where they sit inside a range that may be allowed as a whole.
const METADATA: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)];

const fn v4([a, b, c, d]: [u8; 4], prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(s: [u16; 8], prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]), prefix)
}

/// Whether an address belongs to the public internet: in no special-purpose block of the IANA registries
/// (RFC 6890 section 2.2). An IPv4 address mapped into IPv6 is judged as the IPv4 address it is.
#[must_use]
pub fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => !SPECIAL_V4.iter().any(|block| block.contains(&ip)),
        IpAddr::V6(ip) => GLOBAL_V6.contains(&ip) && !SPECIAL_V6.iter().any(|block| block.contains(&ip)),
    }
}

/// Whether an address is this machine's or of a private range (RFC 1918, RFC 4193).
pub(super) fn is_private(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    PRIVATE.iter().any(|block| block.contains(&ip))
}

/// Whether an address stays out of reach whatever the settings say: link-local, multicast, unspecified, broadcast,
/// a cloud's metadata service, or a translated form (RFC 6052, RFC 3056) of one of these.
pub(super) fn is_closed(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    let embedded = match ip {
        IpAddr::V4(_) => None,
        IpAddr::V6(ip) => embedded(ip).map(IpAddr::V4),
    };
    CLOSED.iter().any(|block| block.contains(&ip) || embedded.is_some_and(|ip| block.contains(&ip)))
        || matches!(ip, IpAddr::V6(ip) if METADATA.contains(&ip))
}

/// Whether a network holds any address of a block that no setting may open.
pub(super) fn touches_closed(network: &IpNet) -> bool {
    CLOSED.iter().any(|block| block.contains(network) || network.contains(block))
}

/// The IPv4 address inside a NAT64 (64:ff9b::/96) or 6to4 (2002::/16) address.
fn embedded(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let o = ip.octets();
    match ip.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => Some(Ipv4Addr::new(o[12], o[13], o[14], o[15])),
        [0x2002, ..] => Some(Ipv4Addr::new(o[2], o[3], o[4], o[5])),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The registries once more, as text, so that a line lost above is found here.
    const SPECIAL: &[&str] = &[
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "255.255.255.255/32",
        "::/128",
        "::1/128",
        "::/96",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "100::/64",
        "100:0:0:1::/64",
        "2001::/23",
        "2001::/32",
        "2001:2::/48",
        "2001:10::/28",
        "2001:20::/28",
        "2001:db8::/32",
        "2002::/16",
        "2620:4f:8000::/48",
        "3fff::/20",
        "5f00::/16",
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    ];

    fn number(ip: IpAddr) -> u128 {
        match ip {
            IpAddr::V4(ip) => u128::from(ip.to_bits()),
            IpAddr::V6(ip) => ip.to_bits(),
        }
    }

    fn address(like: IpAddr, number: u128) -> Option<IpAddr> {
        match like {
            IpAddr::V4(_) => u32::try_from(number).ok().map(|n| Ipv4Addr::from_bits(n).into()),
            IpAddr::V6(_) => Some(Ipv6Addr::from_bits(number).into()),
        }
    }

    #[test]
    fn every_special_block_is_refused_from_first_to_last_and_its_neighbours_are_judged_on_their_own() {
        let blocks: Vec<IpNet> = SPECIAL.iter().map(|text| text.parse().unwrap()).collect();
        let special = |ip: IpAddr| {
            blocks.iter().any(|block| block.contains(&ip))
                || matches!(ip, IpAddr::V6(ip) if ip.segments()[0] >> 13 != 1)
        };
        let mut public_neighbours = 0;
        for block in &blocks {
            let (first, last) = (block.network(), block.broadcast());
            assert!(!is_public(first) && !is_public(last), "{block}");
            if let IpAddr::V4(first) = first {
                assert!(!is_public(first.to_ipv6_mapped().into()), "mapped {block}");
            }
            let outside = [number(first).checked_sub(1), number(last).checked_add(1)];
            for ip in outside.into_iter().flatten().filter_map(|n| address(first, n)) {
                assert_eq!(is_public(ip), !special(ip), "{ip}, beside {block}");
                public_neighbours += usize::from(is_public(ip));
            }
        }
        assert_eq!(public_neighbours, 43, "32 of IPv4, 11 of IPv6, counted by hand: the walk is not vacuous");
    }

    #[test]
    fn ordinary_addresses_are_public() {
        for ip in ["1.1.1.1", "8.8.8.8", "100.63.255.255", "223.255.255.255", "2606:4700::1111", "2a00::1"] {
            assert!(is_public(ip.parse().unwrap()), "{ip}");
        }
        assert!(is_public("::ffff:8.8.8.8".parse().unwrap()), "mapped public");
        for ip in ["4000::1", "1fff:ffff::1", "::7f00:1", "::ffff:127.0.0.1", "64:ff9b::808:808"] {
            assert!(!is_public(ip.parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn private_is_what_people_number_themselves() {
        let yes = ["127.0.0.1", "127.255.255.255", "10.1.2.3", "172.31.0.1", "192.168.1.1", "::1", "fd00::1"];
        let mapped = ["::ffff:10.0.0.1", "::ffff:127.0.0.1"];
        for ip in yes.iter().chain(&mapped) {
            assert!(is_private(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["100.64.0.1", "169.254.1.1", "172.32.0.1", "192.0.2.1", "8.8.8.8", "fe80::1", "::", "::2"] {
            assert!(!is_private(ip.parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn some_addresses_stay_closed() {
        let closed = [
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "224.0.0.1",
            "239.255.255.255",
            "255.255.255.255",
            "::",
            "fe80::1",
            "febf::1",
            "ff02::1",
            "::ffff:169.254.169.254",
            "64:ff9b::169.254.169.254",
            "2002:a9fe:a9fe::1",
            "fd00:ec2::254",
            "fd20:ce::254",
        ];
        for ip in closed {
            assert!(is_closed(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["127.0.0.1", "::1", "10.0.0.1", "8.8.8.8", "64:ff9b::808:808", "2002:808:808::1", "fd00::1"] {
            assert!(!is_closed(ip.parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn a_network_that_touches_a_closed_block_is_known() {
        let touching = [
            "169.254.0.0/16",
            "169.254.169.254/32",
            "168.0.0.0/7",
            "0.0.0.0/0",
            "::/0",
            "fe80::/64",
            "::ffff:10.0.0.0/104",
        ];
        for network in touching {
            assert!(touches_closed(&network.parse().unwrap()), "{network}");
        }
        for network in ["10.0.0.0/8", "127.0.0.0/8", "100.64.0.0/10", "fd00::/8", "::1/128", "64:ff9b::/96"] {
            assert!(!touches_closed(&network.parse().unwrap()), "{network}");
        }
    }
}

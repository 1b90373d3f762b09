//! Which addresses the hub may connect to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How far the hub's calls may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Public addresses over https only: the default.
    PublicOnly,
    /// Anything, plain http and loopback included: `servicenow.allow_private_networks`, for tests
    /// and instances on the operator's own premises.
    PrivateAllowed,
}

/// An address that the hub refuses to connect to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{address} is not a public address ({why})")]
pub struct Forbidden {
    /// The refused address.
    pub address: IpAddr,
    /// The kind of address it is.
    pub why: &'static str,
}

/// IPv4 networks that are not public, from the IANA special-purpose registry, and the addresses at
/// which clouds serve credentials. Network, prefix length, name.
const FORBIDDEN_V4: &[(Ipv4Addr, u32, &str)] = &[
    (Ipv4Addr::UNSPECIFIED, 8, "unspecified, this network"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "private"),
    (Ipv4Addr::new(100, 64, 0, 0), 10, "carrier-grade nat"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "loopback"),
    (Ipv4Addr::new(168, 63, 129, 16), 32, "cloud metadata"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, "link-local, cloud metadata"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "private"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "protocol assignments"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, "documentation"),
    (Ipv4Addr::new(192, 88, 99, 0), 24, "6to4 relay"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "private"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "benchmarking"),
    (Ipv4Addr::new(198, 51, 100, 0), 24, "documentation"),
    (Ipv4Addr::new(203, 0, 113, 0), 24, "documentation"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "multicast"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "reserved, broadcast"),
];

/// IPv6 networks that are not public, or hold an IPv4 address that the network in between may
/// unwrap. The last row is the default: whatever is not global unicast (`2000::/3`) is refused.
const FORBIDDEN_V6: &[(Ipv6Addr, u32, &str)] = &[
    (Ipv6Addr::UNSPECIFIED, 128, "unspecified"),
    (Ipv6Addr::LOCALHOST, 128, "loopback"),
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96, "ipv4-mapped"),
    (Ipv6Addr::UNSPECIFIED, 96, "ipv4-compatible"),
    (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96, "nat64"),
    (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48, "nat64"),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32, "teredo"),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, "protocol assignments"),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, "documentation"),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, "6to4"),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, "documentation"),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, "unique-local, cloud metadata"),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, "link-local"),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, "site-local"),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, "multicast"),
    (Ipv6Addr::UNSPECIFIED, 3, "not global unicast"),
    (Ipv6Addr::new(0x4000, 0, 0, 0, 0, 0, 0, 0), 2, "not global unicast"),
    (Ipv6Addr::new(0x8000, 0, 0, 0, 0, 0, 0, 0), 1, "not global unicast"),
];

/// Refuses every address that is not public, in whatever form it is written.
pub fn check_ip(address: IpAddr) -> Result<(), Forbidden> {
    let why = match address {
        IpAddr::V4(v4) => why_v4(v4),
        IpAddr::V6(v6) => why_v6(v6),
    };
    why.map_or(Ok(()), |why| Err(Forbidden { address, why }))
}

fn why_v4(address: Ipv4Addr) -> Option<&'static str> {
    let bits = u32::from(address);
    let within = |network: Ipv4Addr, prefix: u32| (bits ^ u32::from(network)) >> (32 - prefix) == 0;
    FORBIDDEN_V4.iter().find(|(network, prefix, _)| within(*network, *prefix)).map(|(_, _, why)| *why)
}

fn why_v6(address: Ipv6Addr) -> Option<&'static str> {
    let bits = u128::from(address);
    let within = |network: Ipv6Addr, prefix: u32| (bits ^ u128::from(network)) >> (128 - prefix) == 0;
    let listed = FORBIDDEN_V6.iter().find(|(network, prefix, _)| within(*network, *prefix));
    if let Some((_, _, why)) = listed {
        return Some(why);
    }
    // RFC 5214: the interface identifier `[02]00:5efe` is followed by an IPv4 address.
    let [.., identifier_high, identifier_low, _, _] = address.segments();
    (identifier_low == 0x5efe && identifier_high & !0x0200 == 0).then_some("isatap")
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: &[&str] = &[
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "10.255.255.255",
        "100.64.0.1",
        "100.100.100.200",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.254",
        "168.63.129.16",
        "169.254.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.7",
        "203.0.113.9",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::8.8.8.8",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:8.8.8.8",
        "::ffff:0:127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a00:1",
        "100::1",
        "2001::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:2::1",
        "2001:10::1",
        "2001:20::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "2002:a00:1::1",
        "2600:1f18::5efe:a00:1",
        "2600:1f18::200:5efe:7f00:1",
        "3fff::1",
        "4000::1",
        "5f00::1",
        "8000::1",
        "fc00::1",
        "fd00:ec2::254",
        "fd12:3456:789a::1",
        "fe80::1",
        "febf::1",
        "fe80::5efe:10.0.0.1",
        "fec0::1",
        "ff02::1",
    ];

    const TAKEN: &[&str] = &[
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.1",
        "100.63.255.255",
        "100.128.0.1",
        "126.255.255.255",
        "128.0.0.1",
        "148.139.1.1",
        "168.63.129.17",
        "169.253.255.255",
        "172.15.255.255",
        "172.32.0.1",
        "192.0.1.1",
        "192.167.255.255",
        "192.169.0.1",
        "198.17.255.255",
        "198.20.0.1",
        "223.255.255.255",
        "2001:200::1",
        "2001:4860:4860::8888",
        "2606:4700:4700::1111",
        "2a00:1450:4001::1",
        "3ffe::1",
    ];

    #[test]
    fn refuses_what_is_not_public() {
        for text in REFUSED {
            let address: IpAddr = text.parse().unwrap();
            assert!(check_ip(address).is_err(), "{text} was taken");
        }
    }

    #[test]
    fn takes_what_is_public() {
        for text in TAKEN {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(check_ip(address), Ok(()), "{text}");
        }
    }

    #[test]
    fn says_what_kind_of_address_it_is() {
        let forbidden = check_ip("169.254.169.254".parse().unwrap()).unwrap_err();
        assert_eq!(
            forbidden.to_string(),
            "169.254.169.254 is not a public address (link-local, cloud metadata)"
        );
    }
}

//! Hosts, as far as limits tell them apart.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

/// Who shares one host's limits: an IPv4 address, or the /64 of an IPv6 address, all of whose addresses one
/// customer of a provider has for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Host {
    V4(Ipv4Addr),
    V6([u16; 4]),
}

impl Host {
    pub(crate) fn of_ip(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip),
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.segments();
                Self::V6([a, b, c, d])
            }
        }
    }

    /// The host in an address's first part; none where that is no IP address.
    pub(crate) fn of(address: &Multiaddr) -> Option<Self> {
        match address.iter().next() {
            Some(Protocol::Ip4(ip)) => Some(Self::of_ip(IpAddr::V4(ip))),
            Some(Protocol::Ip6(ip)) => Some(Self::of_ip(IpAddr::V6(ip))),
            _ => None,
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(ip) => ip.fmt(formatter),
            Self::V6([a, b, c, d]) => write!(formatter, "{}/64", Ipv6Addr::new(*a, *b, *c, *d, 0, 0, 0, 0)),
        }
    }
}

//! Whose connections count together.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address of a network; its other bits are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::server) struct Network(pub IpAddr);

/// How many leading bits of an address name its network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prefixes {
    pub ipv4: u8,
    pub ipv6: u8,
}

impl Prefixes {
    /// The network of an address. An IPv4 address in IPv6 form is one of IPv4.
    pub fn network(self, addr: IpAddr) -> Network {
        match addr.to_canonical() {
            IpAddr::V4(addr) => Network(mask_v4(addr, self.ipv4).into()),
            IpAddr::V6(addr) => Network(mask_v6(addr, self.ipv6).into()),
        }
    }
}

/// Whether the address is in the network of this address and prefix length.
pub(super) fn contains((network, prefix): (IpAddr, u8), addr: IpAddr) -> bool {
    match (network.to_canonical(), addr.to_canonical()) {
        (IpAddr::V4(network), IpAddr::V4(addr)) => {
            mask_v4(network, prefix) == mask_v4(addr, prefix)
        }
        (IpAddr::V6(network), IpAddr::V6(addr)) => {
            mask_v6(network, prefix) == mask_v6(addr, prefix)
        }
        _ => false,
    }
}

fn mask_v4(addr: Ipv4Addr, prefix: u8) -> Ipv4Addr {
    let others = 32u32.saturating_sub(prefix.into());
    Ipv4Addr::from_bits(addr.to_bits() & u32::MAX.checked_shl(others).unwrap_or(0))
}

fn mask_v6(addr: Ipv6Addr, prefix: u8) -> Ipv6Addr {
    let others = 128u32.saturating_sub(prefix.into());
    Ipv6Addr::from_bits(addr.to_bits() & u128::MAX.checked_shl(others).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_of_one_prefix_are_one_network() {
        let both = |ipv4, ipv6, a, b| {
            let prefixes = Prefixes { ipv4, ipv6 };
            prefixes.network(ip(a)) == prefixes.network(ip(b))
        };
        assert!(both(32, 64, "2001:db8::1", "2001:db8::ffff:2"));
        assert!(!both(32, 64, "2001:db8::1", "2001:db8:0:1::1"));
        assert!(both(32, 48, "2001:db8::1", "2001:db8:0:1::1"));
        assert!(!both(32, 128, "2001:db8::1", "2001:db8::2"));
        assert!(both(32, 64, "::ffff:192.0.2.1", "192.0.2.1"));
        assert!(!both(32, 64, "192.0.2.1", "192.0.2.2"));
        assert!(both(24, 64, "192.0.2.1", "192.0.2.2"));
    }

    #[test]
    fn a_prefix_of_no_bits_has_every_address_of_its_family() {
        assert!(contains((ip("10.0.0.0"), 0), ip("192.0.2.1")));
        assert!(!contains((ip("10.0.0.0"), 0), ip("2001:db8::1")));
        assert!(contains((ip("10.0.0.0"), 8), ip("::ffff:10.1.2.3")));
    }
}

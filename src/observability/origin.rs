//! Where a connection comes from: whom it was dialled to, or who dialled it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::dial::Dial;
use super::emit::Label;
use super::target::Who;

/// How a connection came about, as far as that is known.
#[derive(Debug, Default)]
pub(crate) struct Origin {
    /// The peer's address, and the connection's number at its acceptor.
    pub peer: Option<(SocketAddr, u64)>,
    /// The dial that it is the success of, once the peer has said its hello.
    pub dial: Option<Dial>,
}

impl Origin {
    pub fn dialled(dial: Dial) -> Self {
        let dial = Some(dial);
        Origin { peer: None, dial }
    }

    #[cfg(feature = "server")]
    pub fn accepted(addr: SocketAddr, number: u64) -> Self {
        let peer = Some((addr, number));
        Origin { peer, dial: None }
    }

    pub(super) fn who(&self) -> Option<Who> {
        match (&self.peer, &self.dial) {
            (Some((addr, _)), _) => Some(Who::Peer(network(addr.ip()))),
            (None, Some(dial)) => Some(dial.target.who()),
            (None, None) => None,
        }
    }

    pub(super) fn labels(&self) -> &[Label] {
        self.dial.as_ref().map_or(&[], |dial| &dial.target.labels)
    }

    #[cfg(feature = "tracing")]
    pub(super) fn span(&mut self) -> tracing::Span {
        let peer = self
            .peer
            .map(|(addr, number)| super::trace::peer(addr, number));
        match (peer, &mut self.dial) {
            (Some(peer), Some(dial)) => {
                dial.span = peer.clone();
                peer
            }
            (Some(peer), None) => peer,
            (None, Some(dial)) => dial.span.clone(),
            (None, None) => tracing::Span::none(),
        }
    }
}

/// What one peer commonly has: an address of IPv4, a /64 of IPv6.
pub(crate) fn network(addr: IpAddr) -> IpAddr {
    match addr.to_canonical() {
        IpAddr::V6(addr) => Ipv6Addr::from_bits(addr.to_bits() & (!0 << 64)).into(),
        v4 => v4,
    }
}

#[cfg(all(test, feature = "server"))]
mod tests {
    use super::*;

    /// It has 2^64 of them.
    #[test]
    fn the_addresses_of_one_network_of_ipv6_are_limited_together() {
        let who = |ip: &str| Origin::accepted(SocketAddr::new(ip.parse().unwrap(), 1), 1).who();
        assert_eq!(who("2001:db8::1"), who("2001:db8::ffff:2"));
        assert_ne!(who("2001:db8::1"), who("2001:db8:0:1::1"));
        assert_eq!(who("::ffff:192.0.2.1"), who("192.0.2.1"));
        assert_ne!(who("192.0.2.1"), who("192.0.2.2"));
    }
}

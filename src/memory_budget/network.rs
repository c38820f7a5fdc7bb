//! What the connections of one network have of a budget.

#[cfg(feature = "server")]
use std::collections::HashMap;
#[cfg(feature = "server")]
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
#[cfg(feature = "server")]
use std::sync::{Arc, Weak};

/// A network has at most so many times what is left to others.
const TIMES: u64 = 3;

/// What the connections of one network have, beyond the reserve of each.
#[derive(Debug, Default)]
pub(crate) struct NetworkUse {
    bytes: AtomicU64,
    /// What they have of the part for first channels.
    #[cfg(feature = "server")]
    few: AtomicU64,
    connections: AtomicU64,
}

impl NetworkUse {
    /// What the network may take where so much is free. One connection alone leaves others
    /// enough by the rule of each.
    pub(super) fn most(&self, free: u64) -> u64 {
        if self.connections.load(SeqCst) <= 1 {
            return free;
        }
        let held = self.bytes.load(SeqCst);
        free.saturating_mul(TIMES).saturating_sub(held) / (TIMES + 1)
    }

    /// What must be left of the part for first channels if the network takes so much of it.
    #[cfg(feature = "server")]
    pub(super) fn leaves_of_few(&self, bytes: u64) -> u64 {
        match self.connections.load(SeqCst) {
            0 | 1 => 0,
            _ => (self.few.load(SeqCst) + bytes) / TIMES,
        }
    }

    #[cfg(feature = "server")]
    pub(super) fn takes_few(&self, bytes: u64) {
        self.few.fetch_add(bytes, SeqCst);
    }

    #[cfg(feature = "server")]
    pub(super) fn gives_back_few(&self, bytes: u64) {
        self.few.fetch_sub(bytes, SeqCst);
    }

    pub(super) fn takes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, SeqCst);
    }

    pub(super) fn gives_back(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, SeqCst);
    }

    /// Counts another connection, unless all that the network has, with the `reserve` of each, but
    /// without first channels, would then be more than it may have where so much is free. It may
    /// always have one.
    #[cfg(feature = "server")]
    pub(super) fn begins(&self, reserve: u64, free: u64) -> bool {
        let most = free.saturating_mul(TIMES);
        let most = most.saturating_sub(self.bytes.load(SeqCst)) / reserve;
        let begin = |connections| (connections < most.max(1)).then_some(connections + 1);
        let begun = self.connections.fetch_update(SeqCst, SeqCst, begin);
        begun.is_ok()
    }

    pub(super) fn ends(&self) {
        self.connections.fetch_sub(1, SeqCst);
    }
}

/// The networks that have anything of a budget, by their addresses.
#[cfg(feature = "server")]
#[derive(Debug, Default)]
pub(super) struct Networks {
    by_address: HashMap<IpAddr, Weak<NetworkUse>>,
    /// When as many are known, those that have nothing are forgotten.
    sweep_at: usize,
}

#[cfg(feature = "server")]
impl Networks {
    pub fn get(&mut self, address: IpAddr) -> Arc<NetworkUse> {
        if self.by_address.len() >= self.sweep_at {
            self.by_address
                .retain(|_, network| network.strong_count() > 0);
            self.sweep_at = 2 * self.by_address.len() + 16;
        }
        let known = self.by_address.entry(address).or_default();
        known.upgrade().unwrap_or_else(|| {
            let network = Arc::default();
            *known = Arc::downgrade(&network);
            network
        })
    }
}

#[cfg(all(test, feature = "server"))]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_network_has_three_times_what_it_leaves_to_others() {
        let network = NetworkUse::default();
        (0..2).for_each(|_| assert!(network.begins(1, 1)));
        assert_eq!(network.most(400), 300);
        network.takes(300);
        assert_eq!(network.most(100), 0);
        network.gives_back(100);
        assert_eq!(network.most(200), 100);
    }

    #[test]
    fn a_network_with_its_reserves_has_three_times_what_it_leaves_to_others() {
        for (held, reserves) in [(0, 75), (40, 35), (200, 1)] {
            let network = NetworkUse::default();
            network.takes(held);
            let free = |nth| 100u64.saturating_sub(held + nth);
            let begun = (1..100).filter(|nth| network.begins(1, free(*nth)));
            assert_eq!(begun.count(), reserves);
        }
    }

    #[test]
    fn what_a_network_has_is_known_as_long_as_it_has_any_and_not_longer() {
        let mut networks = Networks::default();
        let address = |nth: u32| IpAddr::from(Ipv4Addr::from_bits(nth));
        let held = networks.get(address(0));
        for nth in 1..100_000 {
            networks.get(address(nth));
            assert!(networks.by_address.len() <= 18);
        }
        assert!(Arc::ptr_eq(&networks.get(address(0)), &held));
    }
}

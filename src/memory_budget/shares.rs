//! The memory that an application holds for the channels of one connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use tokio::sync::Notify;

use super::budget::{LOOK_AGAIN, MemoryBudget};
use super::network::NetworkUse;

/// Channels of each connection that may have their share out of a part of the budget of their
/// own. The fewer a connection has, the more of it: so a crowd that holds all else leaves others
/// some channels.
const FEW_CHANNELS: u64 = 8;

/// What the application holds for the channels of one connection.
#[derive(Debug)]
pub(crate) struct Shares {
    budget: MemoryBudget,
    network: Option<Arc<NetworkUse>>,
    /// Bytes of each channel.
    each: u64,
    channels: AtomicU64,
    /// Told when one of them is dropped.
    freed: Notify,
}

/// What the application holds for one channel, until it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    of: Arc<Shares>,
    from: From,
}

/// Where a share was taken.
#[derive(Clone, Copy, Debug, PartialEq)]
enum From {
    /// What all connections share.
    All,
    /// What is for the first channels of each.
    Few,
    /// A connection always has one channel, also if nothing is free.
    Nowhere,
}

impl Shares {
    pub fn new(budget: MemoryBudget, each: u64, network: Option<Arc<NetworkUse>>) -> Arc<Self> {
        Arc::new(Shares {
            budget,
            network,
            each,
            channels: AtomicU64::new(0),
            freed: Notify::new(),
        })
    }

    /// The share of another channel, by the rule of a connection's
    /// [`resize`](super::Lease::resize) and of [`FEW_CHANNELS`].
    pub fn try_take(self: &Arc<Self>) -> Option<Share> {
        let channels = self.channels.load(SeqCst);
        let from = if self.take_of_all(channels) {
            From::All
        } else if self.take_of_few(channels) {
            From::Few
        } else if channels == 0 {
            From::Nowhere
        } else {
            return None;
        };
        self.channels.fetch_add(1, SeqCst);
        Some(Share {
            of: self.clone(),
            from,
        })
    }

    fn take_of_all(&self, channels: u64) -> bool {
        let (each, before) = (self.each, channels * self.each);
        if each == 0 {
            return true;
        }
        let network = self.network.as_deref();
        let all = |free| each * u64::from(each <= self.budget.most(free, before, network));
        let taken = self.budget.take(all).is_some();
        if let Some(network) = network.filter(|_| taken) {
            network.takes(each);
        }
        taken
    }

    fn take_of_few(&self, channels: u64) -> bool {
        if channels >= FEW_CHANNELS {
            return false;
        }
        let network = self.network.as_deref();
        let by_network = network.map_or(0, |network| network.leaves_of_few(self.each));
        let kept = self.budget.part() / FEW_CHANNELS * channels;
        let taken = self.budget.take_for_few(self.each, kept.max(by_network));
        if let Some(network) = network.filter(|_| taken) {
            network.takes_few(self.each);
        }
        taken
    }

    /// Waits for the share of another channel: until one of the same connection is dropped, or
    /// for [`LOOK_AGAIN`] after others gave memory back. Cancel safe.
    pub async fn take(self: &Arc<Self>) -> Share {
        loop {
            let freed = self.freed.notified();
            if let Some(share) = self.try_take() {
                return share;
            }
            let _ = tokio::time::timeout(LOOK_AGAIN, freed).await; // it looks either way
        }
    }

    fn give_back(&self, from: From) {
        match from {
            From::Nowhere => {}
            From::Few => {
                if let Some(network) = self.network.as_deref() {
                    network.gives_back_few(self.each);
                }
                self.budget.give_back_for_few(self.each);
            }
            From::All => {
                if let Some(network) = self.network.as_deref() {
                    network.gives_back(self.each);
                }
                self.budget.give_back(self.each);
            }
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.of.give_back(self.from);
        self.of.channels.fetch_sub(1, SeqCst);
        self.of.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn one_network_leaves_others_a_quarter_of_the_first_channels() {
        let budget = MemoryBudget::of(512 * MIB);
        budget.take(|free| free - 140 * MIB); // little is left beyond the parts
        let of = |network: u8| -> Vec<Arc<Shares>> {
            let network = budget.network(IpAddr::from([10, 0, 0, network]));
            (0..2).for_each(|_| assert!(network.begins(1, 100)));
            let one = || Shares::new(budget.clone(), MIB / 32, Some(network.clone()));
            (0..3_000).map(|_| one()).collect()
        };
        let take = |connections: &[Arc<Shares>]| -> Vec<Share> {
            connections.iter().filter_map(Shares::try_take).collect()
        };
        let few = |shares: &[Share]| {
            shares
                .iter()
                .filter(|share| share.from == From::Few)
                .count()
        };
        let (crowd, others) = (of(1), of(2));
        let held = take(&crowd);
        assert_eq!(few(&held), 48 * 32);
        assert_eq!(few(&take(&others)), 12 * 32);
        drop(held);
        assert_eq!(few(&take(&others)), 48 * 32);
    }
}

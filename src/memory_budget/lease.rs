//! The memory of one connection.

use std::sync::Arc;

use super::budget::{MemoryBudget, RESERVE};
use super::network::NetworkUse;

impl MemoryBudget {
    /// The reserve of another connection, if it is free.
    pub(crate) fn try_lease(&self) -> Option<Lease> {
        self.take(|free| RESERVE * u64::from(free >= RESERVE))
            .map(|reserve| Lease {
                budget: self.clone(),
                bytes: reserve,
                network: None,
            })
    }

    /// Waits for the reserve of another connection. Cancel safe.
    #[cfg(feature = "server")]
    pub(crate) async fn lease(&self) -> Lease {
        self.take_when_free(|| self.try_lease()).await
    }
}

/// What one connection has of a budget, until it is dropped: a multiple of [`RESERVE`].
#[derive(Debug)]
pub(crate) struct Lease {
    budget: MemoryBudget,
    bytes: u64,
    network: Option<Arc<NetworkUse>>,
}

impl Lease {
    /// It is that of a connection of this network, unless that may have no other.
    #[cfg(feature = "server")]
    #[must_use]
    pub fn count_for(&mut self, network: Option<Arc<NetworkUse>>) -> bool {
        debug_assert!(self.is_reserve(), "what it leases counts from here on");
        let free = self.budget.free();
        let counts = network
            .as_ref()
            .is_none_or(|network| network.begins(RESERVE, free));
        self.network = network.filter(|_| counts);
        counts
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether nothing is leased beyond what each connection always has.
    pub fn is_reserve(&self) -> bool {
        self.bytes == RESERVE
    }

    /// Whether [`resize`](Self::resize) would get so many bytes now. It takes none.
    pub fn could_have(&self, bytes: u64) -> bool {
        let more = bytes.next_multiple_of(RESERVE).saturating_sub(self.bytes);
        more == 0 || more <= self.most(self.budget.free())
    }

    /// What it may take where so much is free.
    fn most(&self, free: u64) -> u64 {
        let before = self.bytes - RESERVE;
        self.budget.most(free, before, self.network.as_deref())
    }

    /// Has so many bytes or a little more from now on: fewer than before, or more as far as
    /// the budget allows.
    pub fn resize(&mut self, bytes: u64) {
        let bytes = bytes.max(1).next_multiple_of(RESERVE);
        if bytes < self.bytes {
            self.give_back(self.bytes - bytes);
        } else if bytes > self.bytes {
            self.take(bytes - self.bytes);
        }
    }

    fn take(&mut self, wanted: u64) {
        let steps = |free| wanted.min(self.most(free) / RESERVE * RESERVE);
        let Some(taken) = self.budget.take(steps) else {
            return;
        };
        self.bytes += taken;
        if let Some(network) = &self.network {
            network.takes(taken);
        }
    }

    fn give_back(&mut self, bytes: u64) {
        self.bytes -= bytes;
        if let Some(network) = &self.network {
            network.gives_back(bytes);
        }
        self.budget.give_back(bytes);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.give_back(self.bytes - RESERVE);
        if let Some(network) = &self.network {
            network.ends();
        }
        self.budget.give_back(RESERVE);
    }
}

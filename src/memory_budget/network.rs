//! What the connections of one network have of a budget.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// A network has at most so many times what is left to others.
const TIMES: u64 = 3;

/// Bytes that the connections of one network have beyond their reserves. The first channels of
/// each don't count.
#[derive(Debug, Default)]
pub(crate) struct NetworkUse(AtomicU64);

impl NetworkUse {
    /// What it may take where so much is free.
    pub(super) fn most(&self, free: u64) -> u64 {
        let held = self.0.load(SeqCst);
        free.saturating_mul(TIMES).saturating_sub(held) / (TIMES + 1)
    }

    pub(super) fn takes(&self, bytes: u64) {
        self.0.fetch_add(bytes, SeqCst);
    }

    pub(super) fn gives_back(&self, bytes: u64) {
        self.0.fetch_sub(bytes, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_three_times_what_it_leaves_to_others() {
        let network = NetworkUse::default();
        let (mut free, mut taken) = (400, 0);
        loop {
            let most = network.most(free);
            if most == 0 {
                break;
            }
            network.takes(most);
            (free, taken) = (free - most, taken + most);
        }
        assert_eq!((free, taken), (100, 300));
        network.gives_back(300);
        assert_eq!(network.most(400), 300);
    }
}

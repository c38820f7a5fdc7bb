//! Callers that wait, in the order in which they came.

use std::collections::{BTreeMap, VecDeque};

/// A caller that waits.
pub(super) type WaiterId = u64;

#[derive(Debug, Default)]
pub(super) struct Waiters {
    next: WaiterId,
    callers: VecDeque<WaiterId>,
    /// Those that wait for so many connections to be up.
    prewarms: BTreeMap<WaiterId, usize>,
    /// How many callers the connections that are up are to take, while others are about
    /// to be.
    share: usize,
}

impl Waiters {
    pub fn callers(&self) -> usize {
        self.callers.len()
    }

    pub fn is_empty(&self) -> bool {
        self.callers.is_empty() && self.prewarms.is_empty()
    }

    pub fn enter(&mut self) -> WaiterId {
        self.next += 1;
        self.callers.push_back(self.next);
        self.next
    }

    pub fn prewarm(&mut self, connections: usize) -> WaiterId {
        self.next += 1;
        self.prewarms.insert(self.next, connections);
        self.next
    }

    /// Connections that are to be there before they are needed.
    pub fn prewarmed(&self) -> usize {
        self.prewarms.values().copied().max().unwrap_or(0)
    }

    pub fn leave(&mut self, id: WaiterId) {
        self.callers.retain(|waits| *waits != id);
        self.prewarms.remove(&id);
    }

    /// A connection is up, and so many more are about to be: the callers are shared.
    pub fn share_with(&mut self, others: usize) {
        let unshared = self.callers.len().saturating_sub(self.share);
        self.share += unshared.div_ceil(others + 1);
    }

    /// The next caller to be served; `settles` while connections are about to be up
    /// that are to have their share.
    pub fn first(&self, settles: bool) -> Option<WaiterId> {
        let first = self.callers.front().copied();
        first.filter(|_| !settles || self.share > 0)
    }

    /// The first has been served.
    pub fn pop(&mut self) {
        self.callers.pop_front();
        self.share = self.share.saturating_sub(1);
    }

    /// The first callers, but for the last `left`.
    pub fn take_all_but(&mut self, left: usize) -> VecDeque<WaiterId> {
        let taken = self.callers.len().saturating_sub(left);
        let left = self.callers.split_off(taken);
        std::mem::replace(&mut self.callers, left)
    }

    /// All callers, who are told of a failure.
    pub fn take_callers(&mut self) -> VecDeque<WaiterId> {
        std::mem::take(&mut self.callers)
    }

    /// Those that wait for no more connections than are up.
    pub fn take_prewarms(&mut self, up: usize) -> Vec<WaiterId> {
        let met = self.prewarms.iter().filter(|(_, wanted)| **wanted <= up);
        let met: Vec<WaiterId> = met.map(|(id, _)| *id).collect();
        self.prewarms.retain(|_, wanted| *wanted > up);
        met
    }
}

//! Which channel sends next.
//!
//! As fq_codel treats sparse flows: a channel that had nothing to send goes
//! ahead of channels that stream, until it has sent a quantum; those share by
//! deficit round robin.

use std::collections::VecDeque;

use super::table::Key;

/// Bytes that a channel may send per round: one DATA frame of full size.
pub(super) const QUANTUM: usize = crate::wire::MAX_DATA;

#[derive(Debug, Default)]
pub(super) struct Scheduler {
    quiet: VecDeque<Key>,
    streaming: VecDeque<Key>,
}

impl Scheduler {
    /// Adds a channel that has something to send and is in no queue.
    pub fn add(&mut self, key: Key) {
        self.quiet.push_back(key);
    }

    pub fn is_empty(&self) -> bool {
        self.quiet.is_empty() && self.streaming.is_empty()
    }

    /// The next channel; it is in no queue after that.
    pub fn next(&mut self) -> Option<Key> {
        self.quiet
            .pop_front()
            .or_else(|| self.streaming.pop_front())
    }

    /// Puts back a channel that still has bytes and used up its quantum.
    pub fn requeue(&mut self, key: Key) {
        self.streaming.push_back(key);
    }

    /// Puts back a channel that has part of its quantum left.
    pub fn resume(&mut self, key: Key) {
        self.quiet.push_front(key);
    }
}

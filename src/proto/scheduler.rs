//! Which channel sends next.
//!
//! As fq_codel treats sparse flows: a channel that had nothing to send goes
//! ahead of channels that stream, until it has sent a quantum; those share by
//! deficit round robin. It gets another quantum once every channel that streams
//! has had its turn, so many quiet channels together starve no one.

use std::collections::VecDeque;

use super::table::Key;

/// Bytes that a channel may send per round: one DATA frame of full size.
const QUANTUM: usize = crate::wire::MAX_DATA;

/// What a channel may send before others have their turn.
#[derive(Debug, Default)]
pub(super) struct Share {
    left: u16,
    /// The turn at which it gets a quantum again.
    renewed_at: u32,
}

impl Share {
    pub fn left(&self) -> usize {
        self.left.into()
    }

    pub fn spend(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes as u16);
    }
}

#[derive(Debug, Default)]
pub(super) struct Scheduler {
    quiet: VecDeque<Key>,
    streaming: VecDeque<Key>,
    /// Turns that streaming channels have had. It wraps: a channel that rested
    /// for 2^31 turns may have to wait for one.
    turns: u32,
}

impl Scheduler {
    /// Adds a channel that has something to send and is in no queue.
    pub fn add(&mut self, key: Key, share: &mut Share) {
        if self.turns.wrapping_sub(share.renewed_at) <= i32::MAX as u32 {
            self.renew(share);
        }
        match share.left {
            0 => self.streaming.push_back(key),
            _ => self.quiet.push_back(key),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.quiet.is_empty() && self.streaming.is_empty()
    }

    /// How many channels have something to send.
    pub fn len(&self) -> usize {
        self.quiet.len() + self.streaming.len()
    }

    /// The next channel; it is in no queue after that.
    pub fn next(&mut self) -> Option<Key> {
        self.quiet.pop_front().or_else(|| {
            let key = self.streaming.pop_front()?;
            self.turns = self.turns.wrapping_add(1);
            Some(key)
        })
    }

    /// The quantum of a channel whose turn it is and that has none left.
    pub fn take_turn(&self, share: &mut Share) {
        if share.left == 0 {
            self.renew(share);
        }
    }

    /// Puts back a channel that still has bytes: it used up its quantum.
    pub fn requeue(&mut self, key: Key) {
        self.streaming.push_back(key);
    }

    fn renew(&self, share: &mut Share) {
        share.left = QUANTUM as u16;
        share.renewed_at = self.turns.wrapping_add(self.streaming.len() as u32);
    }
}

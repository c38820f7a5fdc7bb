//! What waits to be sent beside the bytes of channels.

use std::collections::{BTreeSet, VecDeque};

use super::channel::Channel;
use super::key::Key;
use super::queues::{Queue, sweep};

/// Refusals that may wait for the peer to take them. An honest one that doesn't read
/// for a while opens fewer channels meanwhile.
const MOST_REFUSALS: usize = 1 << 16;

#[derive(Debug, Default)]
pub(super) struct Pending {
    /// The token of the last ping that was not answered.
    pong: Option<u64>,
    opens: VecDeque<Key>,
    /// Channels with [`PendingFrames`](super::channel::PendingFrames).
    control: VecDeque<Key>,
    /// Numbers that get a CLOSE and have no channel; version 0 only.
    refusals: BTreeSet<u32>,
}

impl Pending {
    pub fn has_pong(&self) -> bool {
        self.pong.is_some()
    }

    pub fn push_pong(&mut self, token: u64) {
        self.pong = Some(token);
    }

    /// W9: whoever has answered a ping has sent all earlier opens.
    pub fn take_pong(&mut self) -> Option<u64> {
        match self.has_opens() {
            true => None,
            false => self.pong.take(),
        }
    }

    pub fn has_opens(&self) -> bool {
        !self.opens.is_empty()
    }

    pub fn push_open(&mut self, key: Key) {
        self.opens.push_back(key);
    }

    pub fn pop_open(&mut self) -> Option<Key> {
        self.opens.pop_front()
    }

    pub fn has_control(&self) -> bool {
        !self.control.is_empty()
    }

    pub fn push_control(&mut self, channel: &mut Channel) {
        if channel.queues.insert(Queue::Control) {
            self.control.push_back(channel.key);
        }
    }

    /// Opens come first: a channel's other frames must not overtake its OPEN.
    pub fn pop_control(&mut self) -> Option<Key> {
        match self.has_opens() {
            true => None,
            false => self.control.pop_front(),
        }
    }

    /// A channel is over.
    pub fn sweep(&mut self, living: usize, lives: impl Fn(&Key) -> bool) {
        sweep(&mut self.control, living, lives);
    }

    pub fn has_refusals(&self) -> bool {
        !self.refusals.is_empty()
    }

    pub fn refuses(&self, id: u32) -> bool {
        self.refusals.contains(&id)
    }

    /// Whether there are not too many.
    pub fn push_refusal(&mut self, id: u32) -> bool {
        self.refusals.insert(id);
        self.refusals.len() <= MOST_REFUSALS
    }

    pub fn pop_refusal(&mut self) -> Option<u32> {
        self.refusals.pop_first()
    }

    /// The peer has closed it itself; whether one was pending.
    pub fn drop_refusal(&mut self, id: u32) -> bool {
        self.refusals.remove(&id)
    }
}

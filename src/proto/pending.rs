//! What waits to be sent beside the bytes of channels.

use std::collections::{BTreeSet, VecDeque};

use super::channel::Channel;
use super::key::Key;
use super::queues::Queue;

#[derive(Debug, Default)]
pub(super) struct Pending {
    /// The token of the last ping that was not answered.
    pub pong: Option<u64>,
    pub opens: VecDeque<Key>,
    /// Channels with control frames.
    pub control: VecDeque<Key>,
    /// Numbers that get a CLOSE and have no channel; version 0 only.
    pub refusals: BTreeSet<u32>,
}

impl Pending {
    pub fn push_control(&mut self, channel: &mut Channel) {
        if channel.queues.insert(Queue::Control) {
            self.control.push_back(channel.key);
        }
    }
}

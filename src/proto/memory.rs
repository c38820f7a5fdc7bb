//! What the buffers of one connection hold, and the most that the connection may hold.
//!
//! Credit bounds what a peer can make a connection hold at worst, and most peers never
//! come near it. So a process that has many connections gives each what it really holds.
//! Where a connection may hold no more, its transport is not read, writes wait, and
//! channels that the peer opens are refused.

use super::buffer::Buffer;
use super::channel::Channel;

/// Bytes that a channel may always buffer for sending, so that a writer waits for nothing
/// but its own channel.
const LEAST_WRITE: usize = 512;

/// Bytes of a buffer that need not be counted, since each channel counts for more.
const SMALL: usize = 512;

#[derive(Debug)]
pub(super) struct Memory {
    /// Bytes that the buffers of all channels hold.
    pub buffers: usize,
    /// Channels that were released and are not closed.
    pub released: usize,
    /// The most that the connection may hold.
    pub limit: u64,
    /// It had none for a channel that this side wanted to open.
    pub is_short: bool,
}

impl Default for Memory {
    fn default() -> Self {
        Memory {
            buffers: 0,
            released: 0,
            limit: u64::MAX,
            is_short: false,
        }
    }
}

impl Memory {
    /// Notes what a channel holds once one of its buffers has got more, and has so many bytes
    /// of memory now.
    #[inline]
    pub fn count_more(&mut self, channel: &mut Channel, memory: usize) {
        if memory > SMALL || channel.counted > 0 {
            self.count_all(channel);
        }
    }

    /// The same once its buffers have less.
    #[inline]
    pub fn count_less(&mut self, channel: &mut Channel) {
        if channel.counted > 0 {
            self.count_all(channel);
        }
    }

    #[inline(never)]
    fn count_all(&mut self, channel: &mut Channel) {
        let memory = channel.send.buffer.memory() + channel.recv.buffer.memory();
        self.buffers = self.buffers - channel.counted + memory;
        channel.counted = memory;
    }

    /// Bytes of memory that a buffer of a channel may have, where its own limit is `most` and
    /// so many are `left` to the connection.
    #[inline]
    pub fn most(buffer: &Buffer, most: usize, left: u64) -> usize {
        match left >= most as u64 {
            true => most, // nearly always
            false => most.min(buffer.memory() + left as usize),
        }
    }

    /// Bytes that a channel may take to send, of so many, where so many are `left` to the
    /// connection.
    #[inline]
    pub fn room(buffer: &Buffer, bytes: usize, left: u64) -> usize {
        match left >= bytes as u64 {
            true => bytes,
            false => bytes.min((left as usize).max(LEAST_WRITE.saturating_sub(buffer.len()))),
        }
    }

    /// Notes what the buffers of all channels hold that are left.
    pub fn recount<'a>(&mut self, channels: impl Iterator<Item = &'a Channel>) {
        self.buffers = channels.map(|channel| channel.counted).sum();
        self.released = 0;
    }

    /// The application has released a channel.
    pub fn release(&mut self, channel: &mut Channel) {
        self.released += 1;
        if channel.counted > 0 || !channel.send.buffer.is_empty() {
            self.count_all(channel); // it counts for less from now on
        }
    }

    /// A channel is gone, with its buffers.
    pub fn forget(&mut self, channel: &Channel) {
        self.buffers -= channel.counted;
        self.released -= usize::from(!channel.is_held());
    }
}

//! The memory that a connection holds and may hold, for whatever runs it.

use std::time::Instant;

use super::connection::Connection;
use super::error::{ConnectionError, ErrorCode};
use super::event::Event;
use super::handshake::Role;

/// Bytes of a connection without channels, with what a driver adds.
const CONNECTION: u64 = 4 << 10;

/// Bytes of a place in the table of channels, whether or not a channel is there.
const SLOT: u64 = 256;

/// Bytes of a channel that the application holds, beside its place and what waits in it: its
/// words in the queues, and what it may always buffer for sending.
const CHANNEL: u64 = 1 << 10;

/// Bytes of a refusal that waits for a peer of version 0.
const REFUSAL: u64 = 16;

/// The last bytes of a limit, which only what is received may take. So reading never waits
/// for writing.
const TO_RECEIVE: u64 = 8 << 10;

/// Bytes of memory with which it is worth to read the transport.
const LEAST_READ: u64 = 4 << 10;

impl Connection {
    /// Bytes of memory that the connection holds. A driver's own buffers, and the
    /// application's, are not counted.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// client.write(here, &[7; 10_000])?;
    /// assert!(client.memory() > 10_000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn memory(&self) -> u64 {
        let buffers = self.memory.buffers + self.free_list.held();
        self.memory_of_channels() + buffers as u64
    }

    /// The part of [`memory`](Self::memory) that is not for bytes which wait to be read, to be
    /// sent or for reuse.
    pub(crate) fn memory_of_channels(&self) -> u64 {
        let slots = self.channels.capacity() as u64 * SLOT;
        let held = self.channels.len() - self.memory.released;
        let refusals = self.pending.refusals.len() as u64 * REFUSAL;
        let marks = self.slow_peers.memory() as u64;
        CONNECTION + slots + held as u64 * CHANNEL + refusals + marks
    }

    /// Bytes of memory that it may hold beyond [`memory`](Self::memory).
    #[inline]
    pub fn memory_left(&self) -> u64 {
        match self.memory.limit {
            u64::MAX => u64::MAX,
            limit => limit.saturating_sub(self.memory()),
        }
    }

    /// The same without the last 8 KiB, which are for what is received: for channels that
    /// begin and for what waits to be sent.
    pub(crate) fn memory_left_to_send(&self) -> u64 {
        self.memory_left().saturating_sub(TO_RECEIVE)
    }

    /// The most bytes of memory that it may hold, from now on. At first there is no limit.
    ///
    /// It frees nothing that is in use. The last 8 KiB are for what is received. Without the
    /// others [`open`](Self::open) is blocked, and a channel buffers only 512 bytes for
    /// sending. With less than 4 KiB left, [`wants_input`](Self::wants_input) is false. What
    /// was read by then may still go beyond the limit.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// server.limit_memory(server.memory());
    /// assert!(!server.wants_input());
    /// server.limit_memory(1 << 20);
    /// assert!(server.wants_input());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn limit_memory(&mut self, bytes: u64) {
        self.memory.limit = bytes;
        if self.memory.is_short && self.has_memory_to_open() {
            self.memory.is_short = false;
            self.events.push(Event::Openable);
        }
    }

    /// Bytes of memory that this side needs to open a channel; it may have been refused one
    /// for want of them, if [`is_short_of_memory`](Self::is_short_of_memory).
    pub(crate) fn memory_to_open(&self) -> u64 {
        let (capacity, doubles) = (self.channels.capacity(), self.channels.is_full());
        CHANNEL + u64::from(doubles) * capacity.max(4) as u64 * SLOT
    }

    /// The transport is not read for want of memory, since `now`. After the dead time of
    /// [`Config::answer_within`](super::Config::answer_within) the connection ends. Until
    /// [`handle_memory`](Self::handle_memory) the peer's silence counts for nothing.
    /// Calling it again changes nothing.
    pub fn handle_no_memory(&mut self, now: Instant) {
        self.keepalive.on_no_memory(now);
    }

    /// The transport is read again.
    pub fn handle_memory(&mut self, now: Instant) {
        if self.keepalive.on_memory() {
            self.heard(now);
        }
    }

    /// Ends the connection, because this side has no memory for it. A peer that has said
    /// its hello is told.
    pub(crate) fn out_of_memory(&mut self) {
        if self.handshake.role == Role::Server && !self.handshake.is_hello_received() {
            return self.fail(ConnectionError::OutOfMemory);
        }
        let text = "this side has no memory for the connection";
        self.go_away(ErrorCode::LIMIT, text, ConnectionError::OutOfMemory);
    }

    /// Whether the transport is not to be read for want of memory.
    pub fn is_out_of_memory(&self) -> bool {
        self.memory_left() < LEAST_READ
    }

    /// Whether there is memory for another channel.
    pub(super) fn has_memory_to_open(&self) -> bool {
        self.memory_left_to_send() >= self.memory_to_open()
    }
}

/// What the driver of this crate asks.
#[cfg(feature = "tokio")]
impl Connection {
    /// Refuses channels that wait to be accepted, the last first, until
    /// [all channels](Self::memory_of_channels) hold no more than so many bytes and the 8 KiB
    /// for what is received.
    pub(crate) fn refuse_beyond(&mut self, bytes: u64) {
        while self.memory_of_channels() + TO_RECEIVE > bytes
            && let Some(key) = self.channels.incoming.pop_back()
        {
            self.release_with(key, super::REFUSED);
            if let Err(error) = self.limits.cancels.take() {
                return self.on_error(error);
            }
        }
    }

    /// The most bytes that a channel buffers for sending.
    pub(crate) fn send_buffer(&self) -> usize {
        self.config.send_buffer
    }

    /// Whether more memory would let this side do something that it has not: read the
    /// transport, or open a channel that the application asked for.
    pub(crate) fn is_short_of_memory(&self) -> bool {
        self.memory.is_short || self.is_out_of_memory()
    }

    /// Gives back memory that is kept for reuse.
    pub(crate) fn free_memory(&mut self) {
        self.free_list.clear();
        self.channels.fit();
    }
}

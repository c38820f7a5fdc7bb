//! What the application asks of a connection.

use super::channel::Origin;
#[cfg(feature = "hyper")]
use super::channel::Usage;
use super::connection::Connection;
use super::error::{ChannelError, OpenError, REFUSED};
use super::event::Event;
#[cfg(feature = "hyper")]
use super::half::Cause;
use super::half::Half;
use super::key::Key;
use super::memory::Memory;
use super::queues::Queue;

/// What a read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Read {
    /// So many bytes, at least 1.
    Bytes(usize),
    /// Nothing yet: [`Event::Readable`] tells when to look again.
    Blocked,
    /// The clean end: the peer finished, and every byte was read.
    Finished,
}

impl Connection {
    /// Opens a channel. Costs no round trip: the open and what is written next
    /// leave together.
    ///
    /// # Errors
    ///
    /// [`OpenError::Blocked`] when the peer takes no more for now, or has yet to
    /// take 16 MiB of channels that were released; the others when it never
    /// will.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let key = client.open()?;
    /// assert_eq!(client.write(key, b"hello")?, 5); // leaves with the open
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(&mut self) -> Result<Key, OpenError> {
        if let Some(error) = self.error() {
            return Err(OpenError::Connection(error.clone()));
        }
        if !self.is_open() {
            return Err(OpenError::Draining);
        }
        if self.counts.room() == 0 {
            return Err(OpenError::Blocked);
        }
        if !self.has_memory_to_open() {
            self.memory.is_short = true;
            return Err(OpenError::Blocked);
        }
        let id = self.next_id();
        self.counts.on_open();
        self.stats.opened += 1;
        let channel = self.begin(id, Origin::Unprocessed);
        let key = self.channels.insert(channel);
        self.pending.opens.push_back(key);
        if self.counts.ids_left() == 0 {
            self.events.push(Event::Openable); // those who wait for room learn of it
        }
        Ok(key)
    }

    /// The number for the next channel of this side.
    pub(super) fn next_id(&mut self) -> u32 {
        let (channels, pending) = (&self.channels, &self.pending);
        self.counts
            .next_id(|id| channels.contains(id) || pending.refusals.contains(&id))
    }

    /// Whether channels can still be opened.
    pub fn is_open(&self) -> bool {
        let ended = self.shutdown.has_ended() || self.shutdown.peer_drains;
        !ended && self.counts.ids_left() > 0
    }

    /// The next channel that the peer opened.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// assert!(server.accept().is_none());
    /// client.open()?;
    /// carry(&mut client, &mut server, now);
    /// assert!(server.accept().is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use = "every channel must be released at last"]
    pub fn accept(&mut self) -> Option<Key> {
        while let Some(key) = self.channels.incoming.pop_front() {
            if let Some(channel) = self.channels.held(key) {
                self.counts.on_accept(channel);
                return Some(key);
            }
        }
        None
    }

    /// Whether [`accept`](Self::accept) will never find a channel again.
    #[cfg(feature = "server")]
    pub(crate) fn has_accepted_all(&self) -> bool {
        let none = self.is_drained() || self.shutdown.has_ended();
        none && self.channels.incoming.is_empty()
    }

    /// Refuses the channels that wait to be accepted: the peer may try again
    /// elsewhere what they were for. One that was used by the key of an event is
    /// reset with the code 0.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let key = client.open()?;
    /// carry(&mut client, &mut server, now);
    /// server.refuse_waiting();
    /// carry(&mut client, &mut server, now);
    /// let error = client.write(key, b"hello").unwrap_err();
    /// assert!(error.is_retryable());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn refuse_waiting(&mut self) {
        while let Some(key) = self.channels.incoming.pop_front() {
            self.release_with(key, REFUSED);
        }
    }

    /// Whether the application has accepted the channel and not used it: neither read
    /// from it, nor written to it or finished it.
    #[cfg(feature = "server")]
    pub(crate) fn is_accepted_unused(&self, key: Key) -> bool {
        let channel = self.channels.get(key);
        channel.is_some_and(|channel| channel.is_accepted_unused())
    }

    /// Whether a channel is that.
    #[cfg(feature = "server")]
    pub(crate) fn has_accepted_unused(&self) -> bool {
        self.counts.unused > 0
    }

    /// Whether this side opened the channel and has not used it.
    #[cfg(feature = "hyper")]
    pub(crate) fn is_opened_unused(&self, key: Key) -> bool {
        let channel = self.channels.get(key);
        channel.is_some_and(|channel| channel.is_ours() && channel.usage == Usage::Accepted)
    }

    /// Of a channel that this side opened and wrote to, where the peer reads no more and
    /// its answer has not been read to the end: the bytes that wait for that.
    #[cfg(feature = "hyper")]
    pub(crate) fn unread_answer(&self, key: Key) -> Option<usize> {
        let channel = self.channels.get(key)?;
        let (recv, used) = (&channel.recv, channel.usage == Usage::Used);
        let stopped = matches!(channel.send.half, Half::Failed(Cause::Stopped(_)));
        let left = recv.half.is_alive() || !recv.buffer.is_empty();
        let waits = channel.is_ours() && used && stopped && left;
        waits.then(|| recv.buffer.len())
    }

    /// Whether credit waits to be given back for what was read of the channel, so
    /// that a driver knows when a read gave it something to send.
    pub fn is_credit_pending(&self, key: Key) -> bool {
        let channel = self.channels.get(key);
        self.recv_budget.is_return_due()
            || channel.is_some_and(|channel| channel.recv.window_pending)
    }

    /// The number that the channel has on the wire. A version 0 peer may take
    /// the number of a channel whose open has not left yet; it gets another.
    pub fn id(&self, key: Key) -> Option<u32> {
        self.channels.get(key).map(|channel| channel.id)
    }

    /// Reads into `out`.
    ///
    /// # Errors
    ///
    /// The reason for which no more will come, where that isn't the peer's FIN.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let mut buf = [0; 16];
    /// assert_eq!(server.read(there, &mut buf)?, Read::Bytes(5));
    /// assert_eq!(&buf[..5], b"hello");
    /// assert_eq!(server.read(there, &mut buf)?, Read::Blocked);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read(&mut self, key: Key, out: &mut [u8]) -> Result<Read, ChannelError> {
        let mut at = 0;
        self.read_with(key, out.len(), |bytes| {
            out[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        })
    }

    /// Reads up to `most` bytes, which go to `sink` in parts.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let mut got = Vec::new();
    /// server.read_with(there, 1024, |bytes| got.extend_from_slice(bytes))?;
    /// assert_eq!(got, b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read_with(
        &mut self,
        key: Key,
        most: usize,
        sink: impl FnMut(&[u8]),
    ) -> Result<Read, ChannelError> {
        let channel = self.channels.held(key).ok_or(ChannelError::Unknown)?;
        let recv = &mut channel.recv;
        let n = recv.buffer.take(most, &mut self.free_list, sink);
        if n == 0 {
            return match recv.half {
                Half::Failed(cause) if recv.buffer.is_empty() => Err(self.shutdown.error_of(cause)),
                Half::Finishing | Half::Done if most > 0 => {
                    recv.half = Half::Done;
                    self.counts.on_use(channel);
                    Ok(Read::Finished)
                }
                _ => Ok(Read::Blocked),
            };
        }
        self.stats.buffered -= n as u64;
        self.counts.on_use(channel);
        let (recv, waits) = (&mut channel.recv, channel.queues.has(Queue::Window));
        let due = match recv.ended {
            _ if self.handshake.is_v0() => {
                recv.buffer.fit_content();
                false // no credit to give
            }
            true => recv.credit.borrowed() > 0,
            false => self.recv_budget.is_due(&recv.credit, 0, waits),
        };
        self.memory.count_less(channel);
        if due {
            self.pay(key);
        }
        Ok(Read::Bytes(n))
    }

    /// Gives back the credit for what was read of a channel, if it is enough.
    pub(super) fn pay(&mut self, key: Key) {
        let Some(channel) = self.channels.get_mut(key) else {
            return;
        };
        let waits = channel.queues.has(Queue::Window) && self.recv_budget.left() > 0;
        let (buffer, credit) = (&channel.recv.buffer, &mut channel.recv.credit);
        // Of a frame whose header has come, the rest will need memory too.
        let coming = self.input.coming(key);
        // A few bytes in large blocks hold no credit. To copy more would be dear.
        let unread = buffer.len() + coming;
        let few = buffer.len() <= self.config.settings.initial_window as usize;
        let due = !waits && self.recv_budget.is_due(credit, unread, false);
        if few && (channel.recv.ended || due) {
            channel.recv.buffer.fit();
            self.memory.count_less(channel);
        }
        let (buffer, credit) = (&channel.recv.buffer, &mut channel.recv.credit);
        let memory = buffer.memory();
        if channel.recv.ended {
            return self.recv_budget.settle(credit, memory);
        }
        if channel.recv.half != Half::Open {
            return; // the peer is asked to stop
        }
        if self.recv_budget.pay(credit, memory + coming, waits) && !self.shutdown.has_ended() {
            channel.recv.window_pending = true;
            self.pending.push_control(channel);
        }
    }

    /// Takes bytes to send; how many were taken, 0 if the channel's send
    /// buffer is full. Where fewer were taken than given, [`Event::Writable`] tells when to
    /// try again.
    ///
    /// # Errors
    ///
    /// The reason for which the channel takes no more.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// let n = client.write(here, &[7; 1 << 20])?;
    /// assert_eq!(n, 64 << 10); // Config::send_buffer
    /// assert_eq!(client.write(here, b"more")?, 0);
    /// carry(&mut client, &mut server, now);
    /// assert_eq!(client.write(here, b"more")?, 4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn write(&mut self, key: Key, bytes: &[u8]) -> Result<usize, ChannelError> {
        let left = self.memory_left_to_send();
        let channel = self.channels.held(key).ok_or(ChannelError::Unknown)?;
        self.counts.on_try(channel);
        let send = &mut channel.send;
        match send.half {
            Half::Open => {}
            Half::Failed(cause) => return Err(self.shutdown.error_of(cause)),
            _ => return Err(ChannelError::Ended),
        }
        let most = self.config.send_buffer;
        let room = most.saturating_sub(send.buffer.len());
        let n = Memory::room(&send.buffer, room.min(bytes.len()), left);
        let most = Memory::most(&send.buffer, most, left);
        send.buffer.extend(&bytes[..n], most, &mut self.free_list);
        send.is_short = n < bytes.len();
        let memory = send.buffer.memory();
        self.memory.count_more(channel, memory);
        self.queue_data(key);
        Ok(n)
    }

    /// Ends the send half cleanly: FIN follows the bytes that were written.
    /// Finishing twice is harmless.
    ///
    /// # Errors
    ///
    /// The reason for which the half has failed.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// client.finish(here)?;
    /// carry(&mut client, &mut server, now);
    /// assert_eq!(server.read(there, &mut [0; 16])?, Read::Bytes(5));
    /// assert_eq!(server.read(there, &mut [0; 16])?, Read::Finished);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn finish(&mut self, key: Key) -> Result<(), ChannelError> {
        let channel = self.channels.held(key).ok_or(ChannelError::Unknown)?;
        self.counts.on_try(channel);
        match channel.send.half {
            Half::Open => channel.send.half = Half::Finishing,
            Half::Failed(cause) => return Err(self.shutdown.error_of(cause)),
            _ => return Ok(()),
        }
        self.close_if_done_v0(key);
        self.queue_data(key);
        Ok(())
    }
}

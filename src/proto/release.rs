//! How this side gives up a channel, or one of its halves.

use super::channel::{Channel, Stop};
use super::connection::Connection;
use super::error::{ErrorCode, NO_CODE, REFUSED, TOO_SLOW};
use super::half::{Cause, Half};
use super::key::Key;
use super::shutdown::Drain;

/// Channels whose STOP is deferred, those included that are closed meanwhile; the first gets
/// its STOP for another. So many are under way at a thousand requests a second over a
/// second's round trip.
const MOST_DEFERRED: usize = 1024;

impl Connection {
    /// Gives up the send half: what was not sent yet is dropped, and the peer reads an
    /// error with this code. Under version 0 the channel is closed in both directions,
    /// without a code.
    ///
    /// [`REFUSED`] says that what the channel was for may be tried again. It gives up the
    /// receive half too, and only a channel of the peer's that was neither read from, nor
    /// written to or finished can be refused: for any other the code is 0.
    ///
    /// Behind [`finish`](Self::finish) the peer reads an error only if not all had left.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// client.reset(here, 7);
    /// carry(&mut client, &mut server, now);
    /// server.read(there, &mut [0; 16])?; // what came before
    /// let error = server.read(there, &mut [0; 16]).unwrap_err();
    /// assert_eq!(error, ChannelError::Reset(7));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reset(&mut self, key: Key, code: u32) {
        let code = self
            .channels
            .get(key)
            .map_or(code, |channel| channel.code(code));
        if code == REFUSED {
            self.stop_with(key, code);
        }
        self.give_up(key, code, |channel| channel.fail_send(Cause::Ended(code)));
    }

    /// Gives up the send half as [`reset`](Self::reset) does, but behind what
    /// was written, as far as the peer's window has room for that. One that was
    /// finished stays so. It can't refuse: the code is 0 for [`REFUSED`].
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// client.write(here, b"more")?;
    /// client.reset_after_flush(here, 7);
    /// carry(&mut client, &mut server, now);
    /// assert_eq!(server.read(there, &mut [0; 16])?, Read::Bytes(9));
    /// assert_eq!(server.read(there, &mut [0; 16]), Err(ChannelError::Reset(7)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reset_after_flush(&mut self, key: Key, code: u32) {
        let channel = self.channels.get(key);
        if channel.is_some_and(|channel| channel.send.half == Half::Open) {
            let code = no_refusal(code);
            self.give_up(key, code, |channel| channel.reset_after_flush(code));
        }
    }

    fn give_up(&mut self, key: Key, code: u32, how: impl FnOnce(&mut Channel)) {
        if self.shutdown.has_ended() {
            return;
        }
        if let Some(channel) = self.channels.held(key)
            && channel.send.half.is_alive()
        {
            how(channel);
            self.memory.count_less(channel);
            self.stats.on_give_up(channel, code);
            self.reset_v0(key);
            self.queue_control(key);
            self.queue_data(key);
        }
    }

    /// Gives up the receive half: the peer is asked to stop, with this code, or 0 where
    /// that is [`REFUSED`], which [`reset`](Self::reset) says.
    /// Under version 0 it is not; what it sends is dropped.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// server.stop(there, 7);
    /// carry(&mut client, &mut server, now);
    /// let error = client.write(here, b"more").unwrap_err();
    /// assert_eq!(error, ChannelError::Stopped(7));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stop(&mut self, key: Key, code: u32) {
        self.stop_with(key, no_refusal(code));
    }

    fn stop_with(&mut self, key: Key, code: u32) {
        if self.shutdown.has_ended() {
            return;
        }
        if let Some(channel) = self.channels.held(key) {
            self.stats.buffered -= channel.recv.buffer.len() as u64;
            channel.stop(code, &mut self.recv_budget);
            self.memory.count_less(channel);
            if channel.recv.stop == Stop::Pending {
                self.stats.on_give_up(channel, code);
            }
            self.close_if_done_v0(key);
            self.queue_control(key);
        }
    }

    /// Gives up both halves of a channel whose peer is too slow.
    pub(super) fn give_up_slow(&mut self, key: Key) {
        let Some(channel) = self.channels.get_mut(key) else {
            return;
        };
        let (held, unsent) = (channel.is_held(), channel.send.buffer.len());
        if channel.send.half.is_alive() {
            channel.fail_send(Cause::Ended(TOO_SLOW));
        }
        if channel.recv.half.is_alive() {
            self.stats.buffered -= channel.recv.buffer.len() as u64;
            channel.stop(TOO_SLOW, &mut self.recv_budget);
        }
        self.memory.count_less(channel);
        self.stats.on_give_up(channel, TOO_SLOW);
        self.stats.too_slow += 1;
        if !held {
            self.make_room(|counts| counts.on_unsent_gone(unsent));
        }
        self.queue_control(key);
        self.notify_writable(key);
        self.notify_readable(key);
    }

    /// Ends the use of a channel. A send half that was not finished is reset behind
    /// what was written, as far as the peer's window has room for that. A receive half
    /// that has not ended is stopped; behind a FIN only if the peer sends more, or has
    /// not ended it by the next ping. The key is void after that.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// client.finish(here)?;
    /// client.release(here);
    /// server.finish(there)?;
    /// server.release(there);
    /// carry(&mut client, &mut server, now);
    /// assert_eq!((client.channels(), server.channels()), (0, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn release(&mut self, key: Key) {
        self.release_with(key, NO_CODE);
    }

    pub(super) fn release_with(&mut self, key: Key, code: u32) {
        let Some(channel) = self.channels.held(key) else {
            return;
        };
        let code = channel.code(code);
        self.counts.before_release(channel);
        self.stats.buffered -= channel.recv.buffer.len() as u64;
        if code == REFUSED {
            self.stats.on_give_up(channel, code);
        }
        if self.shutdown.has_ended() {
            self.memory.forget(channel);
            self.channels.remove(key);
            return;
        }
        let unfinished = channel.send.half == Half::Open;
        channel.release(code, &mut self.recv_budget);
        self.memory.release(channel);
        if unfinished || channel.recv.stop == Stop::Pending {
            self.stats.on_give_up(channel, code);
        }
        self.counts.on_release(channel);
        if channel.recv.stop == Stop::Deferred && !self.is_v0() {
            self.defer_stop(key);
        } else {
            self.release_v0(key);
            self.queue_control(key);
            self.queue_data(key);
        }
        self.forget_if_closed(key);
        // A peer that never ends what was released would make this side keep it for ever.
        let taken = self.handshake.peer.max_channels;
        if self.counts.has_too_many_awaiting_end(taken) {
            self.violated(
                ErrorCode::LIMIT,
                "channels that were given up are not ended",
            );
        }
    }

    /// Defers the STOP of a channel that was finished and released before the peer's end
    /// came. The peer gets a FIN, so mostly ends its half by itself, and a STOP would only
    /// cost a RESET. It follows where the peer sends more, and at the latest with the next
    /// ping (a second after the last was answered). Not deferred while others wait for the
    /// end: of the connection, or for the peer's channels to become fewer.
    fn defer_stop(&mut self, key: Key) {
        let ours = self.channels.get(key).is_some_and(Channel::is_ours);
        let drains = !self.is_open() || self.shutdown.drain != Drain::No;
        if drains || !ours && self.counts.is_peer_short() {
            return self.send_deferred_stop(key);
        }
        self.keepalive.on_sent(); // so that there is a ping
        self.deferred_stops.push_back(key);
        if self.deferred_stops.len() > MOST_DEFERRED
            && let Some(first) = self.deferred_stops.pop_front()
        {
            self.send_deferred_stop(first);
        }
    }

    /// Waits no more for the peer's end of a channel, if that is still to come.
    pub(super) fn send_deferred_stop(&mut self, key: Key) {
        if let Some(channel) = self.channels.get_mut(key)
            && channel.recv.stop == Stop::Deferred
        {
            channel.recv.stop = Stop::Pending;
            self.stats.on_give_up(channel, NO_CODE);
            self.pending.push_control(channel);
        }
    }

    /// Waits no more for the peer to end the channels that were finished and released,
    /// so that the connection can close.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// server.finish(there)?;
    /// server.release(there);
    /// carry(&mut client, &mut server, now);
    /// assert_eq!(server.channels(), 1); // the client may still end its half by itself
    /// server.send_deferred_stops();
    /// carry(&mut client, &mut server, now);
    /// assert_eq!(server.channels(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send_deferred_stops(&mut self) {
        for key in std::mem::take(&mut self.deferred_stops) {
            self.send_deferred_stop(key);
        }
    }
}

/// The code of one half, which can't refuse the channel.
fn no_refusal(code: u32) -> u32 {
    match code {
        REFUSED => NO_CODE,
        code => code,
    }
}

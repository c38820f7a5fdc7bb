//! What is different with a version 0 peer, the Python package `tcpchan`.
//!
//! It knows CLOSE alone, which ends a channel in both directions at once: no
//! half-close, no reset and no flow control. It opens channels under random
//! numbers, raises when it gets an OPEN for a number that is in use, and drops
//! the connection at an op above 5.

use super::channel::{Channel, End, Stop};
use super::connection::Connection;
use super::error::{ConnectionError, ErrorCode, NO_CODE, violation};
use super::half::{Cause, Half};
use super::key::Key;
use super::shutdown::Drain;

/// Refusals that may wait for the peer to take them. An honest one that doesn't read
/// for a while opens fewer channels meanwhile.
const MOST_REFUSALS: usize = 1 << 16;

impl Connection {
    /// The peer speaks version 0: nothing is limited but by this side.
    pub(super) fn on_version0(&mut self) {
        let keys = self.channels.keys();
        let ours = |key: &&Key| self.channels.get(**key).is_some_and(Channel::is_ours);
        let opened = keys.iter().filter(ours).count() as u32;
        for key in keys {
            self.adapt(key);
            self.queue_data(key);
        }
        let limit = self.config.settings.max_channels;
        self.make_room(|counts| counts.on_version0(opened, limit));
        self.keepalive.no_ping();
        if matches!(self.shutdown.drain, Drain::Pending | Drain::Sent(_)) {
            self.drained(); // the peer can't be asked
        }
    }

    /// Turns what waits of a channel into what version 0 can say.
    fn adapt(&mut self, key: Key) {
        let Some(channel) = self.channels.get_mut(key) else {
            return;
        };
        channel.send.credit.begin_at(u64::MAX);
        channel.recv.credit.has_no_limit();
        channel.recv.window_pending = false;
        if !channel.is_held() {
            self.release_v0(key);
        } else if channel.send.end == End::ResetPending {
            self.reset_v0(key);
        } else {
            self.close_if_done_v0(key);
        }
    }

    /// Version 0 opens channels under any number that is free.
    pub(super) fn on_open_v0(&mut self, id: u32) -> Result<(), ConnectionError> {
        let channel = self.channels.by_id(id);
        let of_open = channel
            .as_ref()
            .is_some_and(|channel| channel.is_open_sent());
        let key = channel.map(|channel| channel.key);
        if of_open || self.pending.refusals.contains(&id) {
            return violation(
                ErrorCode::PROTOCOL,
                format!("channel {id} was opened twice"),
            );
        }
        if let Some(key) = key {
            let other = self.next_id();
            self.channels.renumber(key, other);
        }
        self.note_opened();
        if self.is_drained() || !self.counts.on_peer_open_v0() {
            return self.refuse_v0(id);
        }
        self.offer(id)
    }

    /// The only refusal that the version knows is a CLOSE. The peer can't be told how
    /// many channels it may open, so an honest one may get many.
    fn refuse_v0(&mut self, id: u32) -> Result<(), ConnectionError> {
        self.stats.refused_by_self += 1;
        // A peer that opens and reads nothing would have this side keep a number for each.
        self.pending.refusals.insert(id);
        if self.pending.refusals.len() > MOST_REFUSALS {
            return violation(ErrorCode::LIMIT, "refusals are not taken");
        }
        self.limits.cancels.take()
    }

    /// Both directions have ended, the peer's cleanly.
    pub(super) fn on_close_v0(&mut self, id: u32) -> Result<(), ConnectionError> {
        let channel = self.channels.by_id(id);
        let Some(channel) = channel.filter(|channel| channel.is_open_sent()) else {
            return match self.pending.refusals.remove(&id) {
                true => Ok(()),
                false => self.limits.take_crossing(), // both sides closed it at once
            };
        };
        let (key, unsent) = (channel.key, channel.send.buffer.len());
        let cancel = channel.is_cancel() && channel.send.half.is_alive() && !channel.is_given_up();
        self.stats.unanswered += u64::from(channel.is_unanswered());
        channel.recv.ended = true;
        if channel.recv.half == Half::Open {
            channel.recv.half = Half::Finishing;
        }
        if channel.send.half.is_alive() {
            channel.fail_send(Cause::Stopped(NO_CODE));
        }
        channel.send.end = End::Sent;
        self.memory.count_less(channel);
        if !channel.is_held() {
            let left = unsent - channel.send.buffer.len();
            self.make_room(|counts| counts.on_unsent_gone(left));
        }
        self.notify_writable(key);
        self.free_number_v0(key);
        self.ended(key);
        match cancel {
            true => self.limits.cancels.take(),
            false => Ok(()),
        }
    }

    /// After a CLOSE the peer may give the number to another channel, though
    /// the application here has not released this one.
    pub(super) fn free_number_v0(&mut self, key: Key) {
        if self.is_v0()
            && let Some(channel) = self.channels.get(key)
            && channel.recv.ended
            && channel.send.end != End::ClosePending
        {
            self.channels.free_number(channel.id, key);
        }
    }

    /// Under version 0 a reset is a close, now and in both directions.
    pub(super) fn reset_v0(&mut self, key: Key) {
        if self.is_v0()
            && let Some(channel) = self.channels.get_mut(key)
        {
            if channel.recv.half == Half::Open {
                channel.recv.half = Half::Failed(Cause::Ended(NO_CODE));
            }
            channel.close_v0();
            self.notify_readable(key);
        }
    }

    /// Under version 0 neither a FIN nor a STOP can be said: a channel is
    /// closed when it was finished and is read no more.
    pub(super) fn close_if_done_v0(&mut self, key: Key) {
        if self.is_v0()
            && let Some(channel) = self.channels.get_mut(key)
        {
            channel.recv.stop = Stop::No;
            if channel.send.half != Half::Open && matches!(channel.recv.half, Half::Failed(_)) {
                channel.close_v0();
                self.pending.push_control(channel);
            }
        }
    }

    /// Under version 0 a channel is closed once its bytes have left, or at
    /// once if it was not finished.
    pub(super) fn release_v0(&mut self, key: Key) {
        if self.is_v0()
            && let Some(channel) = self.channels.get_mut(key)
        {
            channel.close_v0();
        }
    }
}

impl Channel {
    /// A CLOSE ends both directions, unless the peer has closed the channel.
    fn close_v0(&mut self) {
        self.recv.stop = Stop::No;
        if !self.recv.ended {
            self.send.end = End::ClosePending;
        } else if self.send.end == End::ResetPending {
            self.send.end = End::Sent;
        }
        self.recv.ended = true;
    }
}

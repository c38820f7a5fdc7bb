//! From what is pending to bytes.

use std::time::Instant;

use super::channel::Origin;
use super::connection::Connection;
use super::encode::{end, next_frame, put_control};
use super::handshake::Role;
use super::key::Key;
use super::queues::Queue;
use super::shutdown::{Drain, LastFrame};
use crate::wire::{Control, Frame, MAX_DATA, Version};

/// Bytes of a DATA frame's header, and of the longest whole frame.
const HEADER: usize = 8;
const MAX_FRAME: usize = MAX_DATA + HEADER;

/// A frame that is shortened to fit the budget has at least so many bytes of a body,
/// unless no other channel has any: less would make others wait longer for their turn.
const LEAST_DATA: usize = MAX_DATA / 4 * 3;

impl Connection {
    /// Appends frames to `out` until it is `budget` bytes longer or nothing is
    /// left, and says how many bytes were appended. The last frame may go over
    /// by a frame's size.
    ///
    /// Once it has appended bytes they must reach the peer, in this order.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// client.write(here, b"more")?;
    /// let mut bytes = Vec::new();
    /// client.poll_transmit(&mut bytes, 64 << 10, now);
    /// server.handle_input(&bytes, now);
    /// assert_eq!(server.read(there, &mut [0; 16])?, Read::Bytes(9));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn poll_transmit(&mut self, out: &mut Vec<u8>, budget: usize, now: Instant) -> usize {
        let start = out.len();
        self.begin_looks(now);
        if self.shutdown.has_ended() {
            self.last_frame(out);
        } else if self.version().is_none() {
            self.first_flight(out, budget);
        } else if self.handshake.may_speak() {
            self.hello(out);
            let end = start.saturating_add(budget);
            self.opens(out, end);
            let opened = out.len() - start;
            self.connection_control(out, now);
            let before = out.len();
            self.channel_control(out, end);
            self.data(out, end);
            // A pong asks for no answer, or two idle peers would keep asking.
            if opened > 0 || out.len() > before {
                self.keepalive.on_sent();
            }
        }
        let appended = out.len() - start;
        self.stats.bytes_sent += appended as u64;
        appended
    }

    /// Whether to call [`poll_transmit`](Self::poll_transmit). It may append
    /// nothing, if what was pending was for a channel that is closed by now.
    pub fn wants_transmit(&self) -> bool {
        if self.shutdown.has_ended() {
            return self.shutdown.last.is_some();
        }
        if !self.handshake.may_speak() {
            return false;
        }
        let queued = !self.pending.opens.is_empty() || !self.scheduler.is_empty();
        let hello = !self.handshake.is_sent();
        match self.version() {
            None => hello || queued && self.handshake.first_flight > 0,
            Some(version) => {
                let control = || version != Version::V0 && self.is_connection_control_pending();
                let channel =
                    || !self.pending.control.is_empty() || !self.pending.refusals.is_empty();
                hello || queued || channel() || control()
            }
        }
    }

    fn is_connection_control_pending(&self) -> bool {
        self.keepalive.is_ping_pending()
            || self.pending.pong.is_some()
            || self.counts.is_limit_due()
            || self.recv_budget.is_return_due()
            || self.shutdown.drain == Drain::Pending
    }

    /// Bytes of channels that [`poll_transmit`](Self::poll_transmit) appended.
    pub fn data_sent(&self) -> u64 {
        self.scheduler.sent()
    }

    /// How many channels have bytes that can leave.
    pub fn sending(&self) -> usize {
        self.scheduler.with_bytes()
    }

    /// Queues a channel's control frames.
    pub(super) fn queue_control(&mut self, key: Key) {
        if let Some(channel) = self.channels.get_mut(key) {
            self.pending.push_control(channel);
        }
    }

    /// Queues a channel's data or its end, if any can go.
    pub(super) fn queue_data(&mut self, key: Key) {
        let Some(channel) = self.channels.get_mut(key) else {
            return;
        };
        if channel.queues.has(Queue::Data) {
            return;
        }
        let waiting = channel.send.buffer.len();
        if channel.can_send(waiting, &self.send_budget) {
            channel.queues.insert(Queue::Data);
            match waiting {
                0 => self.scheduler.add_end(key),
                _ => self.scheduler.add(key, &mut channel.share),
            }
        } else if waiting > 0 {
            let (credit, queues) = (&channel.send.credit, &mut channel.queues);
            self.send_budget.wait(key, credit, queues);
        }
    }

    /// So many bytes were paid back: those who wait for them are looked at, as far
    /// as they reach. The others' turn comes with the next, or with their own
    /// WINDOW. One that needs no loan any more takes no turn.
    pub(super) fn lend(&mut self, bytes: u64) {
        let mut turns = bytes.div_ceil(MAX_DATA as u64);
        if bytes > 0 && self.send_budget.is_all_free() {
            turns = u64::MAX; // no other payment will come for them
        }
        let mut left = self.send_budget.waiting.len();
        while turns > 0
            && left > 0
            && let Some(key) = self.send_budget.waiting.pop_front()
        {
            if let Some(channel) = self.channels.get_mut(key) {
                channel.queues.remove(Queue::Budget);
                turns -= u64::from(channel.needs_loan());
            }
            self.queue_data(key);
            left -= 1;
        }
    }

    fn last_frame(&mut self, out: &mut Vec<u8>) {
        match self.shutdown.last.take() {
            Some(LastFrame::GoAway(go_away)) => {
                self.hello(out);
                self.put(out, go_away);
            }
            Some(LastFrame::Hello) => self.put_hello(out),
            None => {}
        }
    }

    /// W8: until the client knows the peer's version, only what both know.
    fn first_flight(&mut self, out: &mut Vec<u8>, budget: usize) {
        if self.handshake.role == Role::Server {
            return;
        }
        let start = out.len();
        self.hello(out);
        let end = start + self.handshake.first_flight.min(budget);
        self.opens(out, end);
        self.data(out, end);
        self.handshake.spend_first_flight(out.len() - start);
    }

    /// W2, W3.
    fn hello(&mut self, out: &mut Vec<u8>) {
        if !self.handshake.send() {
            return;
        }
        self.put_hello(out);
        if !self.is_v0() {
            let body = self.config.settings.encode();
            self.put(out, Control::Settings { body });
        }
    }

    fn put_hello(&self, out: &mut Vec<u8>) {
        self.put(out, self.handshake.hello(self.config.magic));
    }

    fn put(&self, out: &mut Vec<u8>, control: Control) {
        Frame::Control(control).encode(self.handshake.own_version(), out);
    }

    fn connection_control(&mut self, out: &mut Vec<u8>, now: Instant) {
        if self.is_v0() {
            return;
        }
        // W9: whoever has answered a ping has sent all earlier opens.
        if self.pending.opens.is_empty()
            && let Some(token) = self.pending.pong.take()
        {
            self.put(out, Control::Pong { token });
        }
        if self.counts.is_limit_due() {
            let count = self.counts.advertise_limit();
            self.put(out, Control::MaxChannels { count });
        }
        if self.recv_budget.is_return_due() {
            let total = self.recv_budget.advertise_returned();
            self.put(out, Control::Return { total });
        }
        let drains = self.shutdown.drain == Drain::Pending;
        if !drains && !self.keepalive.is_ping_pending() {
            return;
        }
        let token = self.keepalive.ping(self.stats.bytes_sent, now);
        if drains {
            self.put(out, Control::Drain);
            self.shutdown.drain = Drain::Sent(token);
        }
        self.put(out, Control::Ping { token });
        self.send_deferred_stops();
    }

    fn opens(&mut self, out: &mut Vec<u8>, end: usize) {
        while out.len() < end
            && let Some(key) = self.pending.opens.pop_front()
        {
            if let Some(channel) = self.channels.get_mut(key) {
                channel.origin = Origin::Opened;
                let channel = channel.id;
                self.put(out, Control::Open { channel });
            }
        }
    }

    /// Opens come first: a channel's other frames must not overtake its OPEN.
    fn channel_control(&mut self, out: &mut Vec<u8>, end: usize) {
        while out.len() < end
            && self.pending.opens.is_empty()
            && let Some(key) = self.pending.control.pop_front()
        {
            let version = self.handshake.own_version();
            if let Some(channel) = self.channels.get_mut(key) {
                channel.queues.remove(Queue::Control);
                put_control(channel, &mut self.send_budget, version, out);
            }
            self.free_number_v0(key);
            self.forget_if_closed(key);
        }
        while out.len() < end
            && let Some(channel) = self.pending.refusals.pop_first()
        {
            self.put(out, Control::Close { channel });
            self.limits.on_closed(0);
        }
    }

    fn data(&mut self, out: &mut Vec<u8>, end: usize) {
        while out.len() < end
            && self.pending.opens.is_empty()
            && let Some(key) = self.scheduler.next()
        {
            self.channel_data(key, out, end);
        }
    }

    /// One frame of a channel, and FIN if that was the last.
    fn channel_data(&mut self, key: Key, out: &mut Vec<u8>, most: usize) {
        let (version, known) = (self.handshake.own_version(), self.version().is_some());
        let Some(channel) = self.channels.get_mut(key) else {
            return;
        };
        channel.queues.remove(Queue::Data);
        let unsent = channel.send.buffer.len();
        self.scheduler.take_turn(&mut channel.share);
        // The last of a large write, which is to be no longer than that.
        let fills_up = self.scheduler.with_bytes() == 0 && out.len() >= 2 * MAX_FRAME;
        let room = match most.saturating_sub(out.len() + HEADER) {
            0 => MAX_DATA,
            ..LEAST_DATA if !fills_up => MAX_DATA,
            room => room,
        };
        let budget = &mut self.send_budget;
        channel.drop_blocked(budget);
        let sent = next_frame(channel, budget, version, room, &mut self.free_list, out);
        self.scheduler.spend(&mut channel.share, sent);
        self.memory.count_less(channel);
        let left = channel.send.buffer.len();
        let frees = sent > 0 && std::mem::take(&mut channel.send.is_short);
        if left == 0 {
            if channel.ends() && known {
                end(channel, budget, version, out);
            }
        } else if channel.can_send(left, budget) {
            channel.queues.insert(Queue::Data);
            self.scheduler.requeue(key, &channel.share);
        } else {
            budget.wait(key, &channel.send.credit, &mut channel.queues);
        }
        let released = !channel.is_held();
        if released {
            self.make_room(|counts| counts.on_unsent_gone(unsent - left));
        }
        if frees {
            self.notify_writable(key);
        }
        self.free_number_v0(key);
        if released {
            self.forget_if_closed(key);
        }
    }
}

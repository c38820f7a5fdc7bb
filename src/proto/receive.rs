//! From the peer's frames to states and events.

use std::time::Instant;

use bytes::Bytes;

use super::channel::{Channel, End, Origin, Stop};
use super::connection::Connection;
use super::error::{ConnectionError, ErrorCode, REFUSED, violation};
use super::event::Event;
use super::key::Key;
use super::memory::Memory;
use super::recv_budget::RecvBudget;
use super::shutdown::Drain;
use crate::wire::{Control, Decoded, Settings};

/// Work in frames that a channel makes which the peer gives up: a task of the
/// application's ends with it.
const GIVEN_UP: u64 = 64;

/// Work in frames that a channel makes which begins: its state is allocated, and a task is
/// woken to accept it.
const OPENED: u64 = 4;

impl Connection {
    /// Takes bytes that the transport received at `now`: all of them, in any
    /// parts. After the end of the connection they are dropped.
    pub fn handle_input(&mut self, input: &[u8], now: Instant) {
        self.take_input(input, None, now);
    }

    /// Takes bytes as [`handle_input`](Self::handle_input) does, and keeps
    /// `block` instead of copying what channels get, where that is within their
    /// windows. So `block` should have no more memory than it has bytes.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// client.write(here, &[7; 4096])?;
    /// let mut bytes = Vec::new();
    /// client.poll_transmit(&mut bytes, 64 << 10, now);
    /// let block = bytes::Bytes::from(bytes.into_boxed_slice()); // no memory beyond its bytes
    /// server.handle_block(&block, now);
    /// assert_eq!(server.read(there, &mut [0; 8192])?, Read::Bytes(5 + 4096));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn handle_block(&mut self, block: &Bytes, now: Instant) {
        self.take_input(block, Some(block), now);
    }

    /// The work that what was received came to, in frames: each frame or part of
    /// a body is one, a DATA one more, an OPEN four more, and a RESET 64 more. So
    /// a driver knows when others should have their turn.
    pub fn work_received(&self) -> u64 {
        self.input.work
    }

    /// Whether the rest of a DATA frame is still to come.
    pub fn is_within_data(&self) -> bool {
        self.input.decoder.data_left() > 0
    }

    fn take_input(&mut self, mut input: &[u8], block: Option<&Bytes>, now: Instant) {
        if self.shutdown.has_ended() || input.is_empty() {
            return;
        }
        self.stats.bytes_received += input.len() as u64;
        self.heard(now);
        self.limits.refill(now);
        if !self.handshake.is_hello_received() {
            self.input.first.add(input);
        }
        if let Err(error) = self.frames(&mut input, block, now) {
            self.on_error(error);
        }
    }

    #[inline]
    fn frames(
        &mut self,
        input: &mut &[u8],
        block: Option<&Bytes>,
        now: Instant,
    ) -> Result<(), ConnectionError> {
        while let Some(decoded) = self.input.decoder.decode(input)? {
            self.input.work += 1;
            match decoded {
                Decoded::Payload(bytes) => self.on_payload(bytes, block),
                Decoded::Data { channel, len } => {
                    self.input.work += 1;
                    self.on_data(channel, len, now)?;
                }
                Decoded::Unknown { .. } => {
                    self.handshake.check_order(None)?;
                    self.limits.no_ops.take()?;
                }
                Decoded::Control(control) => {
                    self.handshake.learn(self.input.decoder.version());
                    self.on_control(control, now)?;
                }
            }
        }
        Ok(())
    }

    #[inline(never)]
    fn on_control(&mut self, control: Control, now: Instant) -> Result<(), ConnectionError> {
        self.handshake.check_order(Some(&control))?;
        match control {
            Control::Hello { magic } | Control::HelloReply { magic } => {
                self.handshake.on_hello(magic, &self.config)?;
                if self.is_v0() {
                    self.on_version0();
                    self.connected(Settings::default());
                }
            }
            Control::Settings { body } => self.on_settings(Settings::decode(&body)?),
            Control::Open { channel } if self.is_v0() => self.on_open_v0(channel)?,
            Control::Open { channel } => self.on_open(channel)?,
            Control::Close { channel } => self.on_close_v0(channel)?,
            Control::Window {
                channel,
                limit,
                loan,
            } => self.on_window(channel, (limit, loan))?,
            Control::Fin { channel, debt } => {
                self.on_end(channel, |channel, budget| channel.on_fin(debt, budget))?;
            }
            Control::Reset {
                channel,
                code,
                debt,
            } => {
                self.input.work += GIVEN_UP;
                self.on_end(channel, |channel, budget| {
                    channel.on_reset(code, debt, budget)
                })?;
            }
            Control::Stop { channel, code } => self.on_stop(channel, code)?,
            Control::Ping { token } => {
                self.limits.pings.take()?;
                // The last alone is answered, so a flood holds no memory.
                self.pending.pong = Some(token);
            }
            Control::Pong { token } => {
                if !self.keepalive.on_pong(token, now) {
                    self.limits.no_ops.take()?;
                }
                if self.shutdown.drain == Drain::Sent(token) {
                    self.drained();
                }
            }
            Control::MaxChannels { count } => {
                if !self.counts.is_news(count, self.handshake.peer.max_channels) {
                    self.limits.no_ops.take()?;
                }
                self.make_room(|counts| counts.on_max_channels(count));
            }
            Control::Drain if self.shutdown.peer_drains => self.limits.no_ops.take()?,
            Control::Drain => {
                self.shutdown.peer_drains = true;
                self.events.push(Event::Draining);
                self.send_deferred_stops();
            }
            Control::GoAway { last, code, text } => {
                self.refused_above(last);
                let code = ErrorCode(code);
                return Err(ConnectionError::PeerClosed { code, text });
            }
            Control::Return { total } => {
                let paid = self.send_budget.on_return(total)?;
                self.lend(paid);
            }
        }
        Ok(())
    }

    fn connected(&mut self, settings: Settings) {
        self.handshake.complete(settings);
        self.keepalive.on_connected();
        self.events.push(Event::Connected);
    }

    /// The peer's limits are at least what was assumed, so they only rise.
    fn on_settings(&mut self, settings: Settings) {
        self.connected(settings);
        self.make_room(|counts| counts.on_max_channels(settings.max_channels));
        let window = settings.initial_window.into();
        self.send_budget
            .on_settings(window, settings.receive_budget);
        for key in self.channels.keys() {
            if let Some(channel) = self.channels.get_mut(key) {
                channel.send.credit.begin_at(window);
            }
            self.queue_data(key);
        }
    }

    fn on_open(&mut self, id: u32) -> Result<(), ConnectionError> {
        self.counts.on_peer_open(id)?;
        if self.is_drained() {
            return violation(
                ErrorCode::PROTOCOL,
                "a channel was opened after the drain was acknowledged",
            );
        }
        self.note_opened();
        self.offer(id)
    }

    pub(super) fn note_opened(&mut self) {
        self.stats.accepted += 1;
        self.input.work += OPENED;
    }

    /// A channel that the peer has opened waits to be accepted. What the peer makes this
    /// side refuse comes to as little as what it gives up itself, so it is limited
    /// likewise.
    pub(super) fn offer(&mut self, id: u32) -> Result<(), ConnectionError> {
        let key = self.channels.insert(self.begin(id, Origin::Peer));
        let most = self.config.accept_backlog.unwrap_or(u32::MAX);
        if self.channels.incoming.len() >= most as usize {
            self.release_with(key, REFUSED);
            return self.limits.cancels.take();
        }
        self.channels.incoming.push_back(key);
        if self.channels.incoming.len() == 1 {
            self.events.push(Event::Acceptable);
        }
        Ok(())
    }

    fn on_window(&mut self, id: u32, advertised: (u64, u32)) -> Result<(), ConnectionError> {
        let Some(channel) = self.channels.known(id, &self.counts)? else {
            return self.limits.take_crossing();
        };
        channel.confirm("WINDOW after a refusal")?;
        let (key, ended) = (channel.key, channel.send.end == End::Sent);
        let credit = &mut channel.send.credit;
        let paid = self.send_budget.on_window(credit, advertised, ended)?;
        self.queue_data(key);
        self.lend(paid);
        Ok(())
    }

    fn on_data(&mut self, id: u32, len: usize, now: Instant) -> Result<(), ConnectionError> {
        self.handshake.check_order(None)?;
        let v0 = self.is_v0();
        let channel = match v0 {
            true => self.channels.by_id(id).filter(|c| c.is_open_sent()),
            false => self.channels.known(id, &self.counts)?,
        };
        let Some(channel) = channel else {
            self.input.receiving = None;
            // Version 0 can't keep its peer from sending on what was closed.
            return match (v0, len) {
                (false, _) => closed(id),
                (true, 0) => self.limits.no_ops.take(),
                (true, _) => Ok(()),
            };
        };
        let key = channel.key;
        let first = channel.is_ours() && channel.recv.credit.received == 0;
        self.stats.answered += u64::from(first);
        match v0 {
            true => channel.recv.credit.received += len as u64,
            false => {
                channel.on_data(len, &mut self.recv_budget)?;
                let (credit, queues) = (&channel.recv.credit, &mut channel.queues);
                self.recv_budget.delay_window(key, credit, queues, now);
            }
        }
        self.input.receiving = channel.reads().then_some(key);
        if channel.recv.stop == Stop::Deferred {
            self.send_deferred_stop(key);
        }
        match len {
            0 => self.limits.no_ops.take(), // version 0 only (W7, W8)
            _ => Ok(()),
        }
    }

    fn on_payload(&mut self, bytes: &[u8], block: Option<&Bytes>) {
        let (v0, left) = (self.is_v0(), self.memory_left());
        if let Some(key) = self.input.receiving
            && let Some(channel) = self.channels.get_mut(key)
            && channel.reads()
        {
            // Who was told of bytes reads until there are none, so is told once.
            let quiet = channel.recv.buffer.is_empty();
            let (buffer, free_list) = (&mut channel.recv.buffer, &mut self.free_list);
            let most = match v0 {
                true => usize::MAX,
                false => self.recv_budget.memory(&channel.recv.credit),
            };
            let most = Memory::most(buffer, most, left);
            match block {
                Some(block) if !v0 => buffer.keep(bytes, block, most, free_list),
                _ => buffer.extend(bytes, most, free_list),
            }
            let memory = buffer.memory();
            self.memory.count_more(channel, memory);
            self.stats.buffered += bytes.len() as u64;
            if quiet {
                self.notify_readable(key);
            }
        }
    }

    /// FIN or RESET.
    fn on_end(
        &mut self,
        id: u32,
        end: impl FnOnce(&mut Channel, &mut RecvBudget) -> Result<(), ConnectionError>,
    ) -> Result<(), ConnectionError> {
        let Some(channel) = self.channels.known(id, &self.counts)? else {
            return closed(id);
        };
        let key = channel.key;
        let unanswered = channel.is_unanswered();
        end(channel, &mut self.recv_budget)?;
        self.memory.count_less(channel);
        self.stats.unanswered += u64::from(unanswered);
        self.count_given_up(key)?;
        self.ended(key);
        Ok(())
    }

    fn on_stop(&mut self, id: u32, code: u32) -> Result<(), ConnectionError> {
        let Some(channel) = self.channels.known(id, &self.counts)? else {
            return self.limits.take_crossing();
        };
        let (key, unsent) = (channel.key, channel.send.buffer.len());
        let (held, again) = (channel.is_held(), channel.send.stopped);
        // After any other STOP an answer may still come.
        let refused = code == REFUSED && channel.is_unanswered();
        if !channel.on_stop(code) {
            // The first may have crossed the end.
            return match again {
                true => self.limits.no_ops.take(),
                false => Ok(()),
            };
        }
        self.memory.count_less(channel);
        if !held {
            self.make_room(|counts| counts.on_unsent_gone(unsent));
        }
        self.stats.unanswered += u64::from(refused);
        self.count_given_up(key)?;
        self.queue_control(key);
        self.notify_writable(key);
        Ok(())
    }

    /// Notes if the peer has just given a channel up.
    fn count_given_up(&mut self, key: Key) -> Result<(), ConnectionError> {
        if let Some(channel) = self.channels.get_mut(key)
            && self.stats.on_peer(channel)
            && channel.is_cancel()
        {
            self.limits.cancels.take()?;
        }
        Ok(())
    }

    /// The peer sends nothing more on a channel.
    pub(super) fn ended(&mut self, key: Key) {
        self.notify_readable(key);
        self.forget_if_closed(key);
    }
}

/// W14.1: a channel is only closed once its peer has ended its own direction.
fn closed<T>(id: u32) -> Result<T, ConnectionError> {
    let text = format!("channel {id} is closed: its sender had ended it");
    violation(ErrorCode::PROTOCOL, text)
}

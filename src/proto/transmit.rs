//! From what is owed to bytes.

use std::time::Instant;

use super::buffer::Spare;
use super::channel::{Half, State};
use super::flow_control::SendBudget;
use super::{Connection, Drain, Key, Role};
use crate::wire::{Control, Frame, MAX_DATA, Version, data_header};

/// Bytes of a DATA frame's header, and of the longest whole frame.
const HEADER: usize = 8;
const MAX_FRAME: usize = MAX_DATA + HEADER;

/// A frame that is shortened to fit the budget has at least so much of a body, unless no
/// other channel has any: less would make others wait longer for their turn.
const LEAST_DATA: usize = MAX_DATA / 4 * 3;

impl Connection {
    /// Appends frames to `out` until it is `budget` bytes longer or nothing is
    /// left, and says how many bytes were appended. The last frame may go over
    /// by a frame's size.
    ///
    /// Once it has appended bytes they must reach the peer, in this order.
    pub fn poll_transmit(&mut self, out: &mut Vec<u8>, budget: usize, now: Instant) -> usize {
        let start = out.len();
        if self.end.is_some() {
            self.farewell(out);
        } else if self.version.is_none() {
            self.first_flight(out, budget);
        } else if self.role == Role::Client || self.hello.received {
            self.hello(out);
            let end = start.saturating_add(budget);
            if !self.owed.opens.is_empty() {
                self.opens(out, end);
            }
            let opened = out.len() - start;
            self.connection_control(out, now);
            let before = out.len();
            self.channel_control(out, end);
            self.data(out, end);
            // A pong asks for no answer, or two idle peers would keep asking.
            if opened > 0 || out.len() > before {
                self.liveness.on_sent();
            }
        }
        let appended = out.len() - start;
        self.counters.sent += appended as u64;
        appended
    }

    /// Whether to call [`poll_transmit`](Self::poll_transmit). It may append
    /// nothing, if what was owed was for a channel that is over by now.
    pub fn wants_transmit(&self) -> bool {
        let owed = &self.owed;
        if self.end.is_some() {
            return owed.go_away.is_some() || owed.hello;
        }
        if self.role == Role::Server && !self.hello.received {
            return false;
        }
        let control = self.liveness.owes_ping() || owed.pong.is_some() || owed.max_channels;
        let control = control || self.recv_budget.owes_return() || owed.drain;
        let control = control && !self.is_v0();
        let queued = !owed.opens.is_empty() || !self.scheduler.is_empty();
        match self.version {
            None => !self.hello.sent || queued && self.first_flight > MAX_FRAME,
            Some(_) if !owed.refusals.is_empty() => true,
            Some(_) => !self.hello.sent || control || queued || !owed.control.is_empty(),
        }
    }

    /// Bytes of channels that [`poll_transmit`](Self::poll_transmit) appended.
    pub fn data_sent(&self) -> u64 {
        self.counters.data
    }

    /// How many channels have bytes that can leave.
    pub fn sending(&self) -> usize {
        self.scheduler.with_bytes()
    }

    /// Whether somebody waits for what is to be sent. What only gives things
    /// back (ends, windows, limits) may leave with the next that isn't.
    pub fn is_urgent(&self) -> bool {
        let owed = &self.owed;
        self.end.is_some()
            || !self.hello.sent
            || !owed.opens.is_empty()
            || !self.scheduler.is_empty()
            || self.liveness.owes_ping()
            || owed.pong.is_some()
    }

    /// The last bytes.
    fn farewell(&mut self, out: &mut Vec<u8>) {
        if let Some(go_away) = self.owed.go_away.take() {
            self.hello(out);
            self.put(out, go_away);
        } else if std::mem::take(&mut self.owed.hello) {
            self.put_hello(out);
        }
    }

    /// W8: until the client knows the peer's version, only what both know.
    fn first_flight(&mut self, out: &mut Vec<u8>, budget: usize) {
        if self.role == Role::Server {
            return;
        }
        let start = out.len();
        self.hello(out);
        let room = self.first_flight.saturating_sub(MAX_FRAME).min(budget);
        self.opens(out, start + room);
        self.data(out, start + room);
        self.first_flight = self.first_flight.saturating_sub(out.len() - start);
    }

    /// W2, W3.
    fn hello(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.hello.sent, true) {
            return;
        }
        self.put_hello(out);
        if !self.is_v0() {
            let body = self.config.settings.encode();
            self.put(out, Control::Settings { body });
        }
    }

    fn put_hello(&self, out: &mut Vec<u8>) {
        let magic = self.config.magic;
        let hello = match self.role {
            Role::Client => Control::Hello { magic },
            Role::Server => Control::HelloReply { magic },
        };
        self.put(out, hello);
    }

    fn put(&self, out: &mut Vec<u8>, control: Control) {
        Frame::Control(control).encode(self.version.unwrap_or(Version::V1), out);
    }

    fn connection_control(&mut self, out: &mut Vec<u8>, now: Instant) {
        if self.is_v0() {
            return;
        }
        // W9: whoever has answered a ping has sent all earlier opens.
        if self.owed.opens.is_empty()
            && let Some(token) = self.owed.pong.take()
        {
            self.put(out, Control::Pong { token });
        }
        if std::mem::take(&mut self.owed.max_channels) {
            let count = self.remote.limit;
            self.remote.told = count;
            self.put(out, Control::MaxChannels { count });
        }
        if self.recv_budget.owes_return() {
            let total = self.recv_budget.tell_returned();
            self.put(out, Control::Return { total });
        }
        if std::mem::take(&mut self.owed.drain) {
            self.put(out, Control::Drain);
            let token = self.liveness.ping(self.counters.sent, now);
            self.drain = Drain::Asked(Some(token));
            self.put(out, Control::Ping { token });
        } else if self.liveness.owes_ping() {
            let token = self.liveness.ping(self.counters.sent, now);
            self.put(out, Control::Ping { token });
            self.stop_all_parting();
        }
    }

    fn opens(&mut self, out: &mut Vec<u8>, end: usize) {
        while out.len() < end
            && let Some(key) = self.owed.opens.pop_front()
        {
            if let Some(state) = self.channels.get_mut(key) {
                state.opened = true;
                let channel = state.id;
                self.put(out, Control::Open { channel });
            }
        }
    }

    /// Opens come first: a channel's other frames must not overtake its OPEN.
    fn channel_control(&mut self, out: &mut Vec<u8>, end: usize) {
        while out.len() < end
            && self.owed.opens.is_empty()
            && let Some(key) = self.owed.control.pop_front()
        {
            let version = self.version.unwrap_or(Version::V1);
            if let Some(state) = self.channels.get_mut(key) {
                state.queued_control = false;
                owed_by(state, &mut self.send_budget, version, out);
            }
            self.free_number_v0(key);
            self.forget_if_over(key);
        }
        while out.len() < end
            && let Some(channel) = self.owed.refusals.pop_first()
        {
            self.put(out, Control::Close { channel });
            self.guards.on_over(0);
        }
    }

    fn data(&mut self, out: &mut Vec<u8>, end: usize) {
        while out.len() < end
            && self.owed.opens.is_empty()
            && let Some(key) = self.scheduler.next()
        {
            self.channel_data(key, out, end);
        }
    }

    /// One frame of a channel, and FIN if that was the last.
    fn channel_data(&mut self, key: Key, out: &mut Vec<u8>, most: usize) {
        let version = self.version.unwrap_or(Version::V1);
        let known = self.version.is_some();
        let Some(state) = self.channels.get_mut(key) else {
            return;
        };
        state.queued_data = false;
        let held = state.send.buffer.len();
        let full = held >= self.config.send_buffer;
        self.scheduler.take_turn(&mut state.share);
        // The last of a large piece, which is to be no longer than that.
        let fills_up = self.scheduler.with_bytes() == 0 && out.len() >= 2 * MAX_FRAME;
        let room = match most.saturating_sub(out.len() + HEADER) {
            0 => MAX_DATA,
            ..LEAST_DATA if !fills_up => MAX_DATA,
            room => room,
        };
        let budget = &mut self.send_budget;
        state.drop_blocked(budget);
        let sent = next_frame(state, budget, version, room, &mut self.spare, out);
        self.scheduler.spend(&mut state.share, sent);
        self.counters.data += sent as u64;
        let left = state.send.buffer.len();
        if left == 0 {
            if state.ends() && known {
                end(state, budget, version, out);
            }
        } else if state.can_send(left, budget) {
            state.queued_data = true;
            self.scheduler.requeue(key, &state.share);
        } else {
            budget.wait(state);
        }
        let released = state.released;
        if released {
            self.on_left(held - left);
        }
        if full && sent > 0 {
            self.notify_writable(key);
        }
        self.free_number_v0(key);
        if released {
            self.forget_if_over(key);
        }
    }
}

/// The frames that a channel owes.
fn owed_by(state: &mut State, budget: &mut SendBudget, version: Version, out: &mut Vec<u8>) {
    let channel = state.id;
    let mut put = |control| Frame::Control(control).encode(version, out);
    if std::mem::take(&mut state.owed.window) {
        let (limit, loan) = state.recv.credit.told();
        put(Control::Window {
            channel,
            limit,
            loan,
        });
    }
    if std::mem::take(&mut state.owed.stop) {
        let code = state.recv.half.code();
        put(Control::Stop { channel, code });
    }
    if std::mem::take(&mut state.owed.reset) {
        let code = state.send.half.code();
        let debt = budget.on_end(&state.send.credit);
        state.send.ended = true;
        put(Control::Reset {
            channel,
            code,
            debt,
        });
    }
    close(state, version, out);
}

/// Version 0: only once everything has left.
fn close(state: &mut State, version: Version, out: &mut Vec<u8>) {
    if state.owed.close && !state.send.half.is_alive() {
        state.owed.close = false;
        let channel = state.id;
        Frame::Control(Control::Close { channel }).encode(version, out);
    }
}

/// A data frame as large as the buffer, the credit, the channel's turn and `room`
/// allow; of how many bytes.
fn next_frame(
    state: &mut State,
    budget: &mut SendBudget,
    version: Version,
    room: usize,
    spare: &mut Spare,
    out: &mut Vec<u8>,
) -> usize {
    let most = MAX_DATA.min(room).min(state.share.turn()) as u64;
    let waiting = state.send.buffer.len() as u64;
    let n = budget.room(&state.send.credit, waiting).min(most) as usize;
    if n == 0 {
        return 0;
    }
    data_header(version, out, state.id, n);
    let append = |bytes: &[u8]| out.extend_from_slice(bytes);
    state.send.buffer.take(n, spare, append);
    budget.spend(&mut state.send.credit, n as u64);
    n
}

/// The end of the send half behind its bytes; version 0 says it by a CLOSE,
/// once the receive half is over too.
fn end(state: &mut State, budget: &mut SendBudget, version: Version, out: &mut Vec<u8>) {
    let half = std::mem::replace(&mut state.send.half, Half::Done);
    if version == Version::V0 {
        return close(state, version, out);
    }
    let (channel, debt) = (state.id, budget.on_end(&state.send.credit));
    state.send.ended = true;
    let end = match half {
        Half::Cut(code) => Control::Reset {
            channel,
            code,
            debt,
        },
        _ => Control::Fin { channel, debt },
    };
    Frame::Control(end).encode(version, out);
}

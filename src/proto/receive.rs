//! From the peer's frames to states and events.

use std::time::Instant;

use bytes::Bytes;

use super::channel::State;
use super::error::{REFUSED, code};
use super::flow_control::RecvBudget;
use super::stats::GivenUp;
use super::table::Table;
use super::{Connection, ConnectionError, Drain, Event, Key, Opener, Role};
use crate::wire::{Control, Decoded, Decoder, Protocol, Settings};

/// Frames that cost as much as a channel that the peer gives up, with which a task
/// of the application's ends.
const GIVEN_UP: u64 = 64;

/// Frames that cost as much as a channel that begins.
pub(super) const OPENED: u64 = 4;

impl Connection {
    /// Takes bytes that the transport received at `now`: all of them, in any
    /// pieces. After the end of the connection they are dropped.
    pub fn handle_input(&mut self, input: &[u8], now: Instant) {
        self.take_input(input, None, now);
    }

    /// Takes bytes as [`handle_input`](Self::handle_input) does, and keeps
    /// `block` instead of copying what channels get, where that is within their
    /// windows. So `block` should have no more memory than it has bytes.
    pub fn handle_block(&mut self, block: &Bytes, now: Instant) {
        self.take_input(block, Some(block), now);
    }

    fn take_input(&mut self, mut input: &[u8], block: Option<&Bytes>, now: Instant) {
        if self.end.is_some() || input.is_empty() {
            return;
        }
        self.counters.received += input.len() as u64;
        self.heard(now);
        self.guards.refill(now);
        // Borrowed apart, since frames change the rest.
        let mut decoder = std::mem::replace(&mut self.decoder, Decoder::new(Protocol::V1));
        let result = self.frames(&mut decoder, &mut input, block, now);
        self.decoder = decoder;
        if result.is_err() {
            // Also where the first frame is a bad one: what is said now must be
            // said in its version.
            self.version = self.version.or(self.decoder.version());
        }
        match result {
            Ok(()) => {}
            Err(ConnectionError::Violation { code, text }) => {
                let code = self.phase_code(code);
                let error = ConnectionError::violation(code, text.clone());
                self.go_away(code, &text, error);
            }
            Err(ConnectionError::Version(text)) if self.hello.received && !self.is_v0() => {
                let code = self.phase_code(code::PROTOCOL);
                let error = ConnectionError::violation(code, text.clone());
                self.go_away(code, &text, error);
            }
            Err(error) => {
                // Whatever version the peer speaks, a hello it understands.
                let mismatch = matches!(error, ConnectionError::Version(_));
                let silent = self.role == Role::Client || self.hello.sent;
                self.fail(error);
                self.owed.hello = mismatch && !silent;
            }
        }
    }

    #[inline]
    fn frames(
        &mut self,
        decoder: &mut Decoder,
        input: &mut &[u8],
        block: Option<&Bytes>,
        now: Instant,
    ) -> Result<(), ConnectionError> {
        while let Some(decoded) = decoder.decode(input)? {
            self.counters.work += 1;
            match decoded {
                Decoded::Payload(bytes) => self.on_payload(bytes, block),
                Decoded::Data { channel, len } => {
                    self.counters.work += 1;
                    self.on_data(channel, len, now)?;
                }
                Decoded::Unknown { .. } => {
                    self.check_order(None)?;
                    self.guards.idle.take()?;
                }
                Decoded::Control(control) => {
                    if !self.hello.received {
                        self.version = decoder.version();
                    }
                    self.on_control(control, now)?;
                }
            }
        }
        Ok(())
    }

    /// W2: before the peer's settings all violations have one code.
    fn phase_code(&self, code: u32) -> u32 {
        match self.hello.settings {
            true => code,
            false => code::HANDSHAKE,
        }
    }

    /// W2, W3: the hello and the settings come first, once.
    fn check_order(&self, control: Option<&Control>) -> Result<(), ConnectionError> {
        let fits = match control {
            Some(Control::Hello { .. }) => !self.hello.received && self.role == Role::Server,
            Some(Control::HelloReply { .. }) => !self.hello.received && self.role == Role::Client,
            Some(Control::Settings { .. }) => self.hello.received && !self.hello.settings,
            _ => self.hello.settings,
        };
        if fits {
            return Ok(());
        }
        let text = "the hello and the settings come first, once (W2, W3)";
        Err(ConnectionError::violation(code::PROTOCOL, text))
    }

    #[inline(never)]
    fn on_control(&mut self, control: Control, now: Instant) -> Result<(), ConnectionError> {
        self.check_order(Some(&control))?;
        match control {
            Control::Hello { magic } | Control::HelloReply { magic } => self.on_hello(magic)?,
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
                self.on_end(channel, |state, budget| state.on_fin(debt, budget))?;
            }
            Control::Reset {
                channel,
                code,
                debt,
            } => {
                self.counters.work += GIVEN_UP;
                self.on_end(channel, |state, budget| state.on_reset(code, debt, budget))?;
            }
            Control::Stop { channel, code } => self.on_stop(channel, code)?,
            Control::Ping { token } => {
                self.guards.pings.take()?;
                self.owed.pong = Some(token);
            }
            Control::Pong { token } => self.on_pong(token, now)?,
            Control::MaxChannels { count } => {
                let most = self.peer.max_channels.saturating_add(self.local.opened);
                if count <= self.local.limit || count > most {
                    self.guards.idle.take()?;
                }
                self.on_max_channels(count);
            }
            Control::Drain => match std::mem::replace(&mut self.local.draining, true) {
                true => self.guards.idle.take()?,
                false => {
                    self.events.push(Event::Draining);
                    self.stop_all_parting();
                }
            },
            Control::GoAway { last, code, text } => {
                self.refused_above(last);
                return Err(ConnectionError::PeerClosed { code, text });
            }
            Control::Return { total } => {
                let paid = self.send_budget.on_return(total)?;
                self.lend(paid);
            }
        }
        Ok(())
    }

    fn on_hello(&mut self, magic: u32) -> Result<(), ConnectionError> {
        if magic != self.config.magic {
            let mine = self.config.magic;
            let text = format!("the peer's magic is {magic:#010x} and this side's is {mine:#010x}");
            return Err(ConnectionError::violation(code::PROTOCOL, text));
        }
        self.hello.received = true;
        if self.is_v0() {
            self.on_version0();
            self.connected();
        }
        Ok(())
    }

    fn connected(&mut self) {
        self.hello.settings = true;
        self.liveness.on_connected();
        self.events.push(Event::Connected);
    }

    /// The peer's limits are at least what was assumed, so they only rise.
    fn on_settings(&mut self, settings: Settings) {
        self.connected();
        self.peer = settings;
        self.on_max_channels(settings.max_channels);
        let window = settings.initial_window.into();
        self.send_budget
            .on_settings(window, settings.receive_budget);
        for key in self.channels.keys() {
            if let Some(state) = self.channels.get_mut(key) {
                state.send.credit.begin_at(window);
            }
            self.queue_data(key);
        }
    }

    fn on_max_channels(&mut self, count: u32) {
        if count > self.local.limit {
            let full = self.room() == 0;
            self.local.limit = count;
            self.openable_if(full);
        }
    }

    fn on_pong(&mut self, token: u64, now: Instant) -> Result<(), ConnectionError> {
        if !self.liveness.on_pong(token, now) {
            self.guards.idle.take()?;
        }
        if self.drain == Drain::Asked(Some(token)) {
            self.drained();
        }
        Ok(())
    }

    /// Ids rise by two, up to 2^31 - 1; a count above the limit is a violation.
    fn on_open(&mut self, id: u32) -> Result<(), ConnectionError> {
        if id != self.remote.next || id > i32::MAX as u32 {
            let text = format!("channel {id} was opened out of order");
            return Err(ConnectionError::violation(code::PROTOCOL, text));
        }
        if self.remote.opened >= self.remote.told {
            let text = "more channels than were allowed";
            return Err(ConnectionError::violation(code::LIMIT, text));
        }
        if self.is_drained() {
            let text = "a channel was opened after the drain was acknowledged";
            return Err(ConnectionError::violation(code::PROTOCOL, text));
        }
        self.remote.next += 2;
        self.remote.opened += 1;
        self.counters.accepted += 1;
        self.counters.work += OPENED;
        self.owe_max_channels();
        let state = self.begin(id, false);
        let key = self.channels.insert(state);
        self.offer(key)
    }

    /// What the peer makes this side refuse comes to as little as what it gives
    /// up itself, so it is limited likewise.
    pub(super) fn offer(&mut self, key: Key) -> Result<(), ConnectionError> {
        let most = self.config.max_waiting.unwrap_or(u32::MAX);
        if self.incoming.len() >= most as usize {
            self.release_with(key, REFUSED);
            return self.guards.cancels.take();
        }
        self.incoming.push_back(key);
        if self.incoming.len() == 1 {
            self.events.push(Event::Acceptable);
        }
        Ok(())
    }

    fn on_window(&mut self, id: u32, told: (u64, u32)) -> Result<(), ConnectionError> {
        let Some(state) = self.channels.known(id, &self.local, &self.remote)? else {
            return self.guards.take_late();
        };
        state.peer_begins("WINDOW after a refusal")?;
        let (key, ended) = (state.key, state.send.ended);
        let credit = &mut state.send.credit;
        let paid = self.send_budget.on_window(credit, told, ended)?;
        self.queue_data(key);
        self.lend(paid);
        Ok(())
    }

    fn on_data(&mut self, id: u32, len: usize, now: Instant) -> Result<(), ConnectionError> {
        self.check_order(None)?;
        let v0 = self.is_v0();
        let state = match v0 {
            true => self.channels.by_id(id).filter(|state| state.opened),
            false => self.channels.known(id, &self.local, &self.remote)?,
        };
        let Some(state) = state else {
            self.receiving = None;
            // Version 0 can't keep its peer from sending on what was closed.
            return match (v0, len) {
                (false, _) => Err(ended(id)),
                (true, 0) => self.guards.idle.take(),
                (true, _) => Ok(()),
            };
        };
        let key = state.key;
        self.counters.answered += u64::from(state.ours && state.recv.credit.received == 0);
        match v0 {
            true => state.recv.credit.received += len as u64,
            false => {
                state.on_data(len, &mut self.recv_budget)?;
                self.recv_budget.delay_window(state, now);
            }
        }
        let parting = state.parting;
        self.receiving = state.reads().then_some(key);
        if parting {
            self.stop_parting(key);
        }
        match len {
            0 => self.guards.idle.take(), // version 0 only (W7, W8)
            _ => Ok(()),
        }
    }

    fn on_payload(&mut self, bytes: &[u8], block: Option<&Bytes>) {
        let v0 = self.is_v0();
        if let Some(key) = self.receiving
            && let Some(state) = self.channels.get_mut(key)
            && state.reads()
        {
            let quiet = state.recv.buffer.is_empty();
            let (buffer, spare) = (&mut state.recv.buffer, &mut self.spare);
            match (block, self.recv_budget.memory(&state.recv.credit)) {
                _ if v0 => buffer.extend(bytes, usize::MAX, spare),
                (Some(block), most) => buffer.keep(bytes, block, most, spare),
                (None, most) => buffer.extend(bytes, most, spare),
            }
            self.buffered += bytes.len() as u64;
            if quiet {
                self.notify_readable(key);
            }
        }
    }

    /// FIN or RESET.
    fn on_end(
        &mut self,
        id: u32,
        end: impl FnOnce(&mut State, &mut RecvBudget) -> Result<(), ConnectionError>,
    ) -> Result<(), ConnectionError> {
        let Some(state) = self.channels.known(id, &self.local, &self.remote)? else {
            return Err(ended(id));
        };
        let key = state.key;
        let unanswered = state.is_unanswered();
        end(state, &mut self.recv_budget)?;
        self.counters.unanswered += u64::from(unanswered);
        self.count_given_up(key)?;
        self.ended(key);
        Ok(())
    }

    fn on_stop(&mut self, id: u32, code: u32) -> Result<(), ConnectionError> {
        let Some(state) = self.channels.known(id, &self.local, &self.remote)? else {
            return self.guards.take_late();
        };
        let (key, held) = (state.key, state.send.buffer.len());
        let (released, again) = (state.released, state.peer_stopped);
        // After any other STOP an answer may still come.
        let refused = code == REFUSED && state.is_unanswered();
        if !state.on_stop(code) {
            // The first may have crossed the end.
            return if again {
                self.guards.idle.take()
            } else {
                Ok(())
            };
        }
        if released {
            self.on_left(held);
        }
        self.counters.unanswered += u64::from(refused);
        self.count_given_up(key)?;
        self.queue_control(key);
        self.notify_writable(key);
        Ok(())
    }

    /// Notes if the peer has just given a channel up.
    fn count_given_up(&mut self, key: Key) -> Result<(), ConnectionError> {
        let Some(state) = self.channels.get_mut(key) else {
            return Ok(());
        };
        let (given_up, cancel) = (state.given_up(), state.is_cancel());
        self.counters.count(given_up);
        match cancel && given_up != GivenUp::No {
            true => self.guards.cancels.take(),
            false => Ok(()),
        }
    }

    /// The peer sends nothing more on a channel.
    pub(super) fn ended(&mut self, key: Key) {
        self.notify_readable(key);
        self.forget_if_over(key);
    }

    /// The peer ends the connection and never gave these to its application.
    fn refused_above(&mut self, last: u32) {
        for state in self.channels.iter_mut() {
            if state.may_be_refused() && state.opened && state.id > last {
                state.opened = false;
                let counted = std::mem::replace(&mut state.counted, true);
                self.counters.refused_by_peer += u64::from(!counted);
            }
        }
    }
}

impl Table {
    /// A channel that is there, `None` for one that is over, an error for one
    /// that never was.
    #[inline]
    fn known(
        &mut self,
        id: u32,
        local: &Opener,
        remote: &Opener,
    ) -> Result<Option<&mut State>, ConnectionError> {
        let of_peer = id % 2 == remote.next % 2;
        let opener = if of_peer { remote } else { local };
        if id >= opener.next {
            return Err(never(id));
        }
        match self.by_id(id) {
            Some(state) if !state.opened => Err(never(id)),
            state => Ok(state),
        }
    }
}

/// W14.1: a channel is only closed once its peer has ended its own direction.
fn ended(id: u32) -> ConnectionError {
    let text = format!("channel {id} is closed: its sender had ended it");
    ConnectionError::violation(code::PROTOCOL, text)
}

fn never(id: u32) -> ConnectionError {
    ConnectionError::violation(code::PROTOCOL, format!("channel {id} was never opened"))
}

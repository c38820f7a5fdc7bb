//! From the peer's frames to states and events.

use std::time::Instant;

use super::channel::{Half, State};
use super::error::code;
use super::{Connection, ConnectionError, Event, Role};
use crate::wire::{Control, Decoded, Settings};

impl Connection {
    /// Takes bytes that the transport received at `now`: all of them, in any
    /// pieces. After the end of the connection they are dropped.
    pub fn handle_input(&mut self, mut input: &[u8], now: Instant) {
        if self.end.is_some() || input.is_empty() {
            return;
        }
        self.liveness.on_bytes(now);
        if let Err(error) = self.frames(&mut input, now) {
            match error {
                ConnectionError::Violation { code, ref text } => {
                    let text = text.clone();
                    self.go_away(code, &text, error);
                }
                error => self.fail(error),
            }
        }
    }

    fn frames(&mut self, input: &mut &[u8], now: Instant) -> Result<(), ConnectionError> {
        // Borrowed apart, since frames change the rest.
        let mut decoder = std::mem::take(&mut self.decoder);
        while let Some(decoded) = decoder.decode(input)? {
            match decoded {
                Decoded::Payload(bytes) => self.on_payload(bytes),
                Decoded::Data { channel, len } => self.on_data(channel, len)?,
                Decoded::Control(control) => self.on_control(control, now)?,
            }
        }
        self.decoder = decoder;
        Ok(())
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
        Err(ConnectionError::violation(code::HANDSHAKE, text))
    }

    fn on_control(&mut self, control: Control, now: Instant) -> Result<(), ConnectionError> {
        self.check_order(Some(&control))?;
        match control {
            Control::Hello { magic } | Control::HelloReply { magic } => self.on_hello(magic)?,
            Control::Settings { body } => self.on_settings(Settings::decode(&body)?),
            Control::Open { channel } => self.on_open(channel)?,
            Control::Window { channel, limit } => self.on_window(channel, limit)?,
            Control::Fin { channel } => {
                if let Some(state) = self.state(channel)? {
                    state.on_fin()?;
                    self.ended(channel);
                }
            }
            Control::Reset { channel, code } => {
                if let Some(state) = self.state(channel)? {
                    state.on_reset(code);
                    self.ended(channel);
                }
            }
            Control::Stop { channel, code } => {
                if let Some(state) = self.state(channel)? {
                    state.on_stop(code);
                    self.queue_control(channel);
                    self.notify_writable(channel);
                }
            }
            Control::Ping { token } => self.owed.pong = Some(token),
            Control::Pong { token } => self.liveness.on_pong(token, now),
            Control::MaxChannels { count } => self.on_max_channels(count),
            Control::Drain => {
                if !std::mem::replace(&mut self.local.draining, true) {
                    self.events.push_back(Event::Draining);
                }
            }
            Control::GoAway { code, text, .. } => {
                return Err(ConnectionError::PeerClosed { code, text });
            }
            Control::Blocked { channel, .. } => {
                self.state(channel)?;
            }
        }
        Ok(())
    }

    fn on_hello(&mut self, magic: u32) -> Result<(), ConnectionError> {
        if magic != self.config.magic {
            let mine = self.config.magic;
            let text = format!("the peer's magic is {magic:#010x} and this side's is {mine:#010x}");
            return Err(ConnectionError::violation(code::HANDSHAKE, text));
        }
        self.hello.received = true;
        Ok(())
    }

    /// The peer's limits are at least what was assumed, so they only rise.
    fn on_settings(&mut self, settings: Settings) {
        self.hello.settings = true;
        self.liveness.on_connected();
        self.peer = settings;
        self.on_max_channels(settings.max_channels);
        let ids: Vec<u32> = self.channels.keys().copied().collect();
        for id in ids {
            if let Some(state) = self.channels.get_mut(&id) {
                state.send.limit = state.send.limit.max(settings.initial_window.into());
            }
            self.queue_data(id);
        }
        self.events.push_back(Event::Connected);
    }

    fn on_max_channels(&mut self, count: u32) {
        if count > self.local.limit {
            self.local.limit = count;
            if std::mem::take(&mut self.local.blocked) {
                self.events.push_back(Event::Openable);
            }
        }
    }

    /// Ids rise by two; a count above the limit is a violation.
    fn on_open(&mut self, id: u32) -> Result<(), ConnectionError> {
        if id != self.remote.next {
            let text = format!("channel {id} was opened out of order");
            return Err(ConnectionError::violation(code::PROTOCOL, text));
        }
        if self.remote.opened >= self.remote.limit {
            let text = "more channels than were allowed";
            return Err(ConnectionError::violation(code::LIMIT, text));
        }
        self.remote.next += 2;
        self.remote.opened += 1;
        let window = self.config.settings.initial_window.into();
        let state = State::new(self.peer.initial_window.into(), window);
        self.channels.insert(id, state);
        self.incoming.push_back(id);
        if self.incoming.len() == 1 {
            self.events.push_back(Event::Acceptable);
        }
        Ok(())
    }

    fn on_window(&mut self, id: u32, limit: u64) -> Result<(), ConnectionError> {
        if let Some(state) = self.state(id)?
            && limit > state.send.limit
        {
            state.send.limit = limit;
            self.queue_data(id);
        }
        Ok(())
    }

    fn on_data(&mut self, id: u32, len: usize) -> Result<(), ConnectionError> {
        self.check_order(None)?;
        self.receiving = None;
        if let Some(state) = self.state(id)? {
            state.on_data(len)?;
            let reads = state.recv.half == Half::Open;
            self.receiving = reads.then_some(id);
        }
        Ok(())
    }

    fn on_payload(&mut self, bytes: &[u8]) {
        let Some(id) = self.receiving else { return };
        if let Some(state) = self.channels.get_mut(&id)
            && state.recv.half == Half::Open
        {
            let quiet = state.recv.buffer.is_empty();
            state.recv.buffer.extend(bytes);
            if quiet {
                self.notify_readable(id);
            }
        }
    }

    /// The peer sends nothing more on a channel.
    fn ended(&mut self, id: u32) {
        self.notify_readable(id);
        self.forget_if_over(id);
    }

    /// A channel that is there, `None` for one that is over, an error for one
    /// that never was.
    fn state(&mut self, id: u32) -> Result<Option<&mut State>, ConnectionError> {
        let of_peer = id % 2 == self.remote.next % 2;
        let opener = if of_peer { &self.remote } else { &self.local };
        if id >= opener.next {
            let text = format!("channel {id} was never opened");
            return Err(ConnectionError::violation(code::PROTOCOL, text));
        }
        Ok(self.channels.get_mut(&id))
    }
}

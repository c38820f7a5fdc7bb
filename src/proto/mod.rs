//! The protocol without I/O: bring your own.
//!
//! [`Connection`] is a state machine. It owns no socket, spawns nothing and
//! reads no clock: bytes and the time go in, bytes, events and the next
//! deadline come out. Any order of calls is safe. After each call that gives it
//! something, a driver:
//!
//! 1. writes what [`Connection::poll_transmit`] appends, until it appends nothing;
//! 2. takes [`Connection::poll_event`] until it is `None`;
//! 3. calls [`Connection::handle_timeout`] at [`Connection::poll_timeout`].
//!
//! Where a call names a channel that is unknown or over, it says so by
//! [`ChannelError::Unknown`] and does nothing.

mod application;
mod channel;
mod error;
mod event;
mod flow;
mod liveness;
mod receive;
mod scheduler;
mod transmit;

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

pub use self::application::Read;
pub use self::error::{ChannelError, ConnectionError, OpenError};
pub use self::event::Event;

use self::channel::{Half, State};
use self::flow::Budget;
use self::liveness::{Due, Liveness};
use self::scheduler::Scheduler;
use crate::config::Config;
use crate::wire::{Control, Decoder, Settings};

/// Which side of the connection this is. The client sends the first hello and
/// opens odd channels, the server even ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The side that dialled.
    Client,
    /// The side that accepted.
    Server,
}

/// One connection; see the [module](self).
#[derive(Debug)]
pub struct Connection {
    role: Role,
    config: Config,
    decoder: Decoder,
    liveness: Liveness,
    channels: HashMap<u32, State>,
    budget: Budget,
    scheduler: Scheduler,
    events: VecDeque<Event>,
    hello: Hello,
    peer: Settings,
    /// The channel whose DATA frame is being received.
    receiving: Option<u32>,
    local: Opener,
    remote: Opener,
    incoming: VecDeque<u32>,
    owed: Owed,
    end: Option<ConnectionError>,
}

/// How far the hello has come.
#[derive(Debug, Default)]
struct Hello {
    sent: bool,
    received: bool,
    settings: bool,
}

/// The ids that one side opens.
#[derive(Debug)]
struct Opener {
    next: u32,
    opened: u32,
    limit: u32,
    draining: bool,
    blocked: bool,
}

/// What the connection owes the peer, at most one of each.
#[derive(Debug, Default)]
struct Owed {
    ping: bool,
    pong: Option<u64>,
    max_channels: bool,
    drain: bool,
    go_away: Option<Control>,
    opens: VecDeque<u32>,
    control: VecDeque<u32>,
}

impl Connection {
    /// A connection over a transport that is up at `now`.
    pub fn new(role: Role, config: Config, now: Instant) -> Self {
        let window = config.settings.initial_window.into();
        let opener = |next, limit| Opener {
            next,
            opened: 0,
            limit,
            draining: false,
            blocked: false,
        };
        let assumed = Settings::default();
        let (mine, theirs) = match role {
            Role::Client => (1, 2),
            Role::Server => (2, 1),
        };
        Connection {
            role,
            decoder: Decoder::new(),
            liveness: Liveness::new(&config, now),
            channels: HashMap::new(),
            budget: Budget::new(config.receive_budget, window, config.max_window.into()),
            scheduler: Scheduler::default(),
            events: VecDeque::new(),
            hello: Hello::default(),
            peer: assumed,
            receiving: None,
            local: opener(mine, assumed.max_channels),
            remote: opener(theirs, config.settings.max_channels),
            incoming: VecDeque::new(),
            owed: Owed {
                ping: true, // the first round-trip sample
                ..Owed::default()
            },
            end: None,
            config,
        }
    }

    /// The smoothed round-trip time, once a first pong has come.
    pub fn rtt(&self) -> Option<Duration> {
        self.liveness.rtt()
    }

    /// Why the connection ended, if it has.
    pub fn error(&self) -> Option<&ConnectionError> {
        self.end.as_ref()
    }

    /// The transport ended. Without a GOAWAY before it, the connection was lost.
    pub fn handle_eof(&mut self) {
        self.fail(ConnectionError::Lost);
    }

    /// Does what is due at `now`; too early is harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.liveness.due(self.owed.ping, now) {
            Due::Nothing => {}
            Due::Ping => self.owed.ping = true,
            Due::HandshakeTimeout => self.fail(ConnectionError::HandshakeTimeout),
            Due::Dead => self.fail(ConnectionError::Dead),
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Instant> {
        let waits = self.end.is_none();
        waits.then(|| self.liveness.deadline(self.owed.ping))
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        if let Some(Event::Readable(id) | Event::Writable(id)) = event
            && let Some(state) = self.channels.get_mut(&id)
        {
            match event {
                Some(Event::Readable(_)) => state.told_readable = false,
                _ => state.told_writable = false,
            }
        }
        event
    }

    /// The one way out: everyone is told why.
    fn fail(&mut self, error: ConnectionError) {
        if self.end.is_some() {
            return;
        }
        for state in self.channels.values_mut() {
            let failed = || Half::Failed(ChannelError::Connection(error.clone()));
            if state.recv.half == Half::Open {
                state.recv.half = failed();
            }
            if matches!(state.send.half, Half::Open | Half::Ending) {
                state.send.half = failed();
            }
            state.send.buffer = VecDeque::new();
        }
        self.owed = Owed {
            go_away: self.owed.go_away.take(),
            ..Owed::default()
        };
        self.events.push_back(Event::Closed(error.clone()));
        self.end = Some(error);
    }

    /// Ends the connection with a GOAWAY of this code and text.
    fn go_away(&mut self, code: u32, text: &str, error: ConnectionError) {
        if self.end.is_some() {
            return;
        }
        let last = self.last_remote();
        let text = text.to_owned();
        self.owed.go_away = Some(Control::GoAway { last, code, text });
        self.fail(error);
    }

    /// The highest id that the peer has opened, 0 if none.
    fn last_remote(&self) -> u32 {
        match self.remote.opened {
            0 => 0,
            _ => self.remote.next - 2,
        }
    }

    /// Tells a channel's reader to look, once until the event is polled.
    fn notify_readable(&mut self, id: u32) {
        if let Some(state) = self.channels.get_mut(&id)
            && !std::mem::replace(&mut state.told_readable, true)
        {
            self.events.push_back(Event::Readable(id));
        }
    }

    /// Tells a channel's writer to look, once until the event is polled.
    fn notify_writable(&mut self, id: u32) {
        if let Some(state) = self.channels.get_mut(&id)
            && !std::mem::replace(&mut state.told_writable, true)
        {
            self.events.push_back(Event::Writable(id));
        }
    }

    /// Queues a channel's control frames.
    fn queue_control(&mut self, id: u32) {
        if let Some(state) = self.channels.get_mut(&id)
            && !state.queued_control
        {
            state.queued_control = true;
            self.owed.control.push_back(id);
        }
    }

    /// Queues a channel's data or FIN if any can go.
    fn queue_data(&mut self, id: u32) {
        if let Some(state) = self.channels.get_mut(&id)
            && !state.queued_data
            && state.can_send()
        {
            state.queued_data = true;
            self.scheduler.add(id);
        }
    }

    /// Forgets a channel that is over, and lets the peer open another for it.
    fn forget_if_over(&mut self, id: u32) {
        if !self.channels.get(&id).is_some_and(State::is_over) {
            return;
        }
        if let Some(state) = self.channels.remove(&id) {
            self.budget.release(&state.recv.credit);
        }
        if id % 2 == self.remote.next % 2 && self.remote.limit < i32::MAX as u32 {
            self.remote.limit += 1;
            self.owed.max_channels = true;
        }
    }
}

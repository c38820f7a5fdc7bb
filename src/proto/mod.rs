#![doc = include_str!("PROTO.md")]

mod application;
mod buffer;
mod channel;
mod clock;
mod config;
mod end;
mod error;
mod event;
mod flow_control;
mod guard;
mod liveness;
mod parting;
mod queues;
mod receive;
mod scheduler;
mod stats;
mod table;
#[cfg(test)]
mod tests;
mod transmit;
mod version0;

use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

pub use self::application::Read;
pub use self::config::Config;
pub use self::error::{ChannelError, ConnectionError, OpenError, REFUSED};
pub use self::event::Event;
pub use self::liveness::Round;
pub use self::stats::Stats;
pub use self::table::Key;

use self::buffer::Spare;
use self::channel::State;
use self::event::Events;
use self::flow_control::{RecvBudget, SendBudget};
use self::guard::Guards;
use self::liveness::Liveness;
use self::parting::Parting;
use self::scheduler::Scheduler;
use self::stats::Counters;
use self::table::Table;
use crate::wire::{Control, Decoder, MAX_DATA, Protocol, Settings, Version};

/// Channels that may wait for the peer to end them, beside as many as it says
/// it takes at a time, of which [`MOST_TAKEN`] are believed. An honest peer
/// takes no more before it has ended those.
const MOST_ENDING: usize = 8_192;
const MOST_TAKEN: u32 = 1 << 17;

/// Bytes that channels which were given up may have left to send before no more
/// channels are opened. So a peer that is slow to take them keeps a program from
/// writing ever more on new ones.
const MOST_LEAVING: usize = 16 << 20;

/// The most bytes that a client sends before it knows the peer's version (W8).
const FIRST_FLIGHT: usize = 64 * 1024;

/// Which side of the connection this is. The client sends the first hello and
/// opens odd channels, the server even ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
    /// None until the peer's first frame, under [`Protocol::Auto`].
    version: Option<Version>,
    decoder: Decoder,
    liveness: Liveness,
    channels: Table,
    spare: Spare,
    send_budget: SendBudget,
    recv_budget: RecvBudget,
    scheduler: Scheduler,
    events: Events,
    hello: Hello,
    peer: Settings,
    /// The channel whose DATA frame is being received.
    receiving: Option<Key>,
    /// Channels of this side that the application let go of and that are not
    /// over. Of the peer's there are no more than it may open.
    ending: usize,
    parting: Parting,
    /// Bytes that channels which were let go of still have to send.
    leaving: usize,
    /// Received bytes that wait to be read.
    buffered: u64,
    guards: Guards,
    local: Opener,
    remote: Opener,
    incoming: VecDeque<Key>,
    /// Channels that are [`State::is_unseen`].
    unseen: usize,
    /// Bytes that may still leave before the peer's version is known.
    first_flight: usize,
    /// The highest of the peer's ids that the application has got.
    last_handed: u32,
    owed: Owed,
    drain: Drain,
    since: Instant,
    counters: Counters,
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
    /// Above `i32::MAX` once they have run out.
    next: u32,
    opened: u32,
    limit: u32,
    /// The limit that was last told to the peer.
    told: u32,
    draining: bool,
}

/// What the connection owes the peer, at most one of each.
#[derive(Debug, Default)]
struct Owed {
    pong: Option<u64>,
    max_channels: bool,
    drain: bool,
    go_away: Option<Control>,
    /// The hello alone, to a peer of another version.
    hello: bool,
    opens: VecDeque<Key>,
    control: VecDeque<Key>,
    /// Numbers that get a CLOSE and have no channel; version 0 only.
    refusals: BTreeSet<u32>,
}

/// How far this side's drain has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drain {
    No,
    /// DRAIN is owed, or waits for the answer to the ping with this token:
    /// what the peer opened before it knew has arrived by then.
    Asked(Option<u64>),
    Done,
}

impl Connection {
    /// A connection over a transport that is up at `now`.
    pub fn new(role: Role, config: Config, now: Instant) -> Self {
        let opener = |next, limit| Opener {
            next,
            opened: 0,
            limit,
            told: limit,
            draining: false,
        };
        let assumed = Settings::default();
        let (mine, theirs) = match role {
            Role::Client => (1, 2),
            Role::Server => (2, 1),
        };
        Connection {
            role,
            version: config.protocol.fixed(),
            decoder: decoder(role, config.protocol),
            liveness: Liveness::new(&config, now),
            channels: Table::default(),
            spare: Spare::default(),
            send_budget: SendBudget::new(assumed.initial_window.into(), assumed.receive_budget),
            recv_budget: RecvBudget::new(
                config.settings.initial_window.into(),
                config.settings.receive_budget,
            ),
            scheduler: Scheduler::default(),
            events: Events::default(),
            hello: Hello::default(),
            peer: assumed,
            receiving: None,
            ending: 0,
            parting: Parting::default(),
            leaving: 0,
            buffered: 0,
            guards: Guards::new(&config, now),
            local: opener(mine, assumed.max_channels),
            remote: opener(theirs, config.settings.max_channels),
            incoming: VecDeque::new(),
            unseen: 0,
            first_flight: FIRST_FLIGHT,
            last_handed: 0,
            owed: Owed::default(),
            drain: Drain::No,
            since: now,
            counters: Counters::default(),
            end: None,
            config,
        }
    }

    /// The version that both sides speak, once it is known.
    pub fn version(&self) -> Option<Version> {
        self.version
    }

    /// Why the connection ended, if it has.
    pub fn error(&self) -> Option<&ConnectionError> {
        self.end.as_ref()
    }

    /// Channels that are not over.
    pub fn channels(&self) -> usize {
        self.channels.len()
    }

    /// Whether the transport should be read. Not while a version 0 peer, which
    /// knows no flow control, has sent more than the application reads.
    pub fn wants_input(&self) -> bool {
        !self.is_v0() || self.buffered < self.config.settings.receive_budget.max(1)
    }

    /// Whether the peer has said its hello.
    pub fn is_greeted(&self) -> bool {
        self.hello.settings
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop();
        match event {
            Some(Event::Readable(key)) => {
                if let Some(state) = self.channels.get_mut(key) {
                    state.told_readable = false;
                }
            }
            Some(Event::Writable(key)) => {
                if let Some(state) = self.channels.get_mut(key) {
                    state.told_writable = false;
                }
            }
            _ => {}
        }
        event
    }

    fn is_v0(&self) -> bool {
        self.version == Some(Version::V0)
    }

    /// Tells a channel's reader to look, once until the event is polled; and a writer
    /// that the peer has stopped, which may wait for what is read.
    fn notify_readable(&mut self, key: Key) {
        let Some(state) = self.channels.get_mut(key) else {
            return;
        };
        let stopped = state.peer_stopped;
        if !std::mem::replace(&mut state.told_readable, true) {
            self.events.push(Event::Readable(key));
        }
        if stopped {
            self.notify_writable(key);
        }
    }

    /// Tells a channel's writer to look, once until the event is polled.
    fn notify_writable(&mut self, key: Key) {
        if let Some(state) = self.channels.get_mut(key)
            && !std::mem::replace(&mut state.told_writable, true)
        {
            self.events.push(Event::Writable(key));
        }
    }

    /// Queues a channel's control frames.
    fn queue_control(&mut self, key: Key) {
        if let Some(state) = self.channels.get_mut(key)
            && !state.queued_control
        {
            state.queued_control = true;
            self.owed.control.push_back(key);
        }
    }

    /// Queues a channel's data or its end, if any can go.
    fn queue_data(&mut self, key: Key) {
        let Some(state) = self
            .channels
            .get_mut(key)
            .filter(|state| !state.queued_data)
        else {
            return;
        };
        let waiting = state.send.buffer.len();
        if state.can_send(waiting, &self.send_budget) {
            state.queued_data = true;
            match waiting {
                0 => self.scheduler.add_end(key),
                _ => self.scheduler.add(key, &mut state.share),
            }
        } else if waiting > 0 {
            self.send_budget.wait(state);
        }
    }

    /// So many bytes were paid back: those who wait for them are looked at, as far
    /// as they reach. The others' turn comes with the next, or with their own
    /// WINDOW. One that needs no loan any more takes no turn.
    fn lend(&mut self, bytes: u64) {
        let mut turns = bytes.div_ceil(MAX_DATA as u64);
        if bytes > 0 && self.send_budget.is_all_free() {
            turns = u64::MAX; // no other payment will come for them
        }
        let mut left = self.send_budget.waiting.len();
        while turns > 0
            && left > 0
            && let Some(key) = self.send_budget.waiting.pop_front()
        {
            if let Some(state) = self.channels.get_mut(key) {
                state.waits_for_budget = false;
                turns -= u64::from(state.needs_loan());
            }
            self.queue_data(key);
            left -= 1;
        }
    }

    /// Gives the WINDOWs that have waited for more to be read.
    fn give_delayed_windows(&mut self) {
        for key in self.recv_budget.take_delayed() {
            if let Some(state) = self.channels.get_mut(key) {
                state.window_delayed = false;
            }
            self.pay(key);
        }
    }

    /// A channel that was given up has so many bytes less to send: they left,
    /// or were dropped.
    fn on_left(&mut self, bytes: usize) {
        let full = self.room() == 0;
        self.leaving -= bytes;
        self.openable_if(full);
    }

    /// Forgets a channel that is over, and lets the peer open another for it.
    fn forget_if_over(&mut self, key: Key) {
        if !self.channels.get(key).is_some_and(State::is_over) {
            return;
        }
        let Some(state) = self.channels.remove(key) else {
            return;
        };
        self.sweep(&state);
        self.counters.carried += state.carried();
        self.ending -= usize::from(state.ours);
        let late_windows = self.send_budget.late_windows(&state.send.credit);
        self.guards.on_over(late_windows);
        match (state.ours, self.is_v0()) {
            (true, true) => {
                let full = self.room() == 0;
                self.local.opened -= 1;
                self.openable_if(full);
            }
            (true, false) => {}
            (false, true) => self.remote.opened -= 1,
            (false, false) => self.allow_another(),
        }
    }

    /// One more channel for the peer.
    fn allow_another(&mut self) {
        self.remote.limit = (self.remote.limit + 1).min(i32::MAX as u32);
        self.owe_max_channels();
    }

    /// The peer is told of several channels at once, or of any once it is
    /// short of them.
    fn owe_max_channels(&mut self) {
        let more = self.remote.limit - self.remote.told;
        let short = more > 0 && self.is_peer_short();
        self.owed.max_channels |= more >= self.some_channels() || short;
    }

    /// Whether the peer may soon open no more channels.
    fn is_peer_short(&self) -> bool {
        self.remote.told.saturating_sub(self.remote.opened) < self.some_channels()
    }

    fn some_channels(&self) -> u32 {
        self.config.settings.max_channels / 4
    }
}

fn decoder(role: Role, protocol: Protocol) -> Decoder {
    match (role, protocol) {
        (Role::Server, Protocol::V0) => Decoder::version0_server(),
        _ => Decoder::new(protocol),
    }
}

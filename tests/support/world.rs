//! Applications on both ends of a virtual link, which do what they are told and
//! notice whatever the cores must not do.
#![allow(dead_code)] // each test file uses a part

#[path = "actions.rs"]
pub mod actions;

use std::collections::HashSet;
use std::fmt;
use std::sync::LazyLock;
use std::time::Duration;

use tcpchan::proto::{
    ChannelError, Connection, ConnectionError, Event, Key, OpenError, Read, Role,
};

use crate::pair::Pair;
use actions::{Action, MOST, Setup};

/// Virtual time within which everything that can end has ended.
const BOUND: Duration = Duration::from_secs(60);

/// One direction of a channel, as both applications know it together.
#[derive(Debug, Default)]
struct Stream {
    written: usize,
    read: usize,
    finished: bool,
    /// The writer reset it or let go of it unfinished.
    given_up: bool,
    /// The reader stopped it or let go of it.
    stopped: bool,
}

#[derive(Debug)]
struct Held {
    key: Key,
    id: u32,
    /// Waits for an event, as a task would.
    reader_sleeps: bool,
    writer_sleeps: bool,
    read_ended: bool,
}

/// One side's application.
#[derive(Debug, Default)]
struct App {
    held: Vec<Held>,
    opener_sleeps: bool,
    accepter_sleeps: bool,
    lazy: bool,
}

pub struct World {
    pub pair: Pair,
    client: App,
    server: App,
    /// The initial window and the budget of each side.
    limits: [(u64, u64); 2],
    /// By channel: what the server writes, what the client writes.
    streams: Vec<[Stream; 2]>,
    handed: HashSet<u32>,
    retryable: HashSet<u32>,
    /// The link did what ends connections.
    rough: bool,
}

const ROLES: [Role; 2] = [Role::Client, Role::Server];

fn other(role: Role) -> Role {
    match role {
        Role::Client => Role::Server,
        Role::Server => Role::Client,
    }
}

/// What every stream repeats.
static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let byte = |i: usize| ((i % PERIOD).wrapping_mul(2_654_435_761) >> 16) as u8;
    (0..PERIOD + MOST).map(byte).collect()
});

/// A prime, so that it fits no window or frame.
const PERIOD: usize = 65_521;

/// What stands at a place of a stream.
fn pattern(id: u32, from: usize, len: usize) -> &'static [u8] {
    let start = (from + id as usize * 31) % PERIOD;
    &BYTES[start..start + len]
}

impl World {
    /// Applications over a link.
    pub fn new(client: Setup, server: Setup) -> World {
        let limits = |setup: &Setup| (setup.initial_window, setup.receive_budget);
        World {
            limits: [limits(&client), limits(&server)],
            pair: Pair::new(client.config, server.config),
            client: App::default(),
            server: App::default(),
            streams: Vec::new(),
            handed: HashSet::new(),
            retryable: HashSet::new(),
            rough: false,
        }
    }

    /// Does all of it, then lets everything come to its end.
    pub fn live(mut self, actions: &[Action]) {
        for action in actions {
            self.act(action.clone());
            self.check();
        }
        self.settle();
    }

    fn app(&mut self, role: Role) -> &mut App {
        match role {
            Role::Client => &mut self.client,
            Role::Server => &mut self.server,
        }
    }

    fn stream(&mut self, id: u32, writer: Role) -> &mut Stream {
        let (id, by_client) = (id as usize, writer == Role::Client);
        if id >= self.streams.len() {
            self.streams.resize_with(id + 1, Default::default);
        }
        &mut self.streams[id][usize::from(by_client)]
    }

    fn pick(&mut self, role: Role, i: usize) -> Option<usize> {
        let count = self.app(role).held.len();
        (count > 0).then(|| i % count)
    }

    fn act(&mut self, action: Action) {
        use Action::*;
        match action {
            Open(role, n) => (0..n).for_each(|_| self.open(role)),
            Accept(role) => self.accept(role),
            Write(role, i, n) => self.on(role, i, |world, i| world.write(role, i, n)),
            Read(role, i, n) => self.on(role, i, |world, i| world.read(role, i, n)),
            Finish(role, i) => self.on(role, i, |world, i| world.finish(role, i)),
            Reset(role, i) => self.on(role, i, |world, i| world.reset(role, i)),
            Stop(role, i) => self.on(role, i, |world, i| world.stop(role, i)),
            Release(role, i) => self.on(role, i, |world, i| world.release(role, i)),
            Refuse(role) => self.pair.core(role).refuse_waiting(),
            Drain(role) => self.pair.core(role).drain(),
            Close(role) => {
                // Before the version is known there is no GOAWAY to say it with.
                self.rough |= self.pair.core(role).version().is_none();
                self.pair.core(role).close("enough");
            }
            Lazy(role, on) => self.app(role).lazy = on,
            Stall(from, on) => {
                self.rough |= on;
                self.pair.wire(from).stalled = on;
            }
            Delay(from, ms) => self.pair.wire(from).delay = Duration::from_millis(ms),
            Split(from, piece) => self.pair.wire(from).piece = piece,
            Exchange => _ = self.pair.exchange(),
            Wait(ms) => self.pair.wait(Duration::from_millis(ms)),
            Cut => {
                self.rough = true;
                self.pair.cut();
            }
        }
    }

    fn on(&mut self, role: Role, i: usize, act: impl FnOnce(&mut World, usize)) {
        if let Some(i) = self.pick(role, i) {
            act(self, i);
        }
    }

    fn open(&mut self, role: Role) {
        match self.pair.core(role).open() {
            Ok(key) => {
                assert!(self.app(role).awake_or_lazy(|app| app.opener_sleeps));
                self.hold(role, key);
            }
            Err(OpenError::Blocked) => self.app(role).opener_sleeps = true,
            Err(_) => {}
        }
    }

    fn accept(&mut self, role: Role) {
        match self.pair.core(role).accept() {
            Some(key) => {
                assert!(self.app(role).awake_or_lazy(|app| app.accepter_sleeps));
                let id = self.hold(role, key);
                self.handed.insert(id);
            }
            None => self.app(role).accepter_sleeps = true,
        }
    }

    fn hold(&mut self, role: Role, key: Key) -> u32 {
        let id = self.pair.core(role).id(key).expect("a living channel");
        self.app(role).held.push(Held {
            key,
            id,
            reader_sleeps: false,
            writer_sleeps: false,
            read_ended: false,
        });
        id
    }

    fn write(&mut self, role: Role, i: usize, n: usize) {
        let Held {
            key,
            id,
            writer_sleeps,
            ..
        } = self.app(role).held[i];
        let bytes = pattern(id, self.stream(id, role).written, n);
        let result = self.pair.core(role).write(key, bytes);
        let lazy = self.app(role).lazy;
        assert!(
            !writer_sleeps || lazy || result == Ok(0),
            "a writer slept on: {result:?}"
        );
        match result {
            Ok(0) => self.app(role).held[i].writer_sleeps = true,
            Ok(n) => self.stream(id, role).written += n,
            Err(error) => self.explain(role, id, error, false),
        }
    }

    fn read(&mut self, role: Role, i: usize, most: usize) {
        let Held {
            key,
            id,
            reader_sleeps,
            ..
        } = self.app(role).held[i];
        let from = self.stream(id, other(role)).read;
        let (mut at, mut as_written) = (from, true);
        let mut see = |bytes: &[u8]| {
            as_written &= bytes == pattern(id, at, bytes.len());
            at += bytes.len();
        };
        let core = self.pair.core(role);
        let result = match most % 2 {
            0 => core.read_with(key, most, see),
            _ => {
                let mut buf = vec![0; most];
                let result = core.read(key, &mut buf);
                if let Ok(Read::Bytes(n)) = result {
                    see(&buf[..n]);
                }
                result
            }
        };
        assert!(as_written, "other bytes than were written");
        let lazy = self.app(role).lazy;
        let blocked = result == Ok(Read::Blocked);
        assert!(
            !reader_sleeps || lazy || blocked,
            "a reader slept on: {result:?}"
        );
        let stream = self.stream(id, other(role));
        match result {
            Ok(Read::Blocked) => self.app(role).held[i].reader_sleeps = true,
            Ok(Read::Bytes(n)) => {
                assert_eq!(at, from + n, "other bytes than were counted");
                stream.read += n;
                assert!(stream.read <= stream.written);
            }
            Ok(Read::Finished) => {
                assert!(stream.finished, "an end of file that nobody wrote");
                assert_eq!(stream.read, stream.written, "an end of file before the end");
                self.app(role).held[i].read_ended = true;
            }
            Err(error) => {
                self.app(role).held[i].read_ended = true;
                self.explain(role, id, error, true);
            }
        }
    }

    /// An error must have its reason.
    fn explain(&mut self, role: Role, id: u32, error: ChannelError, reading: bool) {
        if error.is_retryable() {
            self.retryable.insert(id);
        }
        let end = self.pair.core(role).error().cloned();
        let (there, here) = (other(role), role);
        let reason = match error {
            ChannelError::Reset(_) => self.stream(id, there).given_up,
            ChannelError::Stopped(_) => self.stream(id, here).stopped,
            ChannelError::Refused(_) => true, // checked against what was handed out
            ChannelError::Ended if reading => self.stream(id, there).stopped,
            ChannelError::Ended => self.stream(id, here).finished || self.stream(id, here).given_up,
            ChannelError::Connection(ref error) => end.as_ref() == Some(error),
            _ => false,
        };
        assert!(reason, "no reason for {error:?} on channel {id}");
    }

    fn finish(&mut self, role: Role, i: usize) {
        let Held { key, id, .. } = self.app(role).held[i];
        if self.pair.core(role).finish(key).is_ok() {
            self.stream(id, role).finished = true;
            self.app(role).held[i].writer_sleeps = false;
        }
    }

    fn reset(&mut self, role: Role, i: usize) {
        let Held { key, id, .. } = self.app(role).held[i];
        self.pair.core(role).reset(key, 5);
        self.stream(id, role).given_up = true;
        self.app(role).held[i].writer_sleeps = false;
    }

    fn stop(&mut self, role: Role, i: usize) {
        let Held { key, id, .. } = self.app(role).held[i];
        self.pair.core(role).stop(key, 6);
        self.stream(id, other(role)).stopped = true;
        self.app(role).held[i].reader_sleeps = false;
    }

    fn release(&mut self, role: Role, i: usize) {
        let Held { key, id, .. } = self.app(role).held.swap_remove(i);
        self.pair.core(role).release(key);
        let sent = self.stream(id, role);
        sent.given_up |= !sent.finished;
        self.stream(id, other(role)).stopped = true;
        let core = self.pair.core(role);
        assert_eq!(core.read(key, &mut [0]), Err(ChannelError::Unknown));
        assert_eq!(core.write(key, b"x"), Err(ChannelError::Unknown));
    }

    /// What holds after every step.
    pub fn check(&mut self) {
        assert!(
            self.handed.is_disjoint(&self.retryable),
            "retryable, but handed out"
        );
        for (role, (initial, budget)) in ROLES.into_iter().zip(self.limits) {
            let rough = self.rough;
            let core = self.pair.core(role);
            assert!(
                is_honest(core.error(), rough),
                "{role:?}: {:?}",
                core.error()
            );
            let stats = core.stats();
            let most = stats.channels as u64 * initial + budget;
            assert!(stats.buffered <= most, "{} bytes held", stats.buffered);
            assert!(stats.budget_left <= budget);
            assert_eq!(stats.no_op_frames, 0, "an honest side was charged");
            if !self.app(role).lazy {
                self.wake(role);
                self.probe(role);
            }
        }
    }

    fn wake(&mut self, role: Role) {
        while let Some(event) = self.pair.core(role).poll_event() {
            let app = self.app(role);
            match event {
                Event::Acceptable => app.accepter_sleeps = false,
                Event::Openable | Event::Draining => app.opener_sleeps = false,
                Event::Readable(key) => {
                    let held = app.held.iter_mut().filter(|held| held.key == key);
                    held.for_each(|held| held.reader_sleeps = false);
                }
                Event::Writable(key) => {
                    let held = app.held.iter_mut().filter(|held| held.key == key);
                    held.for_each(|held| held.writer_sleeps = false);
                }
                Event::Closed => {
                    (app.accepter_sleeps, app.opener_sleeps) = (false, false);
                    for held in &mut app.held {
                        (held.reader_sleeps, held.writer_sleeps) = (false, false);
                    }
                }
                _ => {}
            }
        }
    }

    /// Whoever sleeps has nothing to do: trying again changes nothing.
    fn probe(&mut self, role: Role) {
        for i in 0..self.app(role).held.len() {
            if self.app(role).held[i].reader_sleeps {
                self.read(role, i, 1);
            }
            if self.app(role).held[i].writer_sleeps {
                self.write(role, i, 1);
            }
        }
        if self.app(role).opener_sleeps {
            self.open(role);
        }
        if self.app(role).accepter_sleeps {
            self.accept(role);
        }
    }

    /// The link is good again, and whoever is awake finishes and reads to the
    /// end: within bounded time nothing is left on either side.
    fn settle(&mut self) {
        for role in ROLES {
            self.app(role).lazy = false;
            self.pair.wire(role).stalled = false;
            self.pair.wire(role).piece = usize::MAX;
        }
        let until = self.pair.now + BOUND;
        self.check();
        while !self.finish_all() || self.pair.is_busy() {
            assert!(self.pair.now < until, "stuck: {self:#?}");
            self.pair.wait(Duration::from_millis(50));
            self.check();
        }
        self.conserved();
    }

    /// Everyone who is awake comes closer to the end; whether all have come.
    fn finish_all(&mut self) -> bool {
        for role in ROLES {
            while !self.app(role).accepter_sleeps && self.app(role).held.len() < 5000 {
                self.accept(role);
            }
            for i in (0..self.app(role).held.len()).rev() {
                self.finish(role, i);
                while !self.app(role).held[i].reader_sleeps && !self.app(role).held[i].read_ended {
                    self.read(role, i, MOST);
                }
                if self.app(role).held[i].read_ended {
                    self.release(role, i);
                }
            }
        }
        ROLES
            .iter()
            .all(|role| self.app(*role).held.is_empty() && self.is_empty(*role))
    }

    fn is_empty(&mut self, role: Role) -> bool {
        self.pair.core(role).channels() == 0
    }

    /// Nothing is left: no bytes, no credit that is lost, nothing to send.
    fn conserved(&mut self) {
        for (role, (_, budget)) in ROLES.into_iter().zip(self.limits) {
            let core: &Connection = self.pair.core(role);
            assert!(!core.wants_transmit());
            assert_eq!(core.stats().buffered, 0);
            if core.error().is_none() {
                assert_eq!(core.stats().budget_left, budget, "credit was lost");
            }
        }
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (core, app) in [
            (&self.pair.client, &self.client),
            (&self.pair.server, &self.server),
        ] {
            write!(f, "{:#?} {:?} {app:#?}", core.stats(), core.error())?;
        }
        Ok(())
    }
}

impl App {
    fn awake_or_lazy(&self, sleeps: impl Fn(&App) -> bool) -> bool {
        self.lazy || !sleeps(self)
    }
}

/// Honest sides never see a violation, and lose nothing without a reason.
fn is_honest(end: Option<&ConnectionError>, rough: bool) -> bool {
    match end {
        None | Some(ConnectionError::Closed) => true,
        Some(ConnectionError::PeerClosed { code, .. }) => code.0 == 0,
        Some(
            ConnectionError::Lost(_)
            | ConnectionError::NoHello(_)
            | ConnectionError::Dead
            | ConnectionError::HandshakeTimeout,
        ) => rough,
        Some(_) => false,
    }
}

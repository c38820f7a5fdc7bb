//! Two cores on a virtual link, on a clock that the test moves.
#![allow(dead_code)] // each test file uses a part

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tcpchan::proto::{ChannelError, Config, Connection, Key, Read, Role};

/// Bytes from which a piece is one that channels may keep.
const PIECE: usize = 4 << 10;

/// Bytes on their way at which a sender's transport is full.
const CAPACITY: usize = 256 << 10;

/// A client and a server.
pub struct Pair {
    pub client: Connection,
    pub server: Connection,
    pub now: Instant,
    /// From the client to the server.
    pub up: Wire,
    /// From the server to the client.
    pub down: Wire,
}

/// One direction of the link.
pub struct Wire {
    pub delay: Duration,
    /// Arriving bytes are handed over in pieces of this size.
    pub piece: usize,
    /// Bytes are held back, and the sender finds its transport full.
    pub stalled: bool,
    flying: VecDeque<(Instant, Vec<u8>)>,
    /// Bytes of those.
    load: usize,
    /// Whether the sender is told that it is full.
    pub tells: bool,
    was_full: bool,
    /// The sender has ended and said all that it will.
    closed: bool,
}

impl Default for Wire {
    fn default() -> Self {
        Wire {
            delay: Duration::ZERO,
            piece: usize::MAX,
            stalled: false,
            flying: VecDeque::new(),
            load: 0,
            tells: false,
            was_full: false,
            closed: false,
        }
    }
}

impl Wire {
    /// Takes what the sender owes; whether there was anything.
    fn send(&mut self, from: &mut Connection, now: Instant) -> bool {
        let mut any = false;
        match (self.is_full(), self.was_full) {
            (true, _) if self.tells => from.handle_blocked(now),
            (false, true) => from.handle_progress(now),
            _ => {}
        }
        self.was_full = self.tells && self.is_full();
        while !self.is_full() {
            let mut bytes = Vec::new();
            let wanted = from.wants_transmit();
            if from.poll_transmit(&mut bytes, 64 << 10, now) == 0 {
                self.closed = from.error().is_some();
                break;
            }
            assert!(wanted, "sent {} bytes that it did not want to", bytes.len());
            self.push(bytes, now);
            any = true;
        }
        any
    }

    fn push(&mut self, bytes: Vec<u8>, now: Instant) {
        self.load += bytes.len();
        self.flying.push_back((now + self.delay, bytes));
    }

    /// Hands over what has arrived; whether there was anything.
    fn deliver(&mut self, to: &mut Connection, now: Instant) -> bool {
        let mut any = false;
        while self.arrival().is_some_and(|at| at <= now)
            && let Some((_, bytes)) = self.flying.pop_front()
        {
            self.load -= bytes.len();
            for piece in bytes.chunks(self.piece) {
                match piece.len() < PIECE {
                    true => to.handle_input(piece, now),
                    false => to.handle_block(&piece.to_vec().into(), now),
                }
            }
            any = true;
        }
        if self.closed && self.flying.is_empty() && to.error().is_none() {
            to.handle_eof();
            any = true;
        }
        any
    }

    fn is_full(&self) -> bool {
        self.stalled || self.load >= CAPACITY
    }

    fn arrival(&self) -> Option<Instant> {
        let (at, _) = self.flying.front().filter(|_| !self.stalled)?;
        Some(*at)
    }
}

impl Pair {
    pub fn new(client: Config, server: Config) -> Pair {
        let now = Instant::now();
        Pair {
            client: Connection::new(Role::Client, client, now),
            server: Connection::new(Role::Server, server, now),
            now,
            up: Wire::default(),
            down: Wire::default(),
        }
    }

    /// Two cores whose hellos are through.
    pub fn up() -> Pair {
        let mut pair = Pair::new(Config::default(), Config::default());
        pair.run();
        pair
    }

    pub fn core(&mut self, role: Role) -> &mut Connection {
        match role {
            Role::Client => &mut self.client,
            Role::Server => &mut self.server,
        }
    }

    /// The direction in which a side sends.
    pub fn wire(&mut self, from: Role) -> &mut Wire {
        match from {
            Role::Client => &mut self.up,
            Role::Server => &mut self.down,
        }
    }

    /// Bytes arrive in pieces of this size, in both directions.
    pub fn split(mut self, piece: usize) -> Pair {
        (self.up.piece, self.down.piece) = (piece, piece);
        self
    }

    /// Sends and hands over what can go now; whether anything moved.
    pub fn exchange(&mut self) -> bool {
        let sent =
            self.up.send(&mut self.client, self.now) | self.down.send(&mut self.server, self.now);
        sent | self.up.deliver(&mut self.server, self.now)
            | self.down.deliver(&mut self.client, self.now)
    }

    /// Moves what can move until nothing is on its way.
    pub fn run(&mut self) {
        loop {
            while self.exchange() {}
            match self.arrival() {
                Some(at) => self.go_to(at),
                None => return,
            }
        }
    }

    /// Lets time pass: bytes arrive and deadlines come at their time.
    pub fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            while self.exchange() {}
            let next = self.arrival().into_iter().chain(self.deadline()).min();
            match next.filter(|at| *at <= until) {
                Some(at) => self.go_to(at),
                None => break,
            }
        }
        self.go_to(until);
    }

    /// Moves the clock, never back.
    fn go_to(&mut self, at: Instant) {
        self.now = self.now.max(at);
        self.client.handle_timeout(self.now);
        self.server.handle_timeout(self.now);
    }

    /// Whether bytes are on their way, or about to be.
    pub fn is_busy(&mut self) -> bool {
        self.exchange() || self.arrival().is_some()
    }

    /// When the next bytes arrive.
    fn arrival(&self) -> Option<Instant> {
        self.up
            .arrival()
            .into_iter()
            .chain(self.down.arrival())
            .min()
    }

    fn deadline(&self) -> Option<Instant> {
        let client = self.client.poll_timeout();
        client.into_iter().chain(self.server.poll_timeout()).min()
    }

    /// Loses what is on its way, and the connection.
    pub fn cut(&mut self) {
        for wire in [&mut self.up, &mut self.down] {
            wire.flying.clear();
            wire.load = 0;
        }
        self.client.handle_eof();
        self.server.handle_eof();
    }

    /// Everything that a side can read of a channel now, and what came then.
    pub fn read_all(&mut self, role: Role, key: Key) -> (Vec<u8>, Result<Read, ChannelError>) {
        let (mut all, mut buf) = (Vec::new(), [0; 4096]);
        loop {
            match self.core(role).read(key, &mut buf) {
                Ok(Read::Bytes(n)) => all.extend_from_slice(&buf[..n]),
                other => return (all, other),
            }
        }
    }
}

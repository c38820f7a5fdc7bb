//! A core, fed bytes behind a good hello or none: what comes is either taken or
//! a violation that the peer is told, nothing is kept beyond what came, and a
//! second core that gets the same bytes in smaller pieces does the same.
#![no_main]

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use tcpchan::proto::{Config, Connection, ConnectionError, Event, Key, Read, Role};
use tcpchan::wire::{Control, DEFAULT_MAGIC, Frame, Protocol, Settings, Version};

fuzz_target!(|data: &[u8]| {
    let Some((&kind, mut input)) = data.split_first() else {
        return;
    };
    let role = [Role::Server, Role::Client][usize::from(kind & 1)];
    let protocol =
        [Protocol::V1, Protocol::Auto, Protocol::V0, Protocol::V1][usize::from(kind >> 1 & 3)];
    let mut now = Instant::now();
    let mut sides = [(); 2].map(|()| Side::new(role, protocol, kind, now));
    let piece = 1 + usize::from(kind >> 5) * 7;
    let mut came = 0;
    while let Some((bytes, rest)) = input.split_at_checked(piece.min(input.len()).max(1)) {
        input = rest;
        came += bytes.len() as u64;
        let (start, end) = bytes.split_at(bytes.len() / 2);
        sides[0].hear(&[bytes], now);
        sides[1].hear(&[start, end], now);
        assert!(sides[0].seen == sides[1].seen, "a split is seen");
        assert!(sides[0].core.stats().buffered <= came);
        now += Duration::from_millis(1);
        sides
            .iter_mut()
            .for_each(|side| side.core.handle_timeout(now));
    }
    let [mut side, _] = sides;
    side.hear(&[], now);
    side.end();
});

/// A core and an application that accepts, reads a little and lets go.
struct Side {
    core: Connection,
    keys: Vec<Key>,
    seen: Seen,
}

/// What can be seen of the last step, and the events of all.
#[derive(Default, PartialEq)]
struct Seen {
    read: Option<Result<Read, ()>>,
    bytes: Vec<u8>,
    sent: Vec<u8>,
    events: Vec<Event>,
}

impl Side {
    fn new(role: Role, protocol: Protocol, kind: u8, now: Instant) -> Side {
        let config = Config::default().protocol(protocol);
        let config = match is_tight(kind) {
            true => config.receive_budget(100),
            false => config,
        };
        let core = Connection::new(role, config, now);
        let mut side = Side {
            core,
            keys: Vec::new(),
            seen: Seen {
                bytes: vec![0; 64],
                ..Seen::default()
            },
        };
        if kind & 8 == 0 {
            let mut settings = Settings::default();
            settings.receive_budget = if is_tight(kind) { 100_000 } else { 0 };
            side.core
                .handle_input(&hello(role, protocol, settings), now);
        }
        if kind & 16 != 0 {
            side.keys.extend(side.core.open());
        }
        side
    }

    fn hear(&mut self, pieces: &[&[u8]], now: Instant) {
        let core = &mut self.core;
        for bytes in pieces {
            core.handle_input(bytes, now);
        }
        self.keys.extend(core.accept());
        self.seen.read = self.keys.first().map(|key| {
            let read = core.read(*key, &mut self.seen.bytes);
            read.map_err(drop)
        });
        if matches!(self.seen.read, Some(Ok(Read::Finished) | Err(()))) {
            core.release(self.keys.remove(0));
        }
        self.seen.sent.clear();
        core.poll_transmit(&mut self.seen.sent, 1000, now);
        self.seen
            .events
            .extend(std::iter::from_fn(|| core.poll_event()));
    }

    fn end(&mut self) {
        let is_closed = |event: &&Event| **event == Event::Closed;
        let closed = self.seen.events.iter().filter(is_closed).count();
        assert_eq!(closed, usize::from(self.core.error().is_some()));
        if let Some(ConnectionError::Violation { text, .. }) = self.core.error() {
            assert!(!text.is_empty());
            assert_eq!(self.seen.events.last(), Some(&Event::Closed));
            assert_eq!((self.core.accept(), self.core.poll_timeout()), (None, None));
            assert!(!self.core.wants_transmit());
        }
    }
}

/// Whether the core has little to lend. Its peer has much then.
fn is_tight(kind: u8) -> bool {
    kind >> 1 & 3 == 3
}

fn hello(core: Role, protocol: Protocol, settings: Settings) -> Vec<u8> {
    let magic = DEFAULT_MAGIC;
    let hello = match core {
        Role::Server => Control::Hello { magic },
        Role::Client => Control::HelloReply { magic },
    };
    let version = match protocol {
        Protocol::V0 => Version::V0,
        _ => Version::V1,
    };
    let mut bytes = Vec::new();
    Frame::Control(hello).encode(version, &mut bytes);
    if version == Version::V1 {
        let body = settings.encode();
        Frame::Control(Control::Settings { body }).encode(version, &mut bytes);
    }
    bytes
}

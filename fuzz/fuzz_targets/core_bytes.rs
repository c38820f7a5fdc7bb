//! A core, fed bytes behind a good hello or none: what comes is either taken or
//! a violation that the peer is told, and nothing is kept beyond the windows.
#![no_main]

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use tcpchan::Config;
use tcpchan::proto::{Connection, ConnectionError, Event, Read, Role};
use tcpchan::wire::{Control, DEFAULT_MAGIC, Frame, Protocol, Settings, Version};

fuzz_target!(|data: &[u8]| {
    let Some((&kind, mut input)) = data.split_first() else {
        return;
    };
    let role = [Role::Server, Role::Client][usize::from(kind & 1)];
    let protocol =
        [Protocol::V1, Protocol::Auto, Protocol::V0, Protocol::V1][usize::from(kind >> 1 & 3)];
    let mut now = Instant::now();
    let mut core = Connection::new(role, Config::default().protocol(protocol), now);
    if kind & 8 == 0 {
        core.handle_input(&hello(role, protocol), now);
    }
    let mut keys = Vec::new();
    if kind & 16 != 0 {
        keys.extend(core.open());
    }
    let piece = 1 + usize::from(kind >> 5) * 7;
    let mut out = Vec::new();
    while let Some((bytes, rest)) = input.split_at_checked(piece.min(input.len()).max(1)) {
        input = rest;
        core.handle_input(bytes, now);
        keys.extend(core.accept());
        if let Some(key) = keys.first() {
            let read = core.read(*key, &mut [0; 64], now);
            if matches!(read, Ok(Read::Finished) | Err(_)) {
                core.release(keys.remove(0));
            }
        }
        out.clear();
        core.poll_transmit(&mut out, 1000, now);
        now += Duration::from_millis(1);
        core.handle_timeout(now);
        let stats = core.stats();
        assert!(stats.buffered <= stats.channels as u64 * (64 << 10) + (64 << 20));
    }
    let events: Vec<Event> = std::iter::from_fn(|| core.poll_event()).collect();
    let closed = events
        .iter()
        .filter(|event| **event == Event::Closed)
        .count();
    assert_eq!(closed, usize::from(core.error().is_some()));
    if let Some(ConnectionError::Violation { text, .. }) = core.error() {
        assert!(!text.is_empty());
        assert_eq!((core.accept(), core.poll_timeout()), (None, None));
    }
});

fn hello(core: Role, protocol: Protocol) -> Vec<u8> {
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
        let body = Settings::default().encode();
        Frame::Control(Control::Settings { body }).encode(version, &mut bytes);
    }
    bytes
}

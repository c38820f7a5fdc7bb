//! What holds for any bytes and any calls.

use std::time::{Duration, Instant};

use crate::pair::Pair;
use crate::world::World;
use crate::world::actions::{action, setup};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::RngAlgorithm;
use tcpchan::proto::{ChannelError, Config, Connection, ConnectionError, Event, Key, Read, Role};
use tcpchan::wire::{Control, DEFAULT_MAGIC, Frame, Settings, Version};

/// The quick generator: the other takes most of a debug build's time.
fn config() -> ProptestConfig {
    ProptestConfig {
        rng_algorithm: RngAlgorithm::XorShift,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn encode(frames: &[Frame<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for frame in frames {
        frame.encode(Version::V1, &mut bytes);
    }
    bytes
}

/// What a client says first.
fn hello() -> Vec<u8> {
    let magic = DEFAULT_MAGIC;
    let body = Settings::default().encode();
    encode(&[
        Frame::Control(Control::Hello { magic }),
        Frame::Control(Control::Settings { body }),
    ])
}

/// Frames that mean something: few channels, so that they meet.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let limit = || prop_oneof![Just(0), Just(u64::MAX), 0..1_000_000u64];
    let control = (1..9u32, 0..3u32, limit()).prop_flat_map(|(channel, code, limit)| {
        let (token, count, last, text) = (limit, limit as u32, channel, "bye".to_owned());
        prop_oneof![
            8 => Just(Control::Open { channel }),
            2 => Just(Control::Window { channel, limit, loan: limit as u32 }),
            2 => Just(Control::Fin { channel, debt: limit % 3 * 400 }),
            2 => Just(Control::Stop { channel, code }),
            2 => Just(Control::Reset { channel, code, debt: 0 }),
            2 => Just(Control::Ping { token }),
            1 => Just(Control::Pong { token: token % 4 }),
            1 => Just(Control::MaxChannels { count }),
            1 => Just(Control::Drain),
            1 => Just(Control::GoAway { last, code, text }),
            2 => Just(Control::Return { total: limit }),
        ]
    });
    let control = control.prop_map(|control| encode(&[Frame::Control(control)]));
    let data = (1..9u32, vec(any::<u8>(), 1..2000)).prop_map(|(channel, body)| {
        encode(&[Frame::Data {
            channel,
            body: &body,
        }])
    });
    prop_oneof![3 => control, 2 => data]
}

/// A hello, opens in their order, and then any frames.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    (0..5u32, vec(frame(), 0..30)).prop_map(|(opens, frames)| {
        let mut bytes = hello();
        for i in 0..opens {
            let channel = 2 * i + 1;
            bytes.extend(encode(&[Frame::Control(Control::Open { channel })]));
        }
        bytes.extend(frames.concat());
        bytes
    })
}

/// Changes to a stream that a broken or hostile peer might make.
#[derive(Clone, Debug)]
enum Change {
    Flip(Index, u8),
    Cut(Index, usize),
    Repeat(Index, usize),
    Insert(Index, Vec<u8>),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    prop_oneof![
        (at(), 1..=255u8).prop_map(|(at, bits)| Change::Flip(at, bits)),
        (at(), 1..40usize).prop_map(|(at, n)| Change::Cut(at, n)),
        (at(), 1..40usize).prop_map(|(at, n)| Change::Repeat(at, n)),
        (at(), vec(any::<u8>(), 1..40)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
    ]
}

impl Change {
    fn apply(self, bytes: &mut Vec<u8>) {
        let range = |at: Index, n: usize| {
            let start = at.index(bytes.len().max(1)).min(bytes.len());
            start..(start + n).min(bytes.len())
        };
        match self {
            Change::Flip(at, bits) => {
                let range = range(at, 1);
                bytes[range].iter_mut().for_each(|byte| *byte ^= bits);
            }
            Change::Cut(at, n) => drop(bytes.drain(range(at, n))),
            Change::Repeat(at, n) => {
                let range = range(at, n);
                let again = bytes[range.clone()].to_vec();
                bytes.splice(range.start..range.start, again);
            }
            Change::Insert(at, more) => {
                let start = range(at, 0).start;
                bytes.splice(start..start, more);
            }
        }
    }
}

/// Everything that can be seen of a core that received some bytes.
#[derive(Debug, PartialEq)]
struct Seen {
    events: Vec<Event>,
    reads: Vec<(Key, Vec<u8>, Result<Read, ChannelError>)>,
    sent: Vec<u8>,
    error: Option<ConnectionError>,
    channels: usize,
}

fn server(now: Instant) -> Connection {
    Connection::new(Role::Server, Config::default(), now)
}

/// Gives the bytes to a new server, cut at these places.
fn receive(bytes: &[u8], cuts: &[Index], now: Instant) -> Seen {
    let mut core = server(now);
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    for pair in cuts.windows(2) {
        core.handle_input(&bytes[pair[0]..pair[1]], now);
    }
    see(core, now)
}

fn see(mut core: Connection, now: Instant) -> Seen {
    let mut sent = Vec::new();
    while core.poll_transmit(&mut sent, 1000, now) > 0 {}
    let events = std::iter::from_fn(|| core.poll_event()).collect();
    let accepted: Vec<Key> = std::iter::from_fn(|| core.accept()).collect();
    let reads = accepted.into_iter().map(|key| {
        let mut buf = vec![0; 100_000];
        let first = core.read(key, &mut buf);
        let n = match first {
            Ok(Read::Bytes(n)) => n,
            _ => 0,
        };
        buf.truncate(n);
        (key, buf, core.read(key, &mut [0]))
    });
    Seen {
        events,
        reads: reads.collect(),
        sent,
        error: core.error().cloned(),
        channels: core.channels(),
    }
}

/// A peer's bytes end in an error that the peer is told, or go on.
fn is_sound(seen: &Seen) -> bool {
    let ended = seen.events.last() == Some(&Event::Closed);
    match &seen.error {
        None => !ended,
        Some(ConnectionError::Violation { text, .. }) => {
            ended && seen.reads.is_empty() && seen.sent.ends_with(text.as_bytes())
        }
        Some(ConnectionError::Version(_) | ConnectionError::PeerClosed { .. }) => ended,
        Some(_) => false,
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_split_of_the_bytes_gives_the_same_events_and_reads(
        bytes in stream(),
        changes in vec(change(), 0..3),
        cuts in vec(any::<Index>(), 0..20),
    ) {
        let mut bytes = bytes;
        changes.into_iter().for_each(|change| change.apply(&mut bytes));
        let now = Instant::now();
        let whole = receive(&bytes, &[], now);
        prop_assert_eq!(&whole, &receive(&bytes, &cuts, now));
        let each: Vec<u8> = bytes.clone();
        let mut core = server(now);
        each.iter().for_each(|byte| core.handle_input(&[*byte], now));
        prop_assert_eq!(&whole, &see(core, now));
    }

    #[test]
    fn any_bytes_end_in_a_goaway_or_go_on(bytes in vec(any::<u8>(), 0..200)) {
        let seen = receive(&bytes, &[], Instant::now());
        prop_assert!(is_sound(&seen), "{:?}", seen);
    }

    #[test]
    fn any_bytes_after_a_hello_end_in_a_goaway_or_go_on(bytes in vec(any::<u8>(), 0..200)) {
        let bytes = [hello(), bytes].concat();
        let seen = receive(&bytes, &[], Instant::now());
        prop_assert!(is_sound(&seen), "{:?}", seen);
    }

    #[test]
    fn a_stream_that_was_changed_ends_in_a_goaway_or_goes_on(
        bytes in stream(),
        changes in vec(change(), 1..8),
    ) {
        let mut bytes = bytes;
        changes.into_iter().for_each(|change| change.apply(&mut bytes));
        let seen = receive(&bytes, &[], Instant::now());
        prop_assert!(is_sound(&seen), "{:?}", seen);
    }
}

/// What an application under attack does meanwhile.
#[derive(Clone, Debug)]
enum Step {
    Hears(Vec<u8>),
    Sends(usize),
    Opens,
    Accepts,
    Refuses,
    Writes(Index, usize),
    Reads(Index, usize),
    Finishes(Index),
    Resets(Index, u32),
    Stops(Index, u32),
    Releases(Index),
    Drains,
    Closes,
    Waits(u64),
    Polls,
    Ends,
}

fn step() -> impl Strategy<Value = Step> {
    let at = any::<Index>;
    prop_oneof![
        40 => frame().prop_map(Step::Hears),
        10 => prop_oneof![0..100usize, Just(usize::MAX)].prop_map(Step::Sends),
        6 => Just(Step::Opens),
        8 => Just(Step::Accepts),
        1 => Just(Step::Refuses),
        8 => (at(), 0..100_000usize).prop_map(|(i, n)| Step::Writes(i, n)),
        8 => (at(), 0..100_000usize).prop_map(|(i, n)| Step::Reads(i, n)),
        3 => at().prop_map(Step::Finishes),
        3 => (at(), any::<u32>()).prop_map(|(i, code)| Step::Resets(i, code)),
        3 => (at(), any::<u32>()).prop_map(|(i, code)| Step::Stops(i, code)),
        4 => at().prop_map(Step::Releases),
        1 => Just(Step::Drains),
        1 => Just(Step::Closes),
        3 => (0..20_000u64).prop_map(Step::Waits),
        3 => Just(Step::Polls),
        1 => Just(Step::Ends),
    ]
}

/// A core between a peer that says anything and an application that calls
/// anything, also with keys that are over.
struct Attacked {
    core: Connection,
    now: Instant,
    keys: Vec<Key>,
    out: Vec<u8>,
}

impl Attacked {
    fn take(&mut self, step: Step) {
        let key = |at: Index| self.keys.get(at.index(self.keys.len().max(1))).copied();
        let (core, now) = (&mut self.core, self.now);
        match step {
            Step::Hears(bytes) => core.handle_input(&bytes, now),
            Step::Sends(budget) => _ = core.poll_transmit(&mut self.out, budget, now),
            Step::Opens => self.keys.extend(core.open().ok()),
            Step::Accepts => self.keys.extend(core.accept()),
            Step::Refuses => core.refuse_waiting(),
            Step::Writes(at, n) => _ = key(at).map(|key| core.write(key, &vec![1; n])),
            Step::Reads(at, n) => _ = key(at).map(|key| core.read(key, &mut vec![0; n])),
            Step::Finishes(at) => _ = key(at).map(|key| core.finish(key)),
            Step::Resets(at, code) => _ = key(at).map(|key| core.reset(key, code)),
            Step::Stops(at, code) => _ = key(at).map(|key| core.stop(key, code)),
            Step::Releases(at) => _ = key(at).map(|key| core.release(key)),
            Step::Drains => core.drain(),
            Step::Closes => core.close("enough"),
            Step::Waits(ms) => {
                self.now += Duration::from_millis(ms);
                core.handle_timeout(self.now);
            }
            Step::Polls => while core.poll_event().is_some() {},
            Step::Ends => core.handle_eof(),
        }
    }
}

proptest! {
    #![proptest_config(config())]

    /// Nothing panics, and memory stays below the formula.
    #[test]
    fn a_hostile_peer_and_any_calls_are_harmless(
        client in any::<bool>(),
        said_hello in prop::bool::weighted(0.9),
        steps in vec(step(), 0..200),
    ) {
        let now = Instant::now();
        let role = if client { Role::Client } else { Role::Server };
        let core = Connection::new(role, Config::default().receive_budget(1 << 20), now);
        let mut it = Attacked { core, now, keys: Vec::new(), out: Vec::new() };
        if said_hello {
            let mut bytes = hello();
            bytes[1] += u8::from(client); // HELLO_REPLY
            it.core.handle_input(&bytes, now);
        }
        for step in steps {
            it.take(step);
            let stats = it.core.stats();
            prop_assert!(stats.buffered <= stats.channels as u64 * (64 << 10) + (1 << 20));
            prop_assert!(stats.budget_left <= 1 << 20);
            let (wants, before) = (it.core.wants_transmit(), it.out.len());
            if !wants {
                it.core.poll_transmit(&mut it.out, usize::MAX, it.now);
                prop_assert_eq!(it.out.len(), before);
            }
            it.out.clear();
        }
    }

    /// What was written is what is read, honest sides never see a violation,
    /// and the other invariants of `support/world.rs`.
    #[test]
    fn any_calls_in_any_order_keep_the_promises(
        client in setup(),
        server in setup(),
        actions in vec(action(), 0..60),
    ) {
        World::new(client, server).live(&actions);
    }

    /// However channels end, what they took of the budget comes back.
    #[test]
    fn credit_is_conserved(lives in vec((1..400_000usize, 0..5u8), 1..12)) {
        let mut pair = Pair::up();
        pair.up.delay = Duration::from_millis(20);
        let whole = pair.server.stats().budget_left;
        for (bytes, end) in lives {
            let key = pair.client.open().unwrap();
            let (mut sent, mut got) = (0, 0);
            while got < bytes {
                sent += pair.client.write(key, &vec![1; bytes - sent]).unwrap();
                pair.run();
                got += pair.read_all(Role::Server, key).0.len();
            }
            let there = pair.server.accept().unwrap();
            match end {
                0 => pair.client.finish(key).unwrap(),
                1 => pair.client.reset(key, 1),
                2 => pair.server.stop(there, 1),
                3 => pair.server.release(there),
                _ => {}
            }
            pair.client.release(key);
            pair.run();
            pair.server.release(there);
            pair.run();
            prop_assert_eq!(pair.server.stats().budget_left, whole);
            prop_assert_eq!(pair.client.stats().budget_left, whole);
            prop_assert_eq!((pair.client.channels(), pair.server.channels()), (0, 0));
        }
    }
}

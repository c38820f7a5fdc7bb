//! Version 0 of the protocol, on the core: what it lacks, what it must never
//! say, and how the versions are told apart.

use std::time::{Duration, Instant};

use tcpchan::Protocol;
use tcpchan::proto::{
    ChannelError, Config, Connection, ConnectionError, Event, Key, OpenError, Read, Role,
};
use tcpchan::wire::Version;

const MAGIC: u32 = 0xFEED_BACC;
const HELLO: u8 = 1;
const REPLY: u8 = 2;
const OPEN: u8 = 3;
const CLOSE: u8 = 4;
const DATA: u8 = 5;

fn config(protocol: Protocol) -> Config {
    Config::default().protocol(protocol)
}

/// A frame as the Python package writes it.
fn short(op: u8, value: u32) -> Vec<u8> {
    [&[0, op][..], &value.to_be_bytes()].concat()
}

fn data(channel: u32, body: &[u8]) -> Vec<u8> {
    let len = (body.len() as u16).to_be_bytes();
    [&short(DATA, channel), &len[..], body].concat()
}

/// Cuts bytes into (op, value, body) as a version 0 peer does, which never
/// looks at the version and does not survive an op above 5.
fn frames(mut bytes: &[u8]) -> Vec<(u8, u32, Vec<u8>)> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let op = bytes[1];
        assert!(
            (HELLO..=DATA).contains(&op),
            "op {op:#x} to a version 0 peer"
        );
        let value = u32::from_be_bytes(bytes[2..6].try_into().unwrap());
        let (start, end) = match op {
            DATA => (8, 8 + u16::from_be_bytes([bytes[6], bytes[7]]) as usize),
            _ => (6, 6),
        };
        found.push((op, value, bytes[start..end].to_vec()));
        bytes = &bytes[end..];
    }
    found
}

/// A core that talks to a hand-made version 0 peer.
struct Side {
    core: Connection,
    now: Instant,
}

impl Side {
    fn new(role: Role, config: Config) -> Side {
        let now = Instant::now();
        let core = Connection::new(role, config, now);
        Side { core, now }
    }

    /// A side whose hello is through.
    fn up(role: Role, config: Config) -> Side {
        let mut side = Side::new(role, config);
        side.hello();
        side.sent();
        assert_eq!(side.core.version(), Some(Version::V0));
        side
    }

    fn server() -> Side {
        Side::up(Role::Server, config(Protocol::Auto))
    }

    fn client() -> Side {
        Side::up(Role::Client, config(Protocol::Auto))
    }

    /// The peer's hello, whichever side it is.
    fn hello(&mut self) {
        let opened_first = self.core.poll_timeout().is_some();
        assert!(opened_first);
        let server = self.bytes().is_empty();
        self.gets(&short(if server { HELLO } else { REPLY }, MAGIC));
    }

    fn gets(&mut self, bytes: &[u8]) {
        self.core.handle_input(bytes, self.now);
    }

    fn bytes(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while self.core.poll_transmit(&mut out, 64 << 10, self.now) > 0 {}
        out
    }

    fn sent(&mut self) -> Vec<(u8, u32, Vec<u8>)> {
        frames(&self.bytes())
    }

    fn closes(&mut self) -> Vec<u32> {
        let closes = self.sent().into_iter().filter(|frame| frame.0 == CLOSE);
        closes.map(|frame| frame.1).collect()
    }

    /// A channel that the peer opened.
    fn accepted(&mut self, id: u32) -> Key {
        self.gets(&short(OPEN, id));
        let key = self.core.accept().unwrap();
        assert_eq!(self.core.id(key), Some(id));
        key
    }

    fn read(&mut self, key: Key) -> (Vec<u8>, Result<Read, ChannelError>) {
        let (mut all, mut buf) = (Vec::new(), vec![0; 256 << 10]);
        loop {
            match self.core.read(key, &mut buf) {
                Ok(Read::Bytes(n)) => all.extend_from_slice(&buf[..n]),
                end => return (all, end),
            }
        }
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.core.poll_event()).collect()
    }
}

/// Moves bytes between two cores until both are silent.
fn run(client: &mut Side, server: &mut Side) {
    loop {
        let (up, down) = (client.bytes(), server.bytes());
        if up.is_empty() && down.is_empty() {
            return;
        }
        server.gets(&up);
        client.gets(&down);
    }
}

#[test]
fn the_version_is_the_newest_that_both_sides_speak() {
    use Protocol::{Auto, V0, V1};
    for (near, far, version) in [
        (Auto, Auto, Version::V1),
        (Auto, V1, Version::V1),
        (V1, Auto, Version::V1),
        (Auto, V0, Version::V0),
        (V0, Auto, Version::V0),
        (V0, V0, Version::V0),
    ] {
        let mut client = Side::new(Role::Client, config(near));
        let mut server = Side::new(Role::Server, config(far));
        let key = client.core.open().unwrap();
        client.core.write(key, b"first").unwrap();
        run(&mut client, &mut server);
        let sides = (client.core.version(), server.core.version());
        assert_eq!(sides, (Some(version), Some(version)), "{near:?}, {far:?}");
        let there = server.core.accept().unwrap();
        assert_eq!(server.read(there).0, b"first");
        let back = server.core.open().unwrap();
        server.core.write(back, b"back").unwrap();
        run(&mut client, &mut server);
        let here = client.core.accept().unwrap();
        assert_eq!(client.read(here).0, b"back");
    }
}

#[test]
fn the_open_and_its_bytes_leave_with_the_hello_under_every_setting() {
    for protocol in [Protocol::V0, Protocol::Auto] {
        let mut client = Side::new(Role::Client, config(protocol));
        let key = client.core.open().unwrap();
        client.core.write(key, b"first").unwrap();
        let sent = client.sent();
        assert!(sent.contains(&(DATA, 1, b"first".to_vec())), "{sent:?}");
    }
}

#[test]
fn a_client_of_both_versions_first_sends_64_kib_at_most_that_version_0_survives() {
    let mut client = Side::new(Role::Client, config(Protocol::Auto));
    let keys: Vec<Key> = (0..100).map(|_| client.core.open().unwrap()).collect();
    for key in &keys {
        client.core.write(*key, &[7; 5000]).unwrap();
    }
    client.core.finish(keys[0]).unwrap();
    client.core.reset(keys[1], 7);
    client.core.stop(keys[2], 7);
    client.core.release(keys[3]);
    client.core.drain();
    let first = client.bytes();
    assert!(frames(&first).len() > 100);
    assert!(first.len() <= 64 << 10, "{} bytes", first.len());
    assert!(!client.core.wants_transmit());

    client.gets(&short(REPLY, MAGIC));
    let rest = client.sent();
    let all = frames(&first).into_iter().chain(rest.clone());
    let bytes: usize = all
        .filter(|frame| frame.0 == DATA && frame.1 != 0)
        .map(|frame| frame.2.len())
        .sum();
    assert_eq!(bytes, 99 * 5000, "all but what was reset");
    let mut closed: Vec<u32> = rest
        .iter()
        .filter(|frame| frame.0 == CLOSE)
        .map(|frame| frame.1)
        .collect();
    closed.sort_unstable();
    assert_eq!(closed, [3, 7]);
}

/// Numbers that look random and are the same in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as usize % sides
    }
}

/// One call of the application or one frame of the peer.
fn disturb(side: &mut Side, keys: &mut Vec<Key>, dice: &mut Dice) {
    let key = keys.get(dice.roll(keys.len().max(1))).copied();
    let id = 1000 + dice.roll(40) as u32;
    match (dice.roll(13), key) {
        (0, _) => keys.extend(side.core.open().ok()),
        (1, _) => keys.extend(side.core.accept()),
        (2, _) => {
            side.now += Duration::from_secs(40);
            let now = side.now;
            side.core.handle_timeout(now);
        }
        // Never twice at a time, as no peer does.
        (3, _) if !keys.iter().any(|key| side.core.id(*key) == Some(id)) => {
            side.gets(&[short(CLOSE, id), short(OPEN, id)].concat());
        }
        (4, _) => side.gets(&short(CLOSE, id)),
        (5, _) => side.gets(&data(id, &vec![1; dice.roll(65_536)])),
        (6, _) if dice.roll(300) == 0 => side.core.drain(),
        (7, Some(key)) => drop(side.core.write(key, &vec![2; dice.roll(100_000)])),
        (8, Some(key)) => drop(side.core.finish(key)),
        (9, Some(key)) => side.core.reset(key, 7),
        (10, Some(key)) => side.core.stop(key, 7),
        (11, Some(key)) => drop(side.read(key)),
        (12, Some(key)) => side.core.release(key),
        _ => {}
    }
}

#[test]
fn whatever_is_called_no_op_above_5_reaches_a_version_0_peer() {
    for seed in 0..200 {
        let mut dice = Dice(seed);
        let protocol = [Protocol::V0, Protocol::Auto][dice.roll(2)];
        let role = [Role::Client, Role::Server][dice.roll(2)];
        let mut side = Side::new(role, config(protocol));
        let mut keys = Vec::new();
        for _ in 0..dice.roll(20) {
            keys.extend(side.core.open().ok());
        }
        side.hello();
        side.sent();
        for _ in 0..300 {
            disturb(&mut side, &mut keys, &mut dice);
            side.sent();
            assert!(!side.core.wants_transmit(), "seed {seed}");
        }
        assert_eq!(side.core.error(), None, "seed {seed}");
        for key in keys {
            side.core.release(key);
        }
        side.core.refuse_waiting();
        side.sent();
        assert_eq!(side.core.channels(), 0, "seed {seed}");
        side.core.close("over");
        assert!(side.bytes().is_empty());
    }
}

#[test]
fn a_first_frame_that_is_wrong_is_not_answered_in_version_1() {
    for wrong in [&[0, 0x14][..], &data(7, b"too early"), &short(OPEN, 7)] {
        let mut server = Side::new(Role::Server, config(Protocol::Auto));
        server.gets(wrong);
        assert!(server.core.error().is_some());
        assert!(server.bytes().is_empty());
    }
}

#[test]
fn a_peer_that_breaks_the_rules_is_dropped_without_a_word() {
    let mut server = Side::server();
    server.gets(&[0, 0x42]);
    let error = server.core.error().unwrap().to_string();
    assert!(error.contains("0x42"), "{error}");
    assert!(server.bytes().is_empty());
}

#[test]
fn an_open_that_has_not_left_gives_way_to_the_peers_of_the_same_number() {
    let mut side = Side::client();
    let mine = side.core.open().unwrap();
    assert_eq!(side.core.id(mine), Some(1));
    side.core.write(mine, b"mine").unwrap();
    let theirs = side.accepted(1);
    side.core.write(theirs, b"theirs").unwrap();
    let sent = side.sent();
    assert_eq!(sent.iter().filter(|frame| frame.0 == OPEN).count(), 1);
    for expected in [
        (OPEN, 3, vec![]),
        (DATA, 3, b"mine".to_vec()),
        (DATA, 1, b"theirs".to_vec()),
    ] {
        assert!(sent.contains(&expected), "{sent:?}");
    }
}

#[test]
fn what_the_peer_says_of_a_number_does_not_reach_an_open_that_has_not_left() {
    let mut side = Side::client();
    let mine = side.core.open().unwrap();
    side.gets(&[data(1, b"late"), short(CLOSE, 1)].concat());
    assert_eq!(side.read(mine), (vec![], Ok(Read::Blocked)));
    assert!(side.core.write(mine, b"on").is_ok());
}

#[test]
fn a_number_of_the_peers_is_passed_over() {
    let mut side = Side::client();
    side.accepted(1);
    side.accepted(3);
    side.core.open().unwrap();
    assert_eq!(side.sent(), [(OPEN, 5, vec![])]);
}

#[test]
fn opens_that_cross_on_the_way_are_an_error() {
    let mut side = Side::client();
    side.core.open().unwrap();
    side.sent();
    side.gets(&short(OPEN, 1));
    let error = side.core.error().unwrap().to_string();
    assert!(error.contains("channel 1 was opened twice"), "{error}");
}

#[test]
fn a_number_can_be_used_again_after_the_peers_close() {
    let mut side = Side::server();
    let first = side.accepted(7);
    side.gets(&[data(7, b"old"), short(CLOSE, 7)].concat());
    let second = side.accepted(7);
    side.gets(&data(7, b"new"));
    assert_eq!(side.read(first), (b"old".to_vec(), Ok(Read::Finished)));
    side.core.release(first);
    side.gets(&data(7, b"er"));
    assert_eq!(side.read(second).0, b"newer");
    assert_eq!(side.closes(), [] as [u32; 0]);
}

#[test]
fn a_number_can_be_used_again_after_this_sides_close() {
    let mut side = Side::server();
    let first = side.accepted(7);
    side.core.reset(first, 0);
    assert_eq!(side.closes(), [7]);
    let second = side.accepted(7);
    side.gets(&data(7, b"new"));
    assert_eq!(side.read(second).0, b"new");
}

/// What the application did before the peer's CLOSE came.
#[test]
fn a_close_of_the_peer_ends_a_channel_at_any_moment_and_is_not_answered() {
    type Step = fn(&mut Connection, Key);
    let steps: [(&str, Step); 6] = [
        ("nothing", |_, _| {}),
        ("write", |core, key| drop(core.write(key, &[0; 5000]))),
        ("finish", |core, key| drop(core.finish(key))),
        ("stop", |core, key| core.stop(key, 0)),
        ("reset", |core, key| core.reset(key, 0)),
        ("release", |core, key| core.release(key)),
    ];
    for (name, step) in steps {
        let mut side = Side::server();
        let key = side.accepted(7);
        step(&mut side.core, key);
        side.gets(&short(CLOSE, 7));
        assert_eq!(side.closes(), [] as [u32; 0], "{name}");
        side.gets(&short(CLOSE, 7));
        side.core.release(key);
        assert_eq!(side.closes(), [] as [u32; 0], "{name}");
        assert_eq!(side.core.channels(), 0, "{name}");
        assert_eq!(side.core.error(), None, "{name}");
    }
}

#[test]
fn a_close_of_the_peer_is_the_end_behind_its_bytes_and_an_error_to_the_writer() {
    let mut side = Side::server();
    side.gets(&[short(OPEN, 7), data(7, b"all"), short(CLOSE, 7)].concat());
    let key = side.core.accept().unwrap();
    assert_eq!(side.read(key), (b"all".to_vec(), Ok(Read::Finished)));
    assert_eq!(side.core.write(key, b"x"), Err(ChannelError::Stopped(0)));
}

#[test]
fn a_finish_is_remembered_and_close_follows_when_both_halves_are_done() {
    let mut side = Side::server();
    let key = side.accepted(7);
    side.core.write(key, b"end").unwrap();
    side.core.finish(key).unwrap();
    assert_eq!(side.sent(), [(DATA, 7, b"end".to_vec())]);
    side.gets(&data(7, b"still"));
    assert_eq!(side.read(key), (b"still".to_vec(), Ok(Read::Blocked)));
    assert_eq!(side.core.write(key, b"x"), Err(ChannelError::Ended));
    side.core.stop(key, 0);
    assert_eq!(side.sent(), [(CLOSE, 7, vec![])]);
    side.core.release(key);
    assert!(side.sent().is_empty());
}

#[test]
fn a_stop_is_remembered_and_close_follows_the_last_bytes() {
    let mut side = Side::server();
    let key = side.accepted(7);
    side.core.stop(key, 0);
    side.core.write(key, b"end").unwrap();
    assert_eq!(side.sent(), [(DATA, 7, b"end".to_vec())]);
    side.core.write(key, b"more").unwrap();
    side.core.finish(key).unwrap();
    assert_eq!(
        side.sent(),
        [(DATA, 7, b"more".to_vec()), (CLOSE, 7, vec![])]
    );
}

/// The CLOSE waits for the bytes, and the reset drops those.
#[test]
fn a_channel_that_is_reset_while_its_close_waits_is_closed() {
    let mut side = Side::client();
    let key = side.core.open().unwrap();
    let id = side.core.id(key).unwrap();
    side.core.write(key, b"never sent").unwrap();
    side.core.finish(key).unwrap();
    side.core.stop(key, 0);
    side.core.reset(key, 0);
    assert_eq!(side.closes(), [id]);
    side.core.release(key);
    assert_eq!(side.core.channels(), 0);
}

#[test]
fn what_was_written_and_finished_leaves_before_the_close_of_a_released_channel() {
    let mut side = Side::server();
    let key = side.accepted(7);
    side.core.write(key, &[9; 60_000]).unwrap();
    side.core.finish(key).unwrap();
    side.core.release(key);
    let sent = side.sent();
    let (last, before) = sent.split_last().unwrap();
    assert_eq!(*last, (CLOSE, 7, vec![]));
    let bytes: usize = before.iter().map(|frame| frame.2.len()).sum();
    assert_eq!(bytes, 60_000);
}

#[test]
fn a_reset_closes_both_directions_at_once_and_wakes_the_reader() {
    let mut side = Side::server();
    let key = side.accepted(7);
    side.core.write(key, b"dropped").unwrap();
    side.events();
    side.core.reset(key, 7);
    assert!(side.events().contains(&Event::Readable(key)));
    assert_eq!(side.read(key).1, Err(ChannelError::Ended));
    side.core.release(key);
    assert_eq!(side.sent(), [(CLOSE, 7, vec![])]);
    assert_eq!(side.core.channels(), 0);
}

#[test]
fn what_was_asked_before_the_version_was_known_is_said_in_version_0() {
    let mut side = Side::new(Role::Client, config(Protocol::Auto));
    let keys: Vec<Key> = (0..4).map(|_| side.core.open().unwrap()).collect();
    side.core.finish(keys[0]).unwrap();
    side.core.stop(keys[0], 0);
    side.core.reset(keys[1], 0);
    side.core.release(keys[2]);
    side.core.drain();
    side.hello();
    let mut closed = side.closes();
    closed.sort_unstable();
    assert_eq!(closed, [1, 3, 5]);
    assert!(side.core.is_drained());
    assert!(side.core.write(keys[3], b"on").is_ok());
}

#[test]
fn reading_stops_at_the_budget_and_goes_on_when_the_application_reads() {
    let config = config(Protocol::V0).receive_budget(100_000);
    let mut side = Side::up(Role::Server, config);
    let (one, other) = (side.accepted(7), side.accepted(8));
    side.gets(&data(7, &[1; 65_535]));
    assert!(side.core.wants_input());
    side.gets(&data(8, &[2; 65_535]));
    assert!(!side.core.wants_input());
    assert_eq!(side.read(one).0.len(), 65_535);
    assert!(side.core.wants_input());
    side.gets(&data(7, &[3; 65_535]));
    assert!(!side.core.wants_input());
    side.core.release(other);
    assert!(side.core.wants_input(), "released bytes don't count");
}

#[test]
fn bytes_that_nobody_will_read_are_not_kept() {
    let config = config(Protocol::V0).receive_budget(10);
    let mut side = Side::up(Role::Server, config);
    let (stopped, released) = (side.accepted(7), side.accepted(8));
    side.core.stop(stopped, 0);
    side.core.release(released);
    for id in [7, 8, 9] {
        side.gets(&data(id, &[1; 1000]));
    }
    assert!(side.core.wants_input());
}

#[test]
fn a_mebibyte_is_read_in_one_go_though_no_window_was_given() {
    let mut side = Side::server();
    let key = side.accepted(7);
    for _ in 0..16 {
        side.gets(&data(7, &[1; 65_535]));
    }
    let mut all = vec![0; 1 << 20];
    let read = side.core.read(key, &mut all);
    assert_eq!(read, Ok(Read::Bytes(16 * 65_535)));
    assert!(side.sent().is_empty());
    side.gets(&short(CLOSE, 7));
    side.core.release(key);
    assert_eq!(side.core.channels(), 0);
}

#[test]
fn a_mebibyte_leaves_without_any_window_of_the_peer() {
    let mut side = Side::client();
    let key = side.core.open().unwrap();
    let (mut written, mut sent) = (0, 0);
    while written < 1 << 20 {
        written += side.core.write(key, &vec![0; (1 << 20) - written]).unwrap();
        sent += side.sent().iter().map(|frame| frame.2.len()).sum::<usize>();
    }
    assert_eq!(sent, 1 << 20);
}

#[test]
fn this_sides_channels_are_bounded_and_each_that_is_over_makes_room() {
    let config = config(Protocol::V0).max_channels(256).unwrap();
    let mut side = Side::up(Role::Client, config);
    let keys: Vec<Key> = std::iter::from_fn(|| side.core.open().ok()).collect();
    assert_eq!(keys.len(), 256);
    assert_eq!(side.core.open(), Err(OpenError::Blocked));
    side.sent();
    side.core.release(keys[0]);
    side.sent();
    assert!(side.events().contains(&Event::Openable));
    assert!(side.core.open().is_ok());
    assert_eq!(side.core.open(), Err(OpenError::Blocked));
}

#[test]
fn the_peers_channels_beyond_the_limit_are_closed_however_many_come() {
    let (mut side, _) = full(Role::Server);
    for id in 1000..6000 {
        side.gets(&[short(OPEN, id), data(id, b"ask")].concat());
    }
    assert_eq!(side.core.channels(), 256);
    assert!(side.core.wants_transmit());
    assert_eq!(side.closes(), (1000..6000).collect::<Vec<u32>>());
    assert_eq!(side.core.accept(), None);
    // The peer may have closed them at the same time.
    for id in 1000..6000 {
        side.gets(&short(CLOSE, id));
    }
    assert_eq!(side.core.error(), None);
}

/// A side whose peer has as many channels as it may, under even numbers.
fn full(role: Role) -> (Side, Vec<Key>) {
    let config = config(Protocol::V0).max_channels(256).unwrap();
    let config = config.no_op_frames_per_second(1_000).unwrap();
    let mut side = Side::up(role, config);
    let keys = (0..256).map(|nth| side.accepted(2 * nth)).collect();
    (side, keys)
}

#[test]
fn a_number_that_was_refused_can_be_used_again() {
    let (mut side, keys) = full(Role::Server);
    side.gets(&short(OPEN, 1001));
    assert_eq!(side.closes(), [1001]);
    side.gets(&[short(OPEN, 1001), short(CLOSE, 1001)].concat()); // before it hears
    side.gets(&short(CLOSE, 0));
    side.core.release(keys[0]);
    let again = side.accepted(1001);
    assert_eq!(side.closes(), [] as [u32; 0]);
    assert!(side.core.write(again, b"on").is_ok());
}

#[test]
fn a_number_whose_refusal_has_not_left_is_nobodys() {
    let (mut side, _) = full(Role::Client);
    side.gets(&short(OPEN, 1));
    side.core.open().unwrap();
    assert_eq!(side.sent(), [(OPEN, 3, vec![]), (CLOSE, 1, vec![])]);
    side.gets(&[short(OPEN, 1), short(OPEN, 1)].concat());
    let error = side.core.error().unwrap().to_string();
    assert!(error.contains("channel 1 was opened twice"), "{error}");
}

/// It can't be told how many it may open.
#[test]
fn a_peer_with_a_larger_limit_of_its_own_is_refused_what_is_too_much() {
    let few = config(Protocol::V0).max_channels(256).unwrap();
    let mut client = Side::new(Role::Client, config(Protocol::Auto));
    let mut server = Side::new(Role::Server, few);
    run(&mut client, &mut server);
    let keys: Vec<Key> = std::iter::from_fn(|| client.core.open().ok()).collect();
    assert_eq!(keys.len(), 1024);
    for key in &keys {
        client.core.write(*key, b"ask").unwrap();
    }
    run(&mut client, &mut server);
    let theirs: Vec<Key> = std::iter::from_fn(|| server.core.accept()).collect();
    assert_eq!(theirs.len(), 256);
    let (taken, refused) = keys.split_at(256);
    for key in refused {
        assert_eq!(client.read(*key), (vec![], Ok(Read::Finished)));
        assert_eq!(client.core.write(*key, b"x"), Err(ChannelError::Stopped(0)));
        client.core.release(*key);
    }
    for (here, there) in taken.iter().zip(theirs) {
        assert_eq!(server.read(there).0, b"ask");
        server.core.write(there, b"answer").unwrap();
        server.core.finish(there).unwrap();
        server.core.release(there);
        run(&mut client, &mut server);
        assert_eq!(client.read(*here).0, b"answer");
        client.core.release(*here);
    }
    run(&mut client, &mut server);
    for side in [&client, &server] {
        assert_eq!((side.core.channels(), side.core.error()), (0, None));
    }
}

/// Those are thrown out of the queues.
#[test]
fn what_waits_among_channels_that_are_over_leaves_in_its_order() {
    let mut side = Side::server();
    let mut expected = Vec::new();
    for id in 1..=3 {
        let key = side.accepted(id);
        side.core.write(key, b"answer").unwrap();
        expected.push((DATA, id, b"answer".to_vec()));
        for other in 1000..2000 {
            let key = side.accepted(other);
            side.core.write(key, b"answer").unwrap();
            side.gets(&short(CLOSE, other));
            side.core.release(key);
        }
    }
    assert!(side.core.sending() < 30);
    assert_eq!(side.sent(), expected);
}

/// The peer may be far from having the CLOSE.
#[test]
fn what_is_sent_on_a_channel_that_was_just_closed_is_dropped() {
    let mut side = Side::server();
    let key = side.accepted(7);
    side.core.reset(key, 0);
    side.core.release(key);
    assert_eq!(side.closes(), [7]);
    for _ in 0..20_000 {
        side.gets(&data(7, b"x"));
    }
    assert_eq!(side.core.error(), None);
    assert_eq!(side.core.stats().buffered, 0);
}

#[test]
fn a_cut_behind_a_finish_leaves_the_answer_to_be_read() {
    let mut side = Side::client();
    let key = side.core.open().unwrap();
    side.core.write(key, b"ask").unwrap();
    side.core.finish(key).unwrap();
    side.core.reset_after_flush(key, 0);
    let sent = [(OPEN, 1, vec![]), (DATA, 1, b"ask".to_vec())];
    assert_eq!(side.sent(), sent);
    side.gets(&data(1, b"answer"));
    assert_eq!(side.read(key).0, b"answer");
    assert_eq!(side.core.stats().reset_by_self, 0);
}

#[test]
fn a_drain_needs_no_answer_and_later_opens_are_closed() {
    let mut side = Side::server();
    let key = side.accepted(7);
    side.core.drain();
    assert!(side.core.is_drained() && !side.core.wants_transmit());
    assert!(side.events().contains(&Event::Drained));
    side.gets(&short(OPEN, 8));
    assert_eq!(side.core.accept(), None);
    assert_eq!(side.closes(), [8]);
    assert!(side.core.write(key, b"on").is_ok());
}

#[test]
fn a_silent_version_0_peer_is_not_pinged_and_not_dead() {
    let mut side = Side::client();
    assert_eq!(side.core.poll_timeout(), None);
    for _ in 0..3 {
        side.now += Duration::from_secs(60);
        let now = side.now;
        side.core.handle_timeout(now);
        assert!(!side.core.wants_transmit());
    }
    assert_eq!(side.core.error(), None);
}

/// What each side says when a client and a server can't speak to each other.
fn mismatch(near: Protocol, far: Protocol) -> [ConnectionError; 2] {
    let mut client = Side::new(Role::Client, config(near));
    let mut server = Side::new(Role::Server, config(far));
    let key = client.core.open().unwrap();
    client.core.write(key, b"request").unwrap();
    run(&mut client, &mut server);
    [client, server].map(|mut side| {
        side.core.handle_eof();
        side.core.error().unwrap().clone()
    })
}

#[test]
fn sides_of_different_versions_both_name_the_versions_and_the_setting() {
    for (near, far) in [(Protocol::V1, Protocol::V0), (Protocol::V0, Protocol::V1)] {
        for error in mismatch(near, far) {
            assert!(matches!(error, ConnectionError::Version(_)), "{error}");
            let text = error.to_string();
            for word in [
                "version 0",
                "version 1",
                "Config::protocol",
                "Protocol::Auto",
            ] {
                assert!(text.contains(word), "{near:?} and {far:?}: {text}");
            }
        }
    }
}

#[test]
fn a_version_1_client_names_the_versions_when_the_python_server_answers() {
    let mut client = Side::new(Role::Client, config(Protocol::V1));
    client.bytes();
    client.gets(&short(REPLY, MAGIC));
    let error = client.core.error().unwrap().to_string();
    assert!(
        error.contains("version 0") && error.contains("version 1"),
        "{error}"
    );
    assert!(error.contains("Config::protocol"), "{error}");
}

#[test]
fn a_magic_of_ones_own_connects() {
    let mut server = Side::new(Role::Server, config(Protocol::Auto).magic(7));
    server.gets(&short(HELLO, 7));
    assert_eq!(server.sent(), [(REPLY, 7, vec![])]);
    let mut client = Side::new(Role::Client, config(Protocol::V0).magic(7));
    assert_eq!(client.sent(), [(HELLO, 7, vec![])]);
    client.gets(&short(REPLY, 7));
    assert!(client.events().contains(&Event::Connected));
}

#[test]
fn a_wrong_magic_is_an_error_that_names_both() {
    for (role, op) in [(Role::Server, HELLO), (Role::Client, REPLY)] {
        let mut side = Side::new(role, config(Protocol::Auto));
        side.bytes();
        side.gets(&short(op, 7));
        let error = side.core.error().unwrap().to_string();
        assert!(
            error.contains("0x00000007") && error.contains("0xfeedbacc"),
            "{error}"
        );
    }
}

#[test]
fn a_server_that_hangs_up_or_is_silent_makes_the_client_ask_about_the_magic() {
    let mut client = Side::new(Role::Client, config(Protocol::V0));
    client.bytes();
    client.core.handle_eof();
    let error = client.core.error();
    assert!(matches!(error, Some(ConnectionError::NoHello(_))));
    let mut silent = Side::new(Role::Client, config(Protocol::V0));
    silent.bytes();
    let due = silent.core.poll_timeout().unwrap();
    silent.core.handle_timeout(due);
    for side in [client, silent] {
        let error = side.core.error().unwrap().to_string();
        assert!(error.contains("magic"), "{error}");
    }
}

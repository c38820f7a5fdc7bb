//! What a peer can make a connection hold stays under [`Config::memory`],
//! counted by the allocator.

mod handlers;
#[path = "../support/local.rs"]
mod local;
mod opens;
mod process;

use std::alloc::System;
use std::cell::RefCell;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tcpchan::proto::{
    Config, Connection, ConnectionError, ErrorCode, Event, Key, OpenError, Read, Role,
};
use tcpchan::wire::{
    Control, DEFAULT_MAGIC, Decoded, Decoder, Frame, MAX_DATA, Protocol, Settings, Version,
};
use tcpchan::{Channel as Stream, Connection as Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const WINDOW: u64 = 64 << 10;
const MIB: u64 = 1 << 20;

/// Bytes that are held since it was made. One test at a time has one.
struct Meter {
    start: isize,
    _alone: MutexGuard<'static, ()>,
}

impl Meter {
    fn new() -> Meter {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        Meter {
            start: allocated(),
            _alone: alone,
        }
    }

    fn held(&self) -> u64 {
        (allocated() - self.start).try_into().unwrap_or(0)
    }
}

fn allocated() -> isize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated as isize - stats.bytes_deallocated as isize
}

/// 256 channels of 64 KiB each way, and a budget of 16 MiB.
fn small() -> Config {
    let config = Config::default().max_channels(256).unwrap();
    config.receive_budget(16 * MIB)
}

fn ids(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|nth| 2 * nth + 1)
}

/// A core, and a peer that makes it hold what it can.
struct Peer {
    core: Connection,
    version: Version,
    now: Instant,
    decoder: Decoder,
    channels: Vec<Channel>,
    /// What the core lends, and how much of it is borrowed.
    budget: u64,
    borrowed: u64,
    /// What the last RETURN said.
    returned: u64,
}

/// One that the peer opened, or else the core.
struct Channel {
    id: u32,
    key: Key,
    sent: u64,
    limit: u64,
}

impl Channel {
    fn debt(&self) -> u64 {
        self.sent.saturating_sub(self.limit)
    }
}

impl Peer {
    fn new(core: Role, version: Version, config: Config) -> Peer {
        let now = Instant::now();
        let mut peer = Peer {
            core: Connection::new(core, config, now),
            version,
            now,
            decoder: Decoder::new(Protocol::Auto),
            channels: Vec::new(),
            budget: 0,
            borrowed: 0,
            returned: 0,
        };
        let magic = DEFAULT_MAGIC;
        peer.say(match core {
            Role::Server => Control::Hello { magic },
            Role::Client => Control::HelloReply { magic },
        });
        peer
    }

    /// A client whose hello claims nothing.
    fn client(config: Config) -> Peer {
        let mut peer = Peer::new(Role::Server, Version::V1, config);
        peer.say(Control::Settings {
            body: Settings::default().encode(),
        });
        peer.hear();
        peer
    }

    /// A server that says it takes 2^31 - 1 channels.
    fn server(config: Config) -> Peer {
        let mut peer = Peer::new(Role::Client, Version::V1, config);
        let mut settings = Settings::default();
        settings.max_channels = i32::MAX as u32;
        peer.say(Control::Settings {
            body: settings.encode(),
        });
        peer.hear();
        peer
    }

    fn say(&mut self, control: Control) {
        let mut bytes = Vec::new();
        Frame::Control(control).encode(self.version, &mut bytes);
        self.core.handle_input(&bytes, self.now);
    }

    /// Takes what the core owes, and notes the credit that it gives.
    fn hear(&mut self) {
        let mut bytes = Vec::new();
        while self.core.poll_transmit(&mut bytes, 64 << 10, self.now) > 0 {}
        let mut input = &bytes[..];
        while let Some(decoded) = self.decoder.decode(&mut input).unwrap() {
            match decoded {
                Decoded::Control(Control::Settings { body }) => {
                    self.budget = Settings::decode(&body).unwrap().receive_budget;
                }
                Decoded::Control(Control::Window { channel, limit, .. }) => {
                    for one in self.channels.iter_mut().filter(|one| one.id == channel) {
                        let before = one.debt();
                        one.limit = limit;
                        self.borrowed -= before - one.debt();
                    }
                }
                Decoded::Control(Control::Return { total }) => {
                    self.borrowed -= total - self.returned;
                    self.returned = total;
                }
                Decoded::Control(Control::Ping { token }) => self.say(Control::Pong { token }),
                _ => {}
            }
        }
    }

    /// Opens a channel, which the application accepts; where it stands.
    fn opens(&mut self, id: u32) -> usize {
        self.say(Control::Open { channel: id });
        let key = self.core.accept();
        let key = key.unwrap_or_else(|| panic!("{:?}", self.core.error()));
        let limit = match self.version {
            Version::V0 => u64::MAX,
            _ => WINDOW,
        };
        let sent = 0;
        self.channels.push(Channel {
            id,
            key,
            sent,
            limit,
        });
        self.channels.len() - 1
    }

    /// Sends so much, or as much as it may.
    fn sends(&mut self, at: usize, len: u64) {
        let mut left = len.min(self.may_send(at));
        self.counts(at, left);
        let one = &self.channels[at];
        let (channel, body) = (one.id, [7; MAX_DATA]);
        let mut bytes = Vec::with_capacity(4 * (MAX_DATA + 8));
        while left > 0 {
            let n = left.min(MAX_DATA as u64) as usize;
            Frame::Data {
                channel,
                body: &body[..n],
            }
            .encode(self.version, &mut bytes);
            left -= n as u64;
            if left == 0 || bytes.len() >= 64 << 10 {
                let block = Bytes::copy_from_slice(&bytes);
                self.core.handle_block(&block, self.now);
                bytes.clear();
            }
        }
    }

    /// The application reads so much, or all.
    fn is_read(&mut self, at: usize, len: usize) {
        let mut buf = [0; 1 << 14];
        let mut left = len;
        while left > 0 {
            let most = left.min(buf.len());
            let read = self.core.read(self.channels[at].key, &mut buf[..most]);
            let Ok(Read::Bytes(n)) = read else { return };
            left -= n;
        }
    }

    /// What is left of the channel's window and of the budget.
    fn may_send(&self, at: usize) -> u64 {
        let one = &self.channels[at];
        one.limit.saturating_sub(one.sent) + (self.budget - self.borrowed)
    }

    fn counts(&mut self, at: usize, bytes: u64) {
        let one = &mut self.channels[at];
        let before = one.debt();
        one.sent += bytes;
        self.borrowed += one.debt() - before;
    }

    /// Ends a channel, which the application lets go of.
    fn ends(&mut self, at: usize) {
        let one = self.channels.swap_remove(at);
        let (channel, debt) = (one.id, one.debt());
        self.say(Control::Fin { channel, debt });
        self.core.release(one.key);
    }

    /// The application writes what it can.
    fn is_written(&mut self, key: Key) {
        while self.core.write(key, &[7; MAX_DATA]).unwrap() > 0 {}
    }
}

/// Held at most what the formula says, and at least a part of that: or else the
/// peer was not bad enough, or the formula is idle.
#[track_caller]
fn fits(meter: &Meter, counted: u64, bound: u64, least: f64) {
    let held = meter.held();
    // The harness has words for each channel, too.
    let most = counted + (64 << 10);
    assert!(held <= most, "{held} bytes, and {counted} are counted");
    println!("{held} of {bound} bytes");
    assert!(held <= bound, "{held} bytes, and {bound} are promised");
    assert!(
        held as f64 >= least * bound as f64,
        "only {held} of {bound} bytes"
    );
}

/// Each channel is full both ways, and the budget is used up: by one channel, by
/// some, by all.
#[test]
fn all_channels_full_both_ways_and_the_budget_used_up() {
    for borrowers in [1, 16, 256] {
        let meter = Meter::new();
        let bound = small().memory(0);
        let mut peer = Peer::client(small());
        for id in ids(256) {
            let at = peer.opens(id);
            let loan = match at < borrowers {
                true => 16 * MIB / borrowers as u64,
                false => 0,
            };
            peer.sends(at, WINDOW + loan);
            peer.is_written(peer.channels[at].key);
        }
        assert_eq!(
            (peer.core.error(), peer.core.stats().budget_left),
            (None, 0)
        );
        fits(&meter, peer.core.memory(), bound, 0.8);
    }
}

/// What was borrowed is paid back late, when the application lets go, and the ends
/// come in between: as often as the peer likes.
#[test]
fn debts_of_channels_that_have_ended() {
    let meter = Meter::new();
    let bound = small().memory(0);
    let mut peer = Peer::client(small());
    let mut next = 1;
    for round in 0..6 {
        while peer.channels.len() < 256 {
            let at = peer.opens(next);
            next += 2;
            peer.sends(at, WINDOW + MIB * (round % 5));
        }
        let held = meter.held();
        assert!(held <= bound, "{held} of {bound} bytes");
        for _ in 0..200 {
            peer.ends(0);
        }
        peer.hear();
        while peer.core.poll_event().is_some() {}
    }
    assert_eq!(peer.core.error(), None);
    while !peer.channels.is_empty() {
        peer.ends(0);
    }
    peer.hear();
    assert_eq!(peer.core.stats().budget_left, 16 * MIB);
}

/// The formula has a KiB for a channel that holds no bytes.
#[test]
fn what_a_look_for_slow_peers_notes_is_counted() {
    const CHANNELS: u32 = 20_000; // no power of two: the table has doubled
    let config = Config::default().max_channels(CHANNELS).unwrap();
    let config = config.min_rate(1, Duration::from_secs(1)).unwrap();
    let meter = Meter::new();
    let mut peer = Peer::client(config);
    for id in ids(CHANNELS) {
        peer.say(Control::Open { channel: id });
        peer.core.accept().unwrap();
        while peer.core.poll_event().is_some() {}
    }
    let (held, counted) = (meter.held(), peer.core.memory());
    peer.core.handle_timeout(peer.now + Duration::from_secs(1));
    let noted = meter.held() - held;
    assert!(noted > u64::from(CHANNELS) * 32, "{noted}");
    assert!(peer.core.memory() - counted >= noted, "{noted}");
    assert!(
        meter.held() <= u64::from(CHANNELS) << 10,
        "{}",
        meter.held()
    );
}

/// What was read once leaves memory for reuse, which must not be a large piece
/// for a channel that gets one byte.
#[test]
fn one_byte_each_where_much_was_read_before() {
    let meter = Meter::new();
    let mut peer = Peer::client(small());
    for id in ids(256) {
        let at = peer.opens(id);
        for _ in 0..8 {
            peer.sends(0, 500_000);
            peer.is_read(0, usize::MAX);
            peer.hear();
        }
        peer.sends(at, 1);
    }
    fits(&meter, peer.core.memory(), small().memory(0), 0.0);
}

/// The application writes, finishes and lets go, again and again, and the
/// server takes none of it.
#[test]
fn channels_that_were_finished_and_whose_bytes_the_peer_does_not_take() {
    let meter = Meter::new();
    let bound = small().memory(1) - 136 * MIB; // few of them are given up
    let mut peer = Peer::server(small());
    let mut opened = 0;
    let blocked = loop {
        match peer.core.open() {
            Ok(key) => {
                peer.is_written(key);
                peer.core.finish(key).unwrap();
                peer.core.release(key);
                opened += 1;
            }
            Err(error) => break error,
        }
    };
    assert_eq!((blocked, opened), (OpenError::Blocked, 256));
    fits(&meter, peer.core.memory(), bound, 0.0);
    // Once the peer takes some, there is room for more.
    peer.hear();
    assert!(std::iter::from_fn(|| peer.core.poll_event()).any(|event| event == Event::Openable));
    assert!(peer.core.open().is_ok());
}

#[test]
fn channels_that_were_given_up_and_that_the_peer_does_not_end() {
    let meter = Meter::new();
    let mut peer = Peer::server(small());
    let most = 8_192 + (1 << 17);
    for _ in 0..most {
        let key = peer.core.open().unwrap();
        peer.core.release(key);
        if key.index().is_multiple_of(1_000) {
            peer.hear();
        }
    }
    fits(&meter, peer.core.memory(), small().memory(1), 0.0);
    let key = peer.core.open().unwrap();
    peer.core.release(key);
    assert!(matches!(
        peer.core.error(),
        Some(ConnectionError::Violation {
            code: ErrorCode::LIMIT,
            ..
        })
    ));
    assert!(meter.held() < 2 * MIB, "they go with the connection");
}

/// As after a burst of a hundred thousand channels: nothing of it is left.
#[test]
fn channels_that_are_over_hold_nothing() {
    let meter = Meter::new();
    let config = Config::default().max_channels(100_000).unwrap();
    let mut peer = Peer::client(config);
    for id in ids(100_000) {
        let at = peer.opens(id);
        peer.sends(at, 1);
        while peer.core.poll_event().is_some() {}
    }
    assert!(meter.held() > 10 * MIB);
    for channel in std::mem::take(&mut peer.channels) {
        let id = channel.id;
        peer.say(Control::Fin {
            channel: id,
            debt: 0,
        });
        peer.core.finish(channel.key).unwrap();
        peer.core.release(channel.key);
        while peer.core.poll_event().is_some() {}
    }
    peer.hear();
    assert_eq!(peer.core.channels(), 0);
    let held = meter.held();
    assert!(held < 4 * MIB, "{held} bytes");
}

/// Version 0 has no windows: a channel's memory must follow its bytes, or each
/// would keep room for the largest transfer that it has ever had.
#[test]
fn a_byte_left_of_much_in_each_channel_of_version_0() {
    let meter = Meter::new();
    let config = small().protocol(Protocol::V0);
    let bound = config.memory(0);
    let mut peer = Peer::new(Role::Server, Version::V0, config);
    for id in ids(256) {
        let at = peer.opens(id);
        peer.sends(at, 2 * MIB);
        peer.is_read(at, (2 << 20) - 1);
    }
    fits(&meter, peer.core.memory(), bound, 0.0);
}

/// A peer of version 0 opens and closes channels, as many as it may give up, and
/// never reads. `act` is what the application does before the peer's CLOSE; it polls
/// no event.
fn reads_nothing(open: u32, act: impl Fn(&mut Connection, Key)) {
    let meter = Meter::new();
    let config = small().protocol(Protocol::V0).receive_budget(1 << 10);
    let config = config.send_buffer(8 << 10).unwrap();
    let bound = config.memory(0);
    let mut peer = Peer::new(Role::Server, Version::V0, config);
    peer.hear();
    for id in ids(open) {
        peer.opens(id);
    }
    let mut first = None;
    for nth in 0..100_000 {
        let channel = 1_000 + nth;
        peer.now += Duration::from_micros(110);
        peer.say(Control::Open { channel });
        let key = peer.core.accept();
        if let Some(key) = key {
            act(&mut peer.core, key);
        }
        peer.say(Control::Close { channel });
        if let Some(key) = key {
            peer.core.release(key);
        }
        if nth == 1_000 {
            first = Some(meter.held());
        }
    }
    assert_eq!(peer.core.error(), None);
    assert_eq!(peer.core.channels(), open as usize);
    fits(&meter, peer.core.memory(), bound, 0.0);
    let (first, last) = (first.unwrap(), meter.held());
    // The harness allocates a little meanwhile; a word for each channel is 800 KB.
    let most = first + (64 << 10);
    assert!(last <= most, "{last} bytes, and {first} at first");
}

#[test]
fn channels_of_version_0_that_come_and_go_while_the_peer_reads_nothing() {
    reads_nothing(0, |_, _| {});
}

#[test]
fn channels_of_version_0_whose_answers_the_peer_does_not_read() {
    reads_nothing(0, |core, key| {
        core.write(key, b"answer").unwrap();
    });
    reads_nothing(0, |core, key| core.finish(key).unwrap()); // an empty one
}

/// Here the peer takes the first bytes of each.
#[test]
fn channels_of_version_0_that_are_closed_amid_their_answers() {
    let (now, out) = (Instant::now(), RefCell::default());
    reads_nothing(0, |core, key| {
        core.write(key, &[7; 8 << 10]).unwrap();
        let mut out = out.borrow_mut();
        assert!(core.poll_transmit(&mut out, 1, now) < 8 << 10);
        out.clear();
    });
}

#[test]
fn channels_of_version_0_that_are_refused_while_the_peer_reads_nothing() {
    reads_nothing(256, |_, _| {});
}

#[test]
fn refusals_of_version_0_that_the_peer_does_not_take() {
    let meter = Meter::new();
    let config = small().protocol(Protocol::V0).receive_budget(1 << 10);
    let config = config.send_buffer(1 << 10).unwrap();
    let config = config.cancels_per_second(1 << 20).unwrap();
    let bound = config.memory(0);
    let mut peer = Peer::new(Role::Server, Version::V0, config);
    for id in ids(256 + (1 << 16)) {
        peer.say(Control::Open { channel: id });
    }
    assert_eq!((peer.core.error(), peer.core.channels()), (None, 256));
    fits(&meter, peer.core.memory(), bound, 0.0);
    peer.say(Control::Open { channel: 1 << 20 });
    let error = peer.core.error();
    assert!(matches!(
        error,
        Some(ConnectionError::Violation {
            code: ErrorCode::LIMIT,
            ..
        })
    ));
}

#[test]
fn nothing_is_allocated_from_a_length_that_a_peer_claims() {
    // DATA, a text, settings, and an op that is skipped.
    let frames: [&[u8]; 4] = [
        &[1, 0x05, 0, 0, 0, 1, 0x40, 0],
        &[1, 0x18, 0, 0, 0, 0, 0x04, 0],
        &[1, 0x05, 0, 0, 0, 0, 0x04, 0],
        &[1, 0xFF, 0, 0, 0, 0, 0xFF, 0xFF],
    ];
    for frame in frames {
        let meter = Meter::new();
        let mut peers: Vec<Peer> = (0..100).map(|_| Peer::client(small())).collect();
        for peer in &mut peers {
            peer.opens(1);
        }
        let before = meter.held();
        for peer in &mut peers {
            peer.core.handle_input(frame, peer.now);
            assert!(peer.core.error().is_none(), "{frame:?}");
        }
        // The harness allocates a little meanwhile.
        let claimed = meter.held().saturating_sub(before);
        assert!(claimed <= 100 * 64 + 4096, "{claimed} bytes for {frame:?}");
    }
}

/// Whatever both sides do, in any order.
#[test]
fn a_peer_that_does_anything_at_any_time() {
    let meter = Meter::new();
    let config = small().receive_budget(MIB).send_buffer(16 << 10).unwrap();
    let bound = config.memory(0);
    let mut most = 0;
    for seed in 1..=20 {
        let mut chance = Chance(seed);
        let mut peer = Peer::client(config.clone());
        let mut next = 1;
        for _ in 0..2_000 {
            let count = peer.channels.len();
            if count < 256 && chance.below(8) < 3 {
                peer.opens(next);
                next += 2;
            } else if count > 0 {
                peer.does(chance.below(count as u64) as usize, &mut chance);
            }
            most = most.max(meter.held());
            assert!(most <= bound, "{most} of {bound} bytes, seed {seed}");
        }
        assert_eq!(peer.core.error(), None, "seed {seed}");
    }
    assert!(most > bound / 2, "only {most} of {bound} bytes");
}

/// Numbers that look like chance (Marsaglia's xorshift).
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

impl Peer {
    /// Something happens on a channel.
    fn does(&mut self, at: usize, chance: &mut Chance) {
        let Channel { id, key, .. } = self.channels[at];
        match chance.below(40) {
            0..20 => self.sends(at, chance.below(1 << 17)),
            20..25 => self.is_read(at, chance.below(1 << 17) as usize),
            25..30 => self.hear(),
            30..38 => while let Ok(1..) = self.core.write(key, &[7; MAX_DATA]) {},
            38 => {
                let (channel, code, debt) = (id, 1, self.channels[at].debt());
                self.say(match chance.below(2) {
                    0 => Control::Fin { channel, debt },
                    _ => Control::Reset {
                        channel,
                        code,
                        debt,
                    },
                });
                self.core.release(key);
                self.hear();
                self.channels.swap_remove(at);
            }
            _ => self.core.stop(key, 1),
        }
        while self.core.poll_event().is_some() {}
    }
}

/// The driver and real sockets: the application takes each channel, writes what
/// it can and reads nothing; the peer fills each and reads nothing.
#[tokio::test]
async fn all_channels_full_over_real_tcp() {
    static MUCH: &[u8] = &[7; 1 << 20]; // another test may count what is allocated
    let meter = Meter::new();
    let bound = small().memory(0);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let peer = std::thread::spawn(move || fill(addr));
    let (stream, _) = listener.accept().await.unwrap();
    let server = Server::server(stream, small().into());
    let mut channels = Vec::new();
    for _ in 0..256 {
        let mut channel = server.accept().await.unwrap();
        tokio::select! {
            biased;
            written = channel.write_all(MUCH) => panic!("{written:?}"),
            () = std::future::ready(()) => {}
        }
        channels.push(channel);
    }
    while server.stats().buffered < 256 * (64 << 10) {
        tokio::task::yield_now().await;
    }
    let counted = server.stats().memory + MIB; // and the buffers of this thread
    fits(&meter, counted, bound, 0.5);
    drop((channels, server));
    drop(peer.join());
    // Else the next test would see it go.
    let gone = async {
        while meter.held() > MIB {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(10), gone).await;
    waited.expect("the memory goes with the connection");
}

/// A client that opens 256 channels and fills them.
fn fill(addr: SocketAddr) -> std::net::TcpStream {
    let mut stream = std::net::TcpStream::connect(addr).unwrap();
    let mut say = |control| {
        let mut bytes = Vec::new();
        Frame::Control(control).encode(Version::V1, &mut bytes);
        stream.write_all(&bytes).unwrap();
    };
    say(Control::Hello {
        magic: DEFAULT_MAGIC,
    });
    say(Control::Settings {
        body: Settings::default().encode(),
    });
    for channel in ids(256) {
        say(Control::Open { channel });
    }
    for channel in ids(256) {
        let mut bytes = Vec::new();
        Frame::Data {
            channel,
            body: &[7; MAX_DATA],
        }
        .encode(Version::V1, &mut bytes);
        for _ in 0..4 {
            stream.write_all(&bytes).unwrap();
        }
    }
    stream
}

/// What was paid back is memory for others, though bytes are always left of it.
#[test]
fn a_byte_left_of_much_in_each_channel() {
    let meter = Meter::new();
    let mut peer = Peer::client(small());
    for id in ids(256) {
        let at = peer.opens(id);
        for _ in 0..4 {
            peer.sends(at, 4 * MIB);
            let unread = peer.core.stats().buffered as usize - at;
            peer.is_read(at, unread - 1);
            peer.hear();
            peer.now += Duration::from_millis(10);
            peer.core.handle_timeout(peer.now);
            peer.hear();
        }
    }
    peer.sends(0, u64::MAX);
    fits(&meter, peer.core.memory(), small().memory(0), 0.0);
}

impl Peer {
    /// Sends so many frames of a KiB, as many in each block as 64 KiB have room for.
    fn sends_small(&mut self, at: usize, count: usize) {
        let count = count.min(self.may_send(at) as usize / 1024);
        self.counts(at, count as u64 * 1024);
        let channel = self.channels[at].id;
        let mut bytes = Vec::new();
        for nth in 1..=count {
            let body = &[7; 1024];
            Frame::Data { channel, body }.encode(self.version, &mut bytes);
            if nth == count || bytes.len() > (64 << 10) - 1032 {
                let block = Bytes::copy_from_slice(&bytes);
                self.core.handle_block(&block, self.now);
                bytes.clear();
            }
        }
    }
}

/// Buffers for reuse have words of pieces, which no channel of a few bytes should
/// get: they are not in its KiB.
#[test]
fn words_of_pieces_that_go_from_channel_to_channel() {
    const COUNT: u32 = 3_000;
    let meter = Meter::new();
    let config = small().max_channels(COUNT).unwrap().receive_budget(2 * MIB);
    let bound = config.memory(0);
    let mut peer = Peer::client(config);
    peer.opens(1);
    // Leaves a buffer with room for 32 pieces.
    let pieces = |peer: &mut Peer| {
        peer.sends_small(0, 32);
        peer.is_read(0, usize::MAX);
        peer.hear();
    };
    for _ in 0..64 {
        pieces(&mut peer);
    }
    for id in ids(COUNT).skip(1) {
        let at = peer.opens(id);
        let key = peer.channels[at].key;
        peer.is_written(key);
        peer.hear();
        pieces(&mut peer);
        peer.sends(at, u64::MAX);
        pieces(&mut peer);
        peer.is_written(key);
        while peer.core.poll_event().is_some() {}
    }
    peer.sends(0, u64::MAX);
    assert_eq!(peer.core.error(), None);
    fits(&meter, peer.core.memory(), bound, 0.5);
}

/// Channels that had many small pieces, and now have as many bytes in large ones.
#[test]
fn words_of_pieces_that_were_read() {
    const BUDGET: u64 = 128;
    let meter = Meter::new();
    let config = small().receive_budget(BUDGET * MIB);
    let bound = config.memory(0);
    let mut peer = Peer::client(config);
    let share = (BUDGET * MIB / 8) as usize;
    for id in ids(8) {
        let at = peer.opens(id);
        let key = peer.channels[at].key;
        peer.sends_small(at, share / 1024 * 9 / 10);
        let (mut left, mut buf) = (share / 1024 * 9 / 10 * 1024 - 1, [0; 4096]);
        while left > 0 {
            let most = left.min(buf.len());
            let read = peer.core.read(key, &mut buf[..most]);
            let Ok(Read::Bytes(n)) = read else {
                panic!("{read:?}");
            };
            left -= n;
        }
        peer.hear();
        peer.sends(at, share as u64 - (130 << 10)); // so that all of it is kept
    }
    for id in ids(256).skip(8) {
        let at = peer.opens(id);
        peer.hear();
        peer.sends(at, u64::MAX);
    }
    for at in 0..256 {
        let key = peer.channels[at].key;
        peer.is_written(key);
        peer.hear();
        peer.is_written(key);
    }
    assert_eq!(peer.core.error(), None);
    fits(&meter, peer.core.memory(), bound, 0.5);
}

/// Two ends of a connection in this process, and of a channel on it.
async fn pair() -> [(Server, Stream); 2] {
    let (near, far) = tokio::io::duplex(1 << 10);
    let client = Server::client(near, tcpchan::Config::default());
    let server = Server::server(far, tcpchan::Config::default());
    let mut near = client.open().await.unwrap();
    near.write_all(b"x").await.unwrap();
    let mut far = server.accept().await.unwrap();
    far.read_u8().await.unwrap();
    [(client, near), (server, far)]
}

/// What is sent is put together in a block that goes from connection to connection
/// of a thread.
#[tokio::test(start_paused = true)]
async fn connections_that_rest_keep_no_block_to_send_from() {
    const CONNECTIONS: usize = 64;
    let meter = Meter::new();
    let mut pairs = Vec::new();
    for _ in 0..CONNECTIONS {
        let [(client, mut near), (server, mut far)] = pair().await;
        let much = vec![7; 300_000];
        let sent = tokio::spawn(async move { far.write_all(&much).await.map(|()| far) });
        near.read_exact(&mut [0; 300_000]).await.unwrap();
        pairs.push((client, near, server, sent.await.unwrap().unwrap()));
    }
    tokio::time::sleep(Duration::from_secs(60)).await; // spare buffers go, too
    let each = meter.held() / CONNECTIONS as u64;
    assert!(each < 16 << 10, "{each} bytes");
}

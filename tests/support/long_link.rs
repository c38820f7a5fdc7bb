//! Two cores on a link that has a rate and a delay, in virtual time. The server
//! sends as many bytes as it is asked for, or reads what it is sent.
#![allow(dead_code)] // each test file uses a part

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use tcpchan::proto::{Config, Connection, Event, Key, Read, Role};

/// 200 Mbit/s, in bytes a second, and 80 ms.
pub const RATE: f64 = 25e6;
pub const RTT: Duration = Duration::from_millis(80);

pub const MIB: usize = 1 << 20;

/// Bytes that a side hands to the link at once.
const PIECE: usize = 32 << 10;

/// One direction.
struct Way {
    free: Instant,
    flying: VecDeque<(Instant, Vec<u8>)>,
    /// WINDOW frames that left.
    windows: usize,
}

impl Way {
    /// Takes what a side sends, if the link is free.
    fn take(&mut self, from: &mut Connection, now: Instant, rate: f64, delay: Duration) -> bool {
        let mut out = Vec::new();
        if self.free > now || from.poll_transmit(&mut out, PIECE, now) == 0 {
            return false;
        }
        self.free = now + Duration::from_secs_f64(out.len() as f64 / rate);
        self.flying.push_back((self.free + delay, out));
        true
    }

    fn deliver(&mut self, to: &mut Connection, now: Instant) -> bool {
        if self.flying.front().is_none_or(|(at, _)| *at > now) {
            return false;
        }
        if let Some((_, bytes)) = self.flying.pop_front() {
            to.handle_block(&bytes.into(), now);
        }
        true
    }
}

/// What the server does on a channel: the bytes that it still owes, or reads.
#[derive(Default)]
struct Served {
    owes: usize,
    sinks: usize,
}

pub struct LongLink {
    pub client: Connection,
    pub server: Connection,
    pub now: Instant,
    pub rate: f64,
    pub rtt: Duration,
    up: Way,
    down: Way,
    served: HashMap<Key, Served>,
    uploads: HashMap<Key, usize>,
    /// Bytes that the client read, and that the server read of uploads.
    got: HashMap<Key, usize>,
    sunk: usize,
    unread: HashSet<Key>,
}

impl LongLink {
    /// Sides of the default configuration with 4,096 channels, on the link of the
    /// constants.
    pub fn new() -> LongLink {
        LongLink::of(Config::default().max_channels(4096).unwrap(), RATE, RTT)
    }

    pub fn of(config: Config, rate: f64, rtt: Duration) -> LongLink {
        let now = Instant::now();
        let way = || Way {
            free: now,
            flying: VecDeque::new(),
            windows: 0,
        };
        let mut link = LongLink {
            client: Connection::new(Role::Client, config.clone(), now),
            server: Connection::new(Role::Server, config, now),
            now,
            rate,
            rtt,
            up: way(),
            down: way(),
            served: HashMap::new(),
            uploads: HashMap::new(),
            got: HashMap::new(),
            sunk: 0,
            unread: HashSet::new(),
        };
        link.rest(3 * rtt);
        link
    }

    /// A round trip that begins now takes so long.
    pub fn becomes(&mut self, rtt: Duration) {
        self.rtt = rtt;
    }

    pub fn open(&mut self, count: usize) -> Vec<Key> {
        (0..count).map(|_| self.client.open().unwrap()).collect()
    }

    /// Asks for so many bytes on a channel.
    pub fn ask(&mut self, key: Key, bytes: usize) {
        self.say(key, 0, bytes);
    }

    fn say(&mut self, key: Key, kind: u64, bytes: usize) {
        let header = (kind << 56 | bytes as u64).to_be_bytes();
        assert_eq!(self.client.write(key, &header), Ok(8));
    }

    /// Asks for so many bytes on a channel that nobody reads.
    pub fn ask_unread(&mut self, key: Key, bytes: usize) {
        self.unread.insert(key);
        self.ask(key, bytes);
    }

    /// Asks for so many bytes on each of these channels; until all are read, in
    /// round trips.
    pub fn fetch(&mut self, keys: &[Key], bytes: usize) -> f64 {
        let read = |link: &LongLink, key| link.got.get(key).copied().unwrap_or(0);
        let goals: Vec<(Key, usize)> = keys.iter().map(|k| (*k, read(self, k) + bytes)).collect();
        for key in keys {
            self.ask(*key, bytes);
        }
        self.until(|link| goals.iter().all(|(key, goal)| read(link, key) >= *goal))
    }

    /// Sends so many bytes on a channel; until all are read, in round trips.
    pub fn upload(&mut self, key: Key, bytes: usize) -> f64 {
        self.say(key, 1, bytes);
        self.uploads.insert(key, bytes);
        let goal = self.sunk + bytes;
        self.until(|link| link.sunk >= goal)
    }

    /// Bytes that the client has read on a channel.
    pub fn read(&self, key: Key) -> usize {
        self.got.get(&key).copied().unwrap_or(0)
    }

    /// WINDOW frames that the client has sent.
    pub fn windows(&self) -> usize {
        self.up.windows
    }

    pub fn rest(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.settle();
            self.now = self.next().map_or(until, |at| at.clamp(self.now, until));
        }
        self.settle();
    }

    fn until(&mut self, done: impl Fn(&LongLink) -> bool) -> f64 {
        let start = self.now;
        loop {
            self.settle();
            if done(self) {
                return (self.now - start).as_secs_f64() / self.rtt.as_secs_f64();
            }
            self.now = self.next().expect("something is to come").max(self.now);
            assert!(
                self.now < start + Duration::from_secs(600),
                "it takes too long"
            );
        }
    }

    /// When something happens next.
    fn next(&self) -> Option<Instant> {
        let timers = [self.client.poll_timeout(), self.server.poll_timeout()];
        let ways = [(&self.client, &self.up), (&self.server, &self.down)];
        let arrivals = ways.map(|(_, way)| way.flying.front().map(|(at, _)| *at));
        let turns = ways.map(|(core, way)| core.wants_transmit().then_some(way.free));
        let all = timers.into_iter().chain(arrivals).chain(turns);
        all.flatten().min()
    }

    /// Does all that can be done now.
    fn settle(&mut self) {
        self.client.handle_timeout(self.now);
        self.server.handle_timeout(self.now);
        loop {
            self.serve();
            self.use_client();
            let (now, rate, delay) = (self.now, self.rate, self.rtt / 2);
            let up = self.up.take(&mut self.client, now, rate, delay);
            if up && let Some((_, bytes)) = self.up.flying.back() {
                self.up.windows += count_windows(bytes);
            }
            let down = self.down.take(&mut self.server, now, rate, delay);
            let arrived = self.up.deliver(&mut self.server, now);
            if !(self.down.deliver(&mut self.client, now) || arrived || up || down) {
                return;
            }
        }
    }

    fn serve(&mut self) {
        while let Some(key) = self.server.accept() {
            self.served.insert(key, Served::default());
        }
        let mut buf = [0; PIECE];
        while let Some(event) = self.server.poll_event() {
            let key = match event {
                Event::Readable(key) | Event::Writable(key) => key,
                Event::Closed => panic!("{:?}", self.server.error()),
                _ => continue,
            };
            let Some(served) = self.served.get_mut(&key) else {
                continue;
            };
            loop {
                let most = if served.sinks > 0 {
                    served.sinks.min(PIECE)
                } else {
                    8
                };
                match self.server.read(key, &mut buf[..most]) {
                    Ok(Read::Bytes(n)) if served.sinks > 0 => {
                        served.sinks -= n;
                        self.sunk += n;
                    }
                    Ok(Read::Bytes(8)) => {
                        let word = u64::from_be_bytes(buf[..8].try_into().unwrap());
                        let bytes = (word & ((1 << 56) - 1)) as usize;
                        match word >> 56 {
                            0 => served.owes += bytes,
                            _ => served.sinks += bytes,
                        }
                    }
                    Ok(Read::Bytes(_)) => panic!("a part of a request"),
                    _ => break,
                }
            }
            while served.owes > 0 {
                match self.server.write(key, &buf[..PIECE.min(served.owes)]) {
                    Ok(n @ 1..) => served.owes -= n,
                    _ => break,
                }
            }
        }
    }

    fn use_client(&mut self) {
        let mut buf = [0; PIECE];
        while let Some(event) = self.client.poll_event() {
            match event {
                Event::Readable(key) if !self.unread.contains(&key) => {
                    while let Ok(Read::Bytes(n)) = self.client.read(key, &mut buf) {
                        *self.got.entry(key).or_default() += n;
                    }
                }
                Event::Closed => panic!("{:?}", self.client.error()),
                _ => {}
            }
        }
        self.uploads.retain(|key, left| {
            while *left > 0 {
                match self.client.write(*key, &buf[..PIECE.min(*left)]) {
                    Ok(n @ 1..) => *left -= n,
                    _ => break,
                }
            }
            *left > 0
        });
    }
}

/// WINDOW frames in what a side that sends few other bytes has sent.
fn count_windows(bytes: &[u8]) -> usize {
    let is_window = |frame: &&[u8]| matches!(frame, [1, 0x10, .., 0, 8]);
    bytes.windows(8).filter(is_window).count()
}

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use super::Faults;
use super::channel::Channel;
use crate::frame::{Frame, LEAST, Settings, decode};
use crate::peer::{MAGIC, Role};

pub(super) const MINE: Settings = Settings {
    budget: 300_000,
    ..LEAST
};

/// Why a connection ends.
#[derive(Debug)]
pub enum End {
    /// The peer's GOAWAY, or the end of the transport.
    Silent,
    /// A violation.
    GoAway(u32, String),
}

pub(super) type Step = Result<(), End>;

/// One connection.
#[derive(Debug)]
pub struct Endpoint {
    pub(super) role: Role,
    pub(super) stream: TcpStream,
    pub(super) faults: Faults,
    pub(super) input: Vec<u8>,
    pub(super) out: Vec<u8>,
    pub(super) magic: bool,
    pub(super) theirs: Option<Settings>,
    pub(super) channels: BTreeMap<u32, Channel>,
    /// The next number of this side and of the peer, and how many it may open.
    pub(super) mine_next: u32,
    pub(super) next: u32,
    pub(super) opened: u32,
    pub(super) closed: u32,
    pub(super) count: u32,
    /// The highest channel that the application has got.
    pub(super) last: u32,
    /// Paid back of what has ended, and what was said of that.
    pub(super) returned: u64,
    pub(super) told: u64,
    /// What this side owed at its ends, and what was paid back of that.
    pub(super) owed: u64,
    pub(super) paid: u64,
    /// Drained by the peer: opens nothing behind the next PONG.
    pub(super) drains: u32,
    pub(super) pings: u32,
    pub(super) noops: u32,
    pub(super) started: Instant,
}

impl Endpoint {
    pub fn new(role: Role, stream: TcpStream, faults: Faults) -> Endpoint {
        let client = role == Role::Client;
        Endpoint {
            role,
            stream,
            faults,
            input: Vec::new(),
            out: Vec::new(),
            magic: false,
            theirs: None,
            channels: BTreeMap::new(),
            mine_next: if client { 1 } else { 2 },
            next: if client { 2 } else { 1 },
            opened: 0,
            closed: 0,
            count: MINE.channels,
            last: 0,
            returned: 0,
            told: 0,
            owed: 0,
            paid: 0,
            drains: 0,
            pings: 0,
            noops: 0,
            started: Instant::now(),
        }
    }

    pub(super) fn has(&self, fault: &str) -> bool {
        self.faults.has(fault)
    }

    pub(super) fn say(&mut self, frame: &Frame) {
        self.out.extend(frame.encode());
    }

    /// A rule of what the peer may say, unless it is overlooked.
    pub(super) fn must(&self, rule: &'static str, code: u32, so: bool) -> Step {
        match so || self.has(rule) {
            true => Ok(()),
            false => Err(End::GoAway(code, rule.to_owned())),
        }
    }

    pub fn run(mut self) -> std::io::Result<()> {
        self.stream.set_nodelay(true)?;
        self.stream.set_nonblocking(true)?;
        if self.role == Role::Client || self.has("speaks first") {
            self.hello();
        }
        if self.role == Role::Client {
            self.own_channel(b"hello");
        }
        let end = loop {
            if let Err(end) = self.turn()? {
                break end;
            }
        };
        self.finish(end)
    }

    /// One round of reading, working and writing.
    fn turn(&mut self) -> std::io::Result<Step> {
        let mut bytes = [0; 65_536];
        let mut idle = false;
        match self.stream.read(&mut bytes) {
            Ok(0) if self.has("ignores the end of the stream") => idle = true,
            Ok(0) if self.input.is_empty() || self.theirs.is_none() => return Ok(Err(End::Silent)),
            Ok(0) => {
                return Ok(Err(End::GoAway(
                    1,
                    "the stream ended within a frame".into(),
                )));
            }
            Ok(read) => self.input.extend_from_slice(&bytes[..read]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => idle = true,
            Err(error) => return Err(error),
        }
        if let Err(end) = self.take() {
            return Ok(Err(end));
        }
        self.work();
        let before = self.out.len();
        self.flush()?;
        if idle && self.out.len() == before {
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(Ok(()))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(written) => drop(self.out.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn finish(mut self, end: End) -> std::io::Result<()> {
        if let End::GoAway(code, text) = end {
            let code = match self.theirs {
                None if !self.has("code 1 in the hello") => 4,
                _ => code,
            };
            if self.role == Role::Server && !self.magic && !self.has("silent to strangers") {
                self.hello();
            }
            let last = match () {
                () if self.has("last is 0") => 0,
                () if self.has("last is too high") => self.last + 2,
                () => self.last,
            };
            if !self.has("no GOAWAY") {
                self.say(&Frame::GoAway(last, code, text));
            }
            if self.has("speaks behind the GOAWAY") {
                self.say(&Frame::Ping(9));
            }
        } else if self.has("answers a GOAWAY") {
            self.say(&Frame::GoAway(self.last, 0, String::new()));
        }
        self.stream.set_nonblocking(false)?;
        self.stream.write_all(&self.out)?;
        if self.has("closes at once") {
            return Ok(());
        }
        if self.has("stays open") {
            std::thread::sleep(Duration::from_secs(2));
        }
        self.stream.shutdown(Shutdown::Write)?;
        self.stream
            .set_read_timeout(Some(Duration::from_millis(500)))?;
        let mut bytes = [0; 65_536];
        while self.stream.read(&mut bytes)? > 0 {}
        Ok(())
    }

    pub(super) fn hello(&mut self) {
        let magic = if self.has("another magic") { 7 } else { MAGIC };
        self.say(&match self.role {
            Role::Client => Frame::Hello(magic),
            Role::Server => Frame::HelloReply(magic),
        });
        self.say(&Frame::Settings(MINE.encode()));
    }

    pub(super) fn own_channel(&mut self, bytes: &[u8]) {
        let number = self.mine_next;
        self.mine_next += 2;
        let mut channel = Channel::new(true, MINE, self.theirs.unwrap_or(LEAST));
        channel.queue.extend_from_slice(bytes);
        self.channels.insert(number, channel);
        self.say(&Frame::Open(
            number + u32::from(self.has("opens other numbers")),
        ));
    }

    /// Takes all whole frames, and what shows in a header.
    fn take(&mut self) -> Step {
        if self.has("forgets what is cut") && self.input.len() < 6 {
            self.input.clear();
        }
        loop {
            if self.first_byte()? {
                return Ok(());
            }
            let faults = self.faults.clone();
            let whole = self.is_whole();
            let keeps = |rule: &str| !faults.has(rule);
            let found = match self.has("waits for the body") && !whole {
                true => Ok(None),
                false => decode(&self.input, &keeps),
            };
            let Some((frame, size)) = found.map_err(|why| End::GoAway(1, why.to_string()))? else {
                return self.header();
            };
            self.input.drain(..size);
            self.frame(frame)?;
        }
    }

    /// W8.2: a first byte of another version. Whether more is needed.
    fn first_byte(&mut self) -> Result<bool, End> {
        let Some(&version) = self.input.first() else {
            return Ok(true);
        };
        if self.magic || version == 1 {
            return Ok(false);
        }
        if self.role == Role::Client && version == 0 {
            return Err(End::Silent);
        }
        if version == 0 && !self.has("GOAWAY to version 0") {
            self.say(&Frame::HelloReply(MAGIC));
            return Err(End::Silent);
        }
        Err(match self.has("silent to strangers") {
            true => End::Silent,
            false => End::GoAway(1, format!("version {version}")),
        })
    }

    fn is_whole(&self) -> bool {
        let long = self.input.get(1).is_some_and(|op| *op >= 5);
        let length = match self.input.get(6..8) {
            Some(length) if long => 8 + usize::from(u16::from_be_bytes([length[0], length[1]])),
            _ if long => 8,
            _ => 6,
        };
        self.input.len() >= length
    }

    /// W1.6: DATA whose body has not come yet.
    fn header(&mut self) -> Step {
        let header = self.input.get(..8).filter(|header| header[1] == 5);
        let Some(header) = header.filter(|_| !self.has("waits for the body")) else {
            return Ok(());
        };
        let channel = u32::from_be_bytes([header[2], header[3], header[4], header[5]]);
        let length = u16::from_be_bytes([header[6], header[7]]);
        if channel == 0 {
            return Ok(());
        }
        self.order()?;
        self.check_data(channel, length.into())
    }
}

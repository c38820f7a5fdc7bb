use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use super::Faults;
use super::channel::Channel;
use crate::frame::{Broken, Frame, LEAST, Settings, decode};
use crate::judge::{REFUSED, Seen};
use crate::peer::{MAGIC, Role};

const MINE: Settings = Settings {
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

type Step = Result<(), End>;

/// One connection.
#[derive(Debug)]
pub struct Endpoint {
    role: Role,
    stream: TcpStream,
    faults: Faults,
    input: Vec<u8>,
    out: Vec<u8>,
    magic: bool,
    theirs: Option<Settings>,
    channels: BTreeMap<u32, Channel>,
    /// The next number of this side and of the peer, and how many it may open.
    mine_next: u32,
    next: u32,
    opened: u32,
    closed: u32,
    count: u32,
    /// The highest channel that the application has got.
    last: u32,
    /// Paid back of what has ended, and what was said of that.
    returned: u64,
    told: u64,
    /// What this side owed at its ends, and what was paid back of that.
    owed: u64,
    paid: u64,
    /// Drained by the peer: opens nothing behind the next PONG.
    drains: u32,
    pings: u32,
    noops: u32,
    started: Instant,
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

    fn has(&self, fault: &str) -> bool {
        self.faults.has(fault)
    }

    fn say(&mut self, frame: &Frame) {
        self.out.extend(frame.encode());
    }

    /// A rule of what the peer may say, unless it is overlooked.
    fn must(&self, rule: &'static str, code: u32, so: bool) -> Step {
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

    fn hello(&mut self) {
        let magic = if self.has("another magic") { 7 } else { MAGIC };
        self.say(&match self.role {
            Role::Client => Frame::Hello(magic),
            Role::Server => Frame::HelloReply(magic),
        });
        self.say(&Frame::Settings(MINE.encode()));
    }

    fn own_channel(&mut self, bytes: &[u8]) {
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

    fn order(&self) -> Step {
        self.must("W3.1", 1, self.theirs.is_some())
    }

    fn frame(&mut self, frame: Frame) -> Step {
        match frame {
            Frame::Hello(magic) | Frame::HelloReply(magic) => {
                let server = matches!(frame, Frame::Hello(_)) == (self.role == Role::Server);
                self.must("W2.1", 1, server && !self.magic)?;
                if self.role == Role::Server && !self.has("waits for the settings") {
                    self.hello();
                }
                let right = self.must("W2.2", 1, magic == MAGIC);
                self.magic = true;
                return right;
            }
            Frame::Settings(ref body) => return self.settings(body),
            _ => {}
        }
        self.must("W2.1", 1, self.magic)?;
        self.order()?;
        match frame {
            Frame::Open(channel) => self.open(channel),
            Frame::Data(channel, body) => self.data(channel, &body),
            Frame::Window(channel, limit, loan) => self.window(channel, limit, loan),
            Frame::Fin(channel, debt) => self.ended(channel, debt, true),
            Frame::Reset(channel, _, debt) => self.ended(channel, debt, false),
            Frame::Stop(channel, code) => self.stop(channel, code),
            Frame::Ping(token) => self.ping(token),
            Frame::Pong(_) => self.must("-", 1, !self.has("odd PONG is fatal")),
            Frame::MaxChannels(count) => {
                let low = count <= self.theirs.unwrap_or(LEAST).channels;
                self.must("-", 1, !(low && self.has("low counts are fatal")))
            }
            Frame::Drain => {
                self.drains += 1;
                self.must(
                    "-",
                    1,
                    self.drains < 2 || !self.has("a second DRAIN is fatal"),
                )
            }
            Frame::GoAway(..) => Err(End::Silent),
            Frame::Return(total) => self.paid_back(total),
            Frame::Close(_) | Frame::Hello(_) | Frame::HelloReply(_) => Ok(()),
            Frame::Settings(_) => Ok(()),
            Frame::Skipped(op) => {
                self.noops += 1;
                let few = self.noops < 100 || !self.has("few no-op frames");
                self.must("-", 3, few)?;
                self.must("-", 1, !(op == 0x90 && self.has("knows no skipped ops")))
            }
        }
    }

    fn settings(&mut self, body: &[u8]) -> Step {
        self.must("W2.1", 1, self.magic)?;
        self.must("W3.1", 1, self.theirs.is_none())?;
        self.must("-", 1, !(body.is_empty() && self.has("no empty settings")))?;
        let unknown = body.len() > 1 && u16::from_be_bytes([body[0], body[1]]) > 4;
        self.must("-", 1, !(unknown && self.has("no unknown settings")))?;
        let faults = self.faults.clone();
        let found = Settings::decode(body, &|rule| !faults.has(rule));
        let theirs = match found {
            Err(Broken { rule: "W3.2", .. }) if self.has("W3.2") => LEAST,
            other => other.map_err(|why| End::GoAway(1, why.to_string()))?,
        };
        if self.role == Role::Server && self.has("waits for the settings") {
            self.hello();
        }
        self.theirs = Some(theirs);
        for channel in self.channels.values_mut() {
            channel.limit = theirs.window.into();
        }
        Ok(())
    }

    fn open(&mut self, channel: u32) -> Step {
        let right = channel == self.next && channel <= i32::MAX as u32;
        self.must("W13.1", 1, right)?;
        self.must("W13.2", 3, self.opened < self.count)?;
        if channel == self.next {
            self.next += 2;
        }
        self.opened += 1;
        self.last = self.last.max(channel);
        let new = Channel::new(false, MINE, self.theirs.unwrap_or(LEAST));
        self.channels.insert(channel, new);
        Ok(())
    }

    /// A channel that is there, or whether it was.
    fn known(&mut self, channel: u32) -> Result<Option<&mut Channel>, End> {
        let next = match channel % 2 == self.next % 2 {
            true => self.next,
            false => self.mine_next,
        };
        self.must("W13.4", 1, channel < next)?;
        Ok(self.channels.get_mut(&channel))
    }

    fn check_data(&mut self, channel: u32, length: u64) -> Step {
        let known = self.known(channel)?;
        let (ended, refused, over) = match known {
            Some(of) => {
                let debt = (of.got + length).saturating_sub(of.said);
                (of.ended.is_some(), of.refused, debt - of.borrowed())
            }
            None => (true, false, 0),
        };
        self.must("W14.1", 1, !ended)?;
        self.must("W15.3", 1, !refused)?;
        self.must("W10.3", 2, ended || over <= self.left())
    }

    /// What the peer may still borrow.
    fn left(&self) -> u64 {
        let living = self.channels.values().map(Channel::borrowed).sum::<u64>();
        MINE.budget.saturating_sub(living)
    }

    fn data(&mut self, channel: u32, body: &[u8]) -> Step {
        self.check_data(channel, body.len() as u64)?;
        let to = match self.has("mixes up channels") {
            true => self.channels.keys().next_back().copied().unwrap_or(channel),
            false => channel,
        };
        if let Some(of) = self.channels.get_mut(&channel) {
            of.got += body.len() as u64;
            of.used = true;
        }
        if let Some(of) = self.channels.get_mut(&to) {
            of.unread.extend_from_slice(body);
        }
        Ok(())
    }

    fn ended(&mut self, channel: u32, debt: u64, clean: bool) -> Step {
        let left = self.left();
        let Some(of) = self.known(channel)? else {
            return self.must("W14.1", 1, false);
        };
        let (ended, refused) = (of.ended.is_some(), of.refused && clean);
        let before = of.borrowed();
        let right = (before..=of.got).contains(&debt) && debt - before <= left;
        self.must("W14.1", 1, !ended)?;
        self.must("W15.3", 1, !refused)?;
        self.must("W12.2", 2, ended || right)?;
        let early = self.has("forgets bytes before a FIN");
        if let Some(of) = self.channels.get_mut(&channel) {
            (of.ended, of.unpaid, of.used) = (Some(clean), debt.min(MINE.budget), of.used || clean);
            if early {
                of.unread.truncate(of.unread.len() / 2);
                of.queue.clear();
            }
        }
        Ok(())
    }

    fn window(&mut self, channel: u32, limit: u64, loan: u32) -> Step {
        let window = u64::from(self.theirs.unwrap_or(LEAST).window);
        let fatal = self.has("crossing frames are fatal");
        let Some(of) = self.known(channel)? else {
            return self.must("-", 1, !fatal);
        };
        let refused = of.refused;
        let right = limit >= of.limit + window.div_ceil(2) && limit <= of.sent + window;
        of.used = true;
        self.must("W15.3", 1, !refused)?;
        self.must("W11.1", 2, right)?;
        let ignores = self.has("ignores WINDOWs");
        if let Some(of) = self
            .channels
            .get_mut(&channel)
            .filter(|_| right && !ignores)
        {
            // The debt of an end stays what it was (W12.3).
            (of.limit, of.loan) = (limit, loan.into());
        }
        Ok(())
    }

    fn stop(&mut self, channel: u32, code: u32) -> Step {
        let fatal = self.has("crossing frames are fatal");
        let silent = self.has("ignores STOP");
        let Some(of) = self.known(channel)? else {
            return self.must("-", 1, !fatal);
        };
        of.refused |= code == REFUSED && of.ours && !of.used;
        if !of.over && !silent {
            of.stopped = true;
            let ours = of.ours;
            let code = match code {
                _ if self.has("another code in a RESET") => 77,
                REFUSED if !ours && !self.has("answers as a refusal") => 0,
                code => code,
            };
            self.reset(channel, code);
        }
        Ok(())
    }

    fn ping(&mut self, token: u64) -> Step {
        self.pings += 1;
        self.must("-", 3, self.pings < 60 || !self.has("few PINGs"))?;
        if !self.has("no PONG") {
            self.say(&Frame::Pong(
                token.wrapping_add(self.has("another token").into()),
            ));
        }
        if self.drains > 0 && self.has("opens behind a drain") {
            self.own_channel(b"late");
        }
        if self.drains > 0 && self.has("a drain ends channels") {
            let all: Vec<u32> = self.channels.keys().copied().collect();
            all.into_iter().for_each(|channel| self.reset(channel, 0));
        }
        Ok(())
    }

    fn paid_back(&mut self, total: u64) -> Step {
        let least = Seen::least_return(self.theirs.unwrap_or(LEAST));
        let right = total >= self.paid.saturating_add(least) && total <= self.owed;
        self.must("W12.4", 2, right)?;
        self.paid = total.min(self.owed);
        Ok(())
    }

    fn reset(&mut self, channel: u32, code: u32) {
        let says_none = self.has("says no debt");
        if let Some(of) = self.channels.get_mut(&channel).filter(|of| !of.over) {
            of.over = true;
            of.queue.clear();
            let debt = of.debt();
            self.owed += debt;
            self.say(&Frame::Reset(
                channel,
                code,
                if says_none { 0 } else { debt },
            ));
        }
    }

    /// Everything that the channels have to say.
    fn work(&mut self) {
        let Some(theirs) = self.theirs else {
            return;
        };
        let all: Vec<u32> = self.channels.keys().copied().collect();
        for channel in all {
            self.work_on(channel, theirs);
        }
        self.give_channels();
        if self.returned >= self.told + Seen::least_return(MINE) && !self.has("no RETURN") {
            self.told = self.returned;
            let more = u64::from(self.has("returns too much"));
            self.say(&Frame::Return(self.told + more));
        }
    }

    fn work_on(&mut self, number: u32, theirs: Settings) {
        let faults = self.faults.clone();
        let coming = self.coming(number);
        let living = self
            .channels
            .values()
            .filter(|of| !of.over)
            .map(Channel::debt);
        let debts = living.sum::<u64>() + self.owed - self.paid;
        let free = match faults.has("borrows too much") {
            true => u64::MAX,
            false => theirs.budget.saturating_sub(debts),
        };
        let Some(of) = self.channels.get_mut(&number) else {
            return;
        };
        of.read();
        let paid = of.payable(MINE);
        of.unpaid -= paid;
        self.returned += paid;
        let late = faults.has("late windows") && self.started.elapsed() < Duration::from_secs(1);
        let mut said = Vec::new();
        if let Some(limit) = of.window(MINE, coming, &faults).filter(|_| !late) {
            of.said = limit;
            said.push(Frame::Window(number, limit, 2 << 20));
        }
        let room = if of.over { 0 } else { of.room(free, &faults) };
        let mut bytes: Vec<u8> = of.queue.drain(..room).collect();
        of.sent += bytes.len() as u64;
        if faults.has("changes bytes") {
            bytes
                .iter_mut()
                .for_each(|byte| *byte = byte.wrapping_add(1));
        }
        let bodies = bytes
            .chunks(16_384)
            .map(|body| Frame::Data(number, body.to_vec()));
        said.extend(bodies);
        let mut debt = 0;
        match of.ended {
            Some(true) if !of.over && of.queue.is_empty() && of.unread.is_empty() => {
                of.over = true;
                debt = of.debt();
                if !faults.has("no FIN") {
                    said.push(Frame::Fin(number, debt));
                }
                if faults.has("ends twice") {
                    said.push(Frame::Reset(number, 0, debt));
                }
                if faults.has("DATA behind the FIN") {
                    said.push(Frame::Data(number, vec![0]));
                }
            }
            None if of.stopped && !of.stops => {
                of.stops = true;
                said.push(Frame::Stop(number, 0));
                if faults.has("stops twice") {
                    said.push(Frame::Stop(number, 0));
                }
            }
            _ => {}
        }
        let (resets, closed) = (of.ended == Some(false) && !of.over, of.is_closed());
        self.owed += debt;
        said.iter().for_each(|frame| self.say(frame));
        if resets && !faults.has("ignores RESET") {
            self.reset(number, 0);
        }
        let of = self.channels.get(&number);
        if closed && of.is_some_and(|of| of.unpaid == 0) {
            let gone = self.channels.remove(&number);
            self.closed += u32::from(gone.is_some_and(|of| !of.ours));
        }
    }

    /// Bytes of a DATA frame that have not come.
    fn coming(&self, number: u32) -> u64 {
        match self.input.get(..8) {
            Some(header) if header[1] == 5 && header[2..6] == number.to_be_bytes() => 16_384,
            _ => 0,
        }
    }

    fn give_channels(&mut self) {
        let may = MINE.channels + self.closed;
        let (more, quarter) = (may - self.count, MINE.channels / 4);
        let short = self.count.saturating_sub(self.opened) < quarter;
        if (more >= quarter || more > 0 && short) && !self.has("no MAX_CHANNELS") {
            self.count = may;
            let count = match () {
                () if self.has("high counts") => may + 1,
                () if self.has("low counts") => MINE.channels,
                () => may,
            };
            self.say(&Frame::MaxChannels(count));
        }
    }
}

//! One connection to the endpoint under test, which says what a case wants.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::frame::{Broken, Frame, LEAST, Settings, broken, decode};
use crate::judge::Seen;

/// The magic unless another one is given.
pub const MAGIC: u32 = 0xFEED_BACC;

/// What is under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A server: the kit is its client.
    Server,
    /// A client: the kit is its server.
    Client,
}

/// Where connections come from.
#[derive(Debug)]
pub enum Target {
    /// A server, by its address.
    Server(String),
    /// A client, which connects here, and again whenever a connection has ended.
    Client(TcpListener),
}

impl Target {
    /// What is under test.
    pub fn role(&self) -> Role {
        match self {
            Target::Server(_) => Role::Server,
            Target::Client(_) => Role::Client,
        }
    }

    fn connect(&self, patience: Duration) -> Result<TcpStream, Broken> {
        let gone = |error| broken("-", format!("no connection: {error}"));
        match self {
            Target::Server(address) => TcpStream::connect(address).map_err(gone),
            Target::Client(listener) => {
                listener.set_nonblocking(true).map_err(gone)?;
                let until = Instant::now() + patience.max(Duration::from_secs(5));
                loop {
                    match listener.accept() {
                        Ok((stream, _)) => {
                            stream.set_nonblocking(false).map_err(gone)?;
                            return Ok(stream);
                        }
                        Err(error) if error.kind() != ErrorKind::WouldBlock => {
                            return Err(gone(error));
                        }
                        Err(error) if Instant::now() > until => return Err(gone(error)),
                        Err(_) => std::thread::sleep(Duration::from_millis(1)),
                    }
                }
            }
        }
    }
}

/// What cases return.
pub type Outcome = Result<(), Broken>;

/// A connection and all that was said on it.
#[derive(Debug)]
pub struct Peer {
    /// What is under test.
    pub role: Role,
    /// What was said.
    pub seen: Seen,
    /// Whether PINGs are answered.
    pub answers: bool,
    stream: TcpStream,
    input: Vec<u8>,
    rule: &'static str,
    patience: Duration,
    next: u32,
    token: u64,
    drain: Option<u64>,
    greeted: bool,
}

impl Peer {
    /// A connection on which nothing was said.
    pub fn connect(
        target: &Target,
        rule: &'static str,
        patience: Duration,
    ) -> Result<Peer, Broken> {
        let stream = target.connect(patience)?;
        let _ = stream.set_nodelay(true);
        let _ = stream.set_write_timeout(Some(patience));
        let role = target.role();
        Ok(Peer {
            role,
            seen: Seen::new(role, LEAST),
            answers: true,
            stream,
            input: Vec::new(),
            rule,
            patience,
            next: if role == Role::Server { 1 } else { 2 },
            token: 0,
            drain: None,
            greeted: false,
        })
    }

    /// A failure of the case's rule.
    pub fn fail(&self, text: impl Into<String>) -> Broken {
        broken(self.rule, text)
    }

    /// Says bytes. Whether they are taken shows in what comes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Says a frame, and notes it.
    pub fn say(&mut self, frame: &Frame) {
        match *frame {
            Frame::Settings(_) => self.greeted = true,
            Frame::Open(channel) => self.seen.open(channel),
            Frame::Data(channel, ref body) => self.note(channel).sent += body.len() as u64,
            Frame::Window(channel, limit, _) => self.note(channel).said = limit,
            Frame::Fin(channel, debt) | Frame::Reset(channel, _, debt) => {
                self.note(channel).owes = Some(debt);
            }
            Frame::Ping(token) => {
                self.seen.waiting.insert(token);
            }
            Frame::MaxChannels(count) => self.seen.allowed = count,
            Frame::Return(total) => self.seen.paid = total,
            _ => {}
        }
        self.bytes(&frame.encode());
    }

    fn note(&mut self, channel: u32) -> &mut crate::judge::Channel {
        self.seen.channels.entry(channel).or_default()
    }

    /// Says several frames in one write.
    pub fn say_all(&mut self, frames: &[Frame]) {
        for frame in frames {
            self.say(frame);
        }
    }

    /// The hello of the kit's side.
    pub fn hello(&self, magic: u32) -> Frame {
        match self.role {
            Role::Server => Frame::Hello(magic),
            Role::Client => Frame::HelloReply(magic),
        }
    }

    /// Both hellos and settings.
    pub fn greet(&mut self) -> Outcome {
        self.greet_with(LEAST)
    }

    /// Both hellos and settings; the kit's are these.
    pub fn greet_with(&mut self, mine: Settings) -> Outcome {
        self.seen.mine = mine;
        self.seen.allowed = mine.channels;
        if self.role == Role::Client {
            self.wait("its HELLO", |seen| seen.magic.is_some())?;
        }
        let hello = self.hello(self.seen.magic.unwrap_or(MAGIC)).encode();
        let settings = Frame::Settings(mine.encode()).encode();
        self.bytes(&[hello, settings].concat());
        self.greeted = true;
        self.wait("its hello and settings", |seen| seen.settings.is_some())
    }

    /// Opens the next channel.
    pub fn open(&mut self) -> u32 {
        let channel = self.number();
        self.say(&Frame::Open(channel));
        channel
    }

    /// The next number of the kit's side.
    pub fn number(&mut self) -> u32 {
        self.next += 2;
        self.next - 2
    }

    /// Opens a channel, and sees an echo on it.
    pub fn echo(&mut self) -> Result<u32, Broken> {
        let channel = self.open();
        self.echo_on(channel, b"hello")?;
        Ok(channel)
    }

    /// Sees an echo of these bytes on a channel.
    pub fn echo_on(&mut self, channel: u32, bytes: &[u8]) -> Outcome {
        let before = self.seen.channel(channel).data.len();
        for body in bytes.chunks(16_384) {
            self.say(&Frame::Data(channel, body.to_vec()));
        }
        let all = before + bytes.len();
        self.wait("the echo", |seen| seen.channel(channel).data.len() >= all)?;
        match &self.seen.channel(channel).data[before..] == bytes {
            true => Ok(()),
            false => Err(self.fail("the echo has other bytes")),
        }
    }

    /// The channel that a client under test opens, once it has said hello on it.
    pub fn channel_of_client(&mut self) -> Result<u32, Broken> {
        self.wait("its own channel with hello on it", |seen| {
            seen.channel(1).data.starts_with(b"hello")
        })?;
        Ok(1)
    }

    /// Waits until this is so.
    pub fn wait(&mut self, what: &str, so: impl Fn(&Seen) -> bool) -> Outcome {
        let until = Instant::now() + self.patience;
        while !so(&self.seen) {
            if let Some((_, code, text)) = &self.seen.goaway {
                let text = format!("GOAWAY {code} ({text}) instead of {what}");
                return Err(self.fail(text));
            }
            if let Some(how) = self.seen.end {
                return Err(self.fail(format!("the connection {how} instead of {what}")));
            }
            if !self.hear(until)? {
                let text = format!("{what} did not come within {:?}", self.patience);
                return Err(self.fail(text));
            }
        }
        Ok(())
    }

    /// Waits until this is so, which may take 100 ms, and a fifth of the patience on a busy
    /// machine.
    pub fn soon(&mut self, what: &str, so: impl Fn(&Seen) -> bool) -> Outcome {
        let since = Instant::now();
        self.wait(what, so)?;
        match since.elapsed() <= Duration::from_millis(100) + self.patience / 5 {
            true => Ok(()),
            false => Err(self.fail(format!("{what} comes after {:?}", since.elapsed()))),
        }
    }

    /// Hears what comes in this time.
    pub fn listen(&mut self, time: Duration) -> Outcome {
        let until = Instant::now() + time;
        while self.seen.end.is_none() && self.hear(until)? {}
        Ok(())
    }

    /// Hears frames until the endpoint under test has seen all that was said before.
    pub fn alive(&mut self) -> Outcome {
        self.token += 1;
        let token = self.token;
        self.say(&Frame::Ping(token));
        self.wait("the PONG", |seen| seen.pongs.contains(&token))
    }

    /// Drains: DRAIN and its PING, and the answer.
    pub fn drain(&mut self) -> Outcome {
        self.say(&Frame::Drain);
        self.token += 1;
        self.drain = Some(self.token);
        let token = self.token;
        self.say(&Frame::Ping(token));
        self.wait("the PONG", |seen| seen.pongs.contains(&token))
    }

    /// The endpoint under test ends the connection with this code.
    pub fn ends(&mut self, code: u32) -> Outcome {
        let until = Instant::now() + self.patience;
        while self.seen.end.is_none() {
            if !self.hear(until)? {
                return Err(self.fail(match &self.seen.goaway {
                    None => format!("no GOAWAY {code} within {:?}", self.patience),
                    Some(_) => "the transport goes on behind the GOAWAY".to_owned(),
                }));
            }
        }
        match &self.seen.goaway {
            Some((_, came, _)) if *came == code => Ok(()),
            Some((_, came, text)) => {
                Err(self.fail(format!("GOAWAY {came} ({text}), and {code} is right")))
            }
            None => Err(self.fail(format!("it {} without GOAWAY {code}", self.how()))),
        }
    }

    /// The endpoint under test ends the connection, with or without a word.
    pub fn closes(&mut self) -> Outcome {
        let until = Instant::now() + self.patience;
        while self.seen.end.is_none() {
            if !self.hear(until)? {
                return Err(self.fail("it does not close"));
            }
        }
        Ok(())
    }

    /// How the transport has ended.
    pub fn how(&self) -> &'static str {
        self.seen.end.unwrap_or("goes on")
    }

    /// Sends no more.
    pub fn shut_down(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Bytes that came and are no whole frame yet.
    pub fn rest(&self) -> &[u8] {
        &self.input
    }

    /// Reads up to so many raw bytes that come in this time, or until the end.
    pub fn raw(&mut self, most: usize, time: Duration) -> Vec<u8> {
        let until = Instant::now() + time;
        while self.input.len() < most && self.seen.end.is_none() && self.read(until) {}
        let most = most.min(self.input.len());
        self.input.drain(..most).collect()
    }

    /// Sends as the credit allows, and waits for more of it.
    pub fn send(&mut self, channel: u32, total: usize) -> Outcome {
        let goal = self.seen.channel(channel).sent + total as u64;
        loop {
            let of = self.seen.channel(channel);
            let (sent, limit) = (of.sent, of.limit.min(goal));
            if sent == goal {
                return Ok(());
            }
            if sent < limit {
                let body = vec![b'x'; (limit - sent).min(16_384) as usize];
                self.say(&Frame::Data(channel, body));
                self.listen(Duration::ZERO)?;
            } else {
                self.wait("a WINDOW", |seen| seen.channel(channel).limit > sent)?;
            }
        }
    }

    /// What the kit may still borrow.
    fn free(&self) -> u64 {
        let living = self.seen.channels.values().filter(|of| of.owes.is_none());
        let debts: u64 = living.map(|of| of.sent.saturating_sub(of.limit)).sum();
        let owed = debts + self.seen.owed() - self.seen.returned;
        self.seen.theirs().budget.saturating_sub(owed)
    }

    /// Sends up to `most` bytes, all credit and budget included, until no more has come in
    /// 100 ms.
    pub fn pour(&mut self, channel: u32, most: u64) -> Outcome {
        loop {
            let (of, free) = (self.seen.channel(channel), self.free());
            let (sent, limit) = (of.sent, of.limit);
            let room = limit.saturating_sub(sent).saturating_add(free);
            let size = room.min(most - sent.min(most)).min(16_384);
            if size > 0 {
                self.say(&Frame::Data(channel, vec![b'x'; size as usize]));
                self.listen(Duration::ZERO)?;
                continue;
            }
            if sent < most {
                self.listen(Duration::from_millis(100))?;
                self.alive()?; // it may have been late
            }
            if self.seen.channel(channel).limit == limit || sent >= most {
                return Ok(());
            }
        }
    }

    /// Gives credit for all that came on a channel, if it is enough.
    pub fn give(&mut self, channel: u32) {
        let (window, of) = (self.seen.mine.window, self.seen.channel(channel));
        let limit = of.data.len() as u64 + u64::from(window);
        if limit >= of.said + u64::from(window.div_ceil(2)) {
            self.say(&Frame::Window(channel, limit, 2 << 20));
        }
    }

    /// Takes what comes next; whether anything came.
    fn hear(&mut self, until: Instant) -> Result<bool, Broken> {
        if let Some((frame, size)) = decode(&self.input, &|_| true)? {
            self.input.drain(..size);
            self.seen.heard(&frame)?;
            if let Frame::Ping(token) = frame
                && self.answers
                && self.greeted
            {
                self.bytes(&Frame::Pong(token).encode());
            }
            self.seen.drained |= self
                .drain
                .is_some_and(|token| self.seen.pongs.contains(&token));
            return Ok(true);
        }
        Ok(self.read(until))
    }

    fn read(&mut self, until: Instant) -> bool {
        let left = until.saturating_duration_since(Instant::now());
        let left = left.max(Duration::from_millis(1));
        let _ = self.stream.set_read_timeout(Some(left));
        let mut bytes = [0; 65_536];
        match self.stream.read(&mut bytes) {
            Ok(0) => self.seen.end = Some("ends"),
            Ok(read) => self.input.extend_from_slice(&bytes[..read]),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => return false,
                ErrorKind::Interrupted => {}
                _ => self.seen.end = Some("is reset"),
            },
        }
        true
    }
}

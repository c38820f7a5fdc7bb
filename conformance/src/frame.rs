//! Frames to bytes and back, written from SPEC.md alone: a fault of the crate's codec must
//! not hide in this one.

use std::fmt;

/// A rule that was broken, and how.
#[derive(Clone, Debug)]
pub struct Broken {
    /// The number of the rule in SPEC.md.
    pub rule: &'static str,
    /// What was seen.
    pub text: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.text)
    }
}

/// A rule that was broken.
pub fn broken(rule: &'static str, text: impl Into<String>) -> Broken {
    let text = text.into();
    Broken { rule, text }
}

/// One frame; the fields are those of SPEC.md's table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Frame {
    Hello(u32),
    HelloReply(u32),
    Open(u32),
    Close(u32),
    Settings(Vec<u8>),
    Data(u32, Vec<u8>),
    Window(u32, u64, u32),
    Fin(u32, u64),
    Stop(u32, u32),
    Reset(u32, u32, u64),
    Ping(u64),
    Pong(u64),
    MaxChannels(u32),
    Drain,
    GoAway(u32, u32, String),
    Return(u64),
    /// An op that nobody knows, with bit 7.
    Skipped(u8),
}

const HELLO: u8 = 0x01;
const HELLO_REPLY: u8 = 0x02;
const OPEN: u8 = 0x03;
const CLOSE: u8 = 0x04;
const DATA: u8 = 0x05;
const WINDOW: u8 = 0x10;
const FIN: u8 = 0x11;
const STOP: u8 = 0x12;
const RESET: u8 = 0x13;
const PING: u8 = 0x14;
const PONG: u8 = 0x15;
const MAX_CHANNELS: u8 = 0x16;
const DRAIN: u8 = 0x17;
const GOAWAY: u8 = 0x18;
const RETURN: u8 = 0x19;

/// A header of eight bytes.
pub fn header(op: u8, channel: u32, length: u16) -> Vec<u8> {
    let [c0, c1, c2, c3] = channel.to_be_bytes();
    let [l0, l1] = length.to_be_bytes();
    vec![1, op, c0, c1, c2, c3, l0, l1]
}

fn long(op: u8, channel: u32, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let mut bytes = header(op, channel, body.len() as u16);
    bytes.extend(body);
    bytes
}

fn short(op: u8, value: u32) -> Vec<u8> {
    let [a, b, c, d] = value.to_be_bytes();
    vec![1, op, a, b, c, d]
}

impl Frame {
    /// The frame in version 1.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Frame::Hello(magic) => short(HELLO, *magic),
            Frame::HelloReply(magic) => short(HELLO_REPLY, *magic),
            Frame::Open(channel) => short(OPEN, *channel),
            Frame::Close(channel) => short(CLOSE, *channel),
            Frame::Settings(body) => long(DATA, 0, &[body]),
            Frame::Data(channel, body) => long(DATA, *channel, &[body]),
            Frame::Window(channel, limit, loan) => {
                let (limit, loan) = (limit.to_be_bytes(), loan.to_be_bytes());
                long(WINDOW, *channel, &[&limit, &loan])
            }
            Frame::Fin(channel, debt) => long(FIN, *channel, &[&debt.to_be_bytes()]),
            Frame::Stop(channel, code) => long(STOP, *channel, &[&code.to_be_bytes()]),
            Frame::Reset(channel, code, debt) => {
                let (code, debt) = (code.to_be_bytes(), debt.to_be_bytes());
                long(RESET, *channel, &[&code, &debt])
            }
            Frame::Ping(token) => long(PING, 0, &[&token.to_be_bytes()]),
            Frame::Pong(token) => long(PONG, 0, &[&token.to_be_bytes()]),
            Frame::MaxChannels(count) => long(MAX_CHANNELS, 0, &[&count.to_be_bytes()]),
            Frame::Drain => long(DRAIN, 0, &[]),
            Frame::GoAway(last, code, text) => {
                let (last, code) = (last.to_be_bytes(), code.to_be_bytes());
                long(GOAWAY, 0, &[&last, &code, text.as_bytes()])
            }
            Frame::Return(total) => long(RETURN, 0, &[&total.to_be_bytes()]),
            Frame::Skipped(op) => long(*op, 0, &[]),
        }
    }
}

/// Reads the frame at the front of `bytes`, and says how many bytes it has; `None` if it is
/// not whole. `keeps` says whether a rule is enforced: the kit's own peer can be told to
/// overlook one.
pub fn decode(
    bytes: &[u8],
    keeps: &dyn Fn(&str) -> bool,
) -> Result<Option<(Frame, usize)>, Broken> {
    let fault = |rule: &'static str, right: bool, text: &str| match right || !keeps(rule) {
        true => Ok(()),
        false => Err(broken(rule, text)),
    };
    let Some(&version) = bytes.first() else {
        return Ok(None);
    };
    fault("W1.2", version == 1, &format!("version byte {version}"))?;
    let Some(&op) = bytes.get(1) else {
        return Ok(None);
    };
    fault("W8.1", op != CLOSE, "CLOSE in version 1")?;
    let known = matches!(op, HELLO..=DATA | WINDOW..=RETURN);
    fault("W4.2", known || op & 0x80 != 0, &format!("op {op:#04x}"))?;
    let Some(channel) = bytes.get(2..6) else {
        return Ok(None);
    };
    let channel = u32::from_be_bytes(channel.try_into().expect("four bytes"));
    if op < DATA {
        fault("W6.2", op != OPEN || channel != 0, "OPEN of channel 0")?;
        let frame = match op {
            HELLO => Frame::Hello(channel),
            HELLO_REPLY => Frame::HelloReply(channel),
            OPEN => Frame::Open(channel),
            _ => Frame::Close(channel),
        };
        return Ok(Some((frame, 6)));
    }
    let Some(length) = bytes.get(6..8) else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes(length.try_into().expect("two bytes")));
    let what = format!("op {op:#04x} with channel {channel} and {length} bytes");
    if op == DATA && channel == 0 {
        fault("W3.2", length <= 1024, &what)?;
    } else if op == DATA {
        fault("W7.1", (1..=16_384).contains(&length), &what)?;
    } else if op == GOAWAY {
        fault("W5.2", (8..=1024).contains(&length), &what)?;
    } else if let Some(right) = size(op) {
        fault("W5.1", length == right, &what)?;
    }
    match op {
        WINDOW | FIN | STOP | RESET => fault("W6.2", channel != 0, &what)?,
        PING..=RETURN => fault("W6.1", channel == 0, &what)?,
        _ => {}
    }
    let Some(body) = bytes.get(8..8 + length) else {
        return Ok(None);
    };
    let number = |at: usize, size: usize| {
        let byte = |at: usize| u64::from(body.get(at).copied().unwrap_or(0));
        (at..at + size).fold(0, |number, at| number << 8 | byte(at))
    };
    let (u32_at, u64_at) = (|at| number(at, 4) as u32, |at| number(at, 8));
    let frame = match op {
        DATA if channel == 0 => Frame::Settings(body.to_vec()),
        DATA => Frame::Data(channel, body.to_vec()),
        WINDOW => Frame::Window(channel, u64_at(0), u32_at(8)),
        FIN => Frame::Fin(channel, u64_at(0)),
        STOP => Frame::Stop(channel, u32_at(0)),
        RESET => Frame::Reset(channel, u32_at(0), u64_at(4)),
        PING => Frame::Ping(u64_at(0)),
        PONG => Frame::Pong(u64_at(0)),
        MAX_CHANNELS => Frame::MaxChannels(u32_at(0)),
        DRAIN => Frame::Drain,
        GOAWAY => {
            let text = body.get(8..).unwrap_or_default();
            fault("W5.3", std::str::from_utf8(text).is_ok(), "no UTF-8")?;
            let text = String::from_utf8_lossy(text).into_owned();
            Frame::GoAway(u32_at(0), u32_at(4), text)
        }
        RETURN => Frame::Return(u64_at(0)),
        _ => Frame::Skipped(op),
    };
    Ok(Some((frame, 8 + length)))
}

/// How long a body is (W5.1).
pub fn size(op: u8) -> Option<usize> {
    match op {
        DRAIN => Some(0),
        STOP | MAX_CHANNELS => Some(4),
        FIN | PING | PONG | RETURN => Some(8),
        WINDOW | RESET => Some(12),
        _ => None,
    }
}

/// What an endpoint says in its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes that each channel may always have on its way to this endpoint.
    pub window: u32,
    /// Channels that the other side may open.
    pub channels: u32,
    /// Bytes of all channels beyond their windows.
    pub budget: u64,
}

/// The least values.
pub const LEAST: Settings = Settings {
    window: 65_536,
    channels: 256,
    budget: 0,
};

/// A type with a value.
pub fn setting(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = value.len() as u16;
    [&kind.to_be_bytes()[..], &length.to_be_bytes(), value].concat()
}

impl Settings {
    /// The body of their frame.
    pub fn encode(&self) -> Vec<u8> {
        [
            setting(1, &self.window.to_be_bytes()),
            setting(2, &self.channels.to_be_bytes()),
            setting(3, &self.budget.to_be_bytes()),
        ]
        .concat()
    }

    /// Reads the body of their frame; `keeps` as in [`decode`].
    pub fn decode(mut body: &[u8], keeps: &dyn Fn(&str) -> bool) -> Result<Settings, Broken> {
        let (mut settings, mut seen) = (LEAST, [false; 5]);
        let short = || broken("W3.2", "the settings don't fit their body");
        while !body.is_empty() {
            let (head, rest) = body.split_at_checked(4).ok_or_else(short)?;
            let kind = u16::from_be_bytes([head[0], head[1]]);
            let length = u16::from_be_bytes([head[2], head[3]]).into();
            let (value, rest) = rest.split_at_checked(length).ok_or_else(short)?;
            body = rest;
            let right = match kind {
                1 | 2 => 4,
                3 | 4 => 8,
                _ => continue,
            };
            let number = value.iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
            let range = match kind {
                1 => 65_536..=i32::MAX as u64,
                2 => 256..=i32::MAX as u64,
                _ => 0..=u64::MAX,
            };
            let twice = std::mem::replace(&mut seen[usize::from(kind)], true);
            let fits = value.len() == right && range.contains(&number) && !twice;
            if !fits && keeps("W3.4") {
                return Err(broken("W3.4", format!("type {kind} with {value:?}")));
            }
            match kind {
                1 => settings.window = number as u32,
                2 => settings.channels = number as u32,
                3 => settings.budget = number,
                _ => {}
            }
        }
        Ok(settings)
    }
}

use std::ops::RangeInclusive;

use bytes::{BufMut, Bytes};

use super::Version;

/// The most bytes that one DATA frame of version 1 carries (W7): small enough that no frame
/// holds up another channel's for long, large enough that its 8-byte header
/// costs nothing.
pub const MAX_DATA: usize = 16 * 1024;

/// The most bytes of text in a GOAWAY (W5).
pub const MAX_TEXT: usize = 1016;

pub(super) mod op {
    pub const HELLO: u8 = 0x01;
    pub const HELLO_REPLY: u8 = 0x02;
    pub const OPEN: u8 = 0x03;
    pub const CLOSE: u8 = 0x04;
    pub const DATA: u8 = 0x05;
    pub const WINDOW: u8 = 0x10;
    pub const FIN: u8 = 0x11;
    pub const STOP: u8 = 0x12;
    pub const RESET: u8 = 0x13;
    pub const PING: u8 = 0x14;
    pub const PONG: u8 = 0x15;
    pub const MAX_CHANNELS: u8 = 0x16;
    pub const DRAIN: u8 = 0x17;
    pub const GOAWAY: u8 = 0x18;
    pub const RETURN: u8 = 0x19;
}

/// Every frame but DATA, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs)] // the fields are those of SPEC.md's table
pub enum Control {
    /// The client's first frame.
    Hello { magic: u32 },
    /// The server's first frame.
    HelloReply { magic: u32 },
    /// The settings of the side that sends them, still encoded.
    Settings { body: Bytes },
    /// A new channel.
    Open { channel: u32 },
    /// The end of a channel in both directions; version 0 only.
    Close { channel: u32 },
    /// How far the peer may send on a channel, and how much beyond that it may borrow.
    Window { channel: u32, limit: u64, loan: u32 },
    /// The clean end of one direction.
    Fin { channel: u32, debt: u64 },
    /// The sender will read no more.
    Stop { channel: u32, code: u32 },
    /// The sender will write no more, and what it wrote may be lost.
    Reset { channel: u32, code: u32, debt: u64 },
    /// To be answered with a PONG.
    Ping { token: u64 },
    /// The answer to a PING.
    Pong { token: u64 },
    /// How many channels the peer may open in the connection's life.
    MaxChannels { count: u32 },
    /// Please open no more channels.
    Drain,
    /// The last frame: channels above `last` were never handed on.
    GoAway { last: u32, code: u32, text: String },
    /// What was paid back of channels that have ended, in the connection's life.
    Return { total: u64 },
}

/// A frame to encode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Any frame but DATA.
    Control(Control),
    /// Bytes of a channel: 1 to [`MAX_DATA`] of them, in version 0 from 0 to
    /// 65,535.
    Data {
        /// The channel.
        channel: u32,
        /// The bytes.
        body: &'a [u8],
    },
}

impl Frame<'_> {
    /// Appends the frame to `out`.
    ///
    /// # Panics
    ///
    /// If a body is longer than its op allows (W5, W7, W8). In debug builds
    /// also if the version does not have the op.
    pub fn encode(&self, version: Version, out: &mut impl BufMut) {
        match self {
            Frame::Control(control) => control.encode(version, out),
            Frame::Data { channel, body } => {
                let size = body.len();
                assert!(data_sizes(version).contains(&size), "DATA size (W7, W8)");
                data_header(version, out, *channel, body.len());
                out.put_slice(body);
            }
        }
    }
}

/// W7, W8: how many bytes a DATA frame may have.
fn data_sizes(version: Version) -> RangeInclusive<usize> {
    match version {
        Version::V0 => 0..=u16::MAX.into(),
        Version::V1 => 1..=MAX_DATA,
    }
}

/// Appends the header of a DATA frame whose `len` bytes the caller appends.
pub(crate) fn data_header(version: Version, out: &mut impl BufMut, channel: u32, len: usize) {
    debug_assert!(data_sizes(version).contains(&len));
    let [c0, c1, c2, c3] = channel.to_be_bytes();
    let [l0, l1] = (len as u16).to_be_bytes();
    out.put_slice(&[version as u8, op::DATA, c0, c1, c2, c3, l0, l1]);
}

/// Writes headers of one version.
struct Encoder<'a, B> {
    version: Version,
    out: &'a mut B,
}

impl<B: BufMut> Encoder<'_, B> {
    fn short(&mut self, op: u8, value: u32) {
        // W8: the Python peer drops the connection at an op that it does not know.
        debug_assert!(self.version != Version::V0 || op <= op::DATA);
        self.out.put_slice(&[self.version as u8, op]);
        self.out.put_u32(value);
    }

    fn header(&mut self, op: u8, channel: u32, len: usize) {
        self.short(op, channel);
        self.out.put_u16(len as u16);
    }

    fn with_u32(&mut self, op: u8, channel: u32, value: u32) {
        self.header(op, channel, 4);
        self.out.put_u32(value);
    }

    fn with_u64(&mut self, op: u8, channel: u32, value: u64) {
        self.header(op, channel, 8);
        self.out.put_u64(value);
    }
}

impl Control {
    fn encode(&self, version: Version, out: &mut impl BufMut) {
        let mut to = Encoder { version, out };
        match self {
            Control::Hello { magic } => to.short(op::HELLO, *magic),
            Control::HelloReply { magic } => to.short(op::HELLO_REPLY, *magic),
            Control::Settings { body } => {
                assert!(body.len() <= super::MAX_SETTINGS, "settings size (W3)");
                to.header(op::DATA, 0, body.len());
                to.out.put_slice(body);
            }
            Control::Open { channel } => to.short(op::OPEN, *channel),
            Control::Close { channel } => to.short(op::CLOSE, *channel),
            Control::Window {
                channel,
                limit,
                loan,
            } => {
                to.header(op::WINDOW, *channel, 12);
                to.out.put_u64(*limit);
                to.out.put_u32(*loan);
            }
            Control::Fin { channel, debt } => to.with_u64(op::FIN, *channel, *debt),
            Control::Stop { channel, code } => to.with_u32(op::STOP, *channel, *code),
            Control::Reset {
                channel,
                code,
                debt,
            } => {
                to.header(op::RESET, *channel, 12);
                to.out.put_u32(*code);
                to.out.put_u64(*debt);
            }
            Control::Ping { token } => to.with_u64(op::PING, 0, *token),
            Control::Pong { token } => to.with_u64(op::PONG, 0, *token),
            Control::MaxChannels { count } => to.with_u32(op::MAX_CHANNELS, 0, *count),
            Control::Drain => to.header(op::DRAIN, 0, 0),
            Control::GoAway { last, code, text } => {
                assert!(text.len() <= MAX_TEXT, "text size (W5)");
                to.header(op::GOAWAY, 0, 8 + text.len());
                to.out.put_u32(*last);
                to.out.put_u32(*code);
                to.out.put_slice(text.as_bytes());
            }
            Control::Return { total } => to.with_u64(op::RETURN, 0, *total),
        }
    }
}

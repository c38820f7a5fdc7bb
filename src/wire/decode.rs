use bytes::Bytes;

use super::frame::op;
use super::{Control, MAX_DATA, MAX_SETTINGS, MAX_TEXT, Protocol, Version, WireError};

/// What a [`Decoder`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// A frame that is not DATA, whole and checked.
    Control(Control),
    /// The header of a DATA frame: that many bytes of the channel follow, in
    /// one or more [`Decoded::Payload`].
    Data {
        /// The channel.
        channel: u32,
        /// Bytes in the frame: 1 to [`MAX_DATA`], in version 0 from 0 to 65,535.
        len: usize,
    },
    /// The next bytes of the last DATA frame.
    Payload(&'a [u8]),
    /// The header of a frame that is not known and whose body is skipped (W4).
    Unknown {
        /// The op.
        op: u8,
    },
}

/// Cuts a byte stream into frames, whatever pieces it comes in.
///
/// It holds at most one control frame, never a DATA frame's bytes: those pass
/// through. It reserves nothing from a length that a peer claims.
///
/// ```
/// use tcpchan::wire::{Control, Decoded, Decoder, Frame, Protocol, Version};
///
/// let mut bytes = Vec::new();
/// Frame::Control(Control::Open { channel: 1 }).encode(Version::V1, &mut bytes);
/// Frame::Data { channel: 1, body: b"hello" }.encode(Version::V1, &mut bytes);
///
/// let (mut decoder, mut input) = (Decoder::new(Protocol::V1), &bytes[..]);
/// let open = Decoded::Control(Control::Open { channel: 1 });
/// assert_eq!(decoder.decode(&mut input)?, Some(open));
/// assert_eq!(decoder.decode(&mut input)?, Some(Decoded::Data { channel: 1, len: 5 }));
/// assert_eq!(decoder.decode(&mut input)?, Some(Decoded::Payload(b"hello")));
/// assert_eq!(decoder.decode(&mut input)?, None);
/// # Ok::<(), tcpchan::wire::WireError>(())
/// ```
#[derive(Debug)]
pub struct Decoder {
    protocol: Protocol,
    /// Known from the first frame's first byte on.
    version: Option<Version>,
    lenient: bool,
    held: Vec<u8>,
    payload: usize,
    skip: usize,
}

/// Bytes of the headers: of HELLO, HELLO_REPLY, OPEN and CLOSE, and of all other ops (W1.1).
const SHORT: usize = 6;
const LONG: usize = 8;

/// The first bytes of a frame, read and checked.
struct Header {
    op: u8,
    channel: u32,
    /// Bytes of the body.
    len: usize,
    /// Bytes of the header.
    size: usize,
}

impl Header {
    fn new(op: u8, channel: u32, len: usize, size: usize) -> Self {
        Header {
            op,
            channel,
            len,
            size,
        }
    }
}

impl Decoder {
    /// A decoder at the start of a connection. The first frame tells the
    /// version (W1), and the others must have the same.
    pub fn new(protocol: Protocol) -> Self {
        Decoder {
            protocol,
            version: None,
            lenient: false,
            held: Vec::new(),
            payload: 0,
            skip: 0,
        }
    }

    /// A decoder for a version 0 server: it takes the version bytes 0 and 1
    /// alike (W8), since a client that speaks both versions starts with 1. An
    /// op that version 0 lacks gives away a client that speaks version 1 only.
    pub fn version0_server() -> Self {
        Decoder {
            lenient: true,
            ..Decoder::new(Protocol::V0)
        }
    }

    /// The version that the peer speaks, from its first frame on.
    pub fn version(&self) -> Option<Version> {
        self.version
    }

    /// Whether the bytes so far end within a frame.
    pub fn is_within_frame(&self) -> bool {
        self.payload > 0 || self.skip > 0 || !self.held.is_empty()
    }

    /// Bytes of a DATA frame that are still to come.
    pub(crate) fn data_left(&self) -> usize {
        self.payload
    }

    /// Takes the next frame or piece of one from the front of `input`; `None`
    /// when all of `input` is taken and more is needed.
    ///
    /// # Errors
    ///
    /// A [`WireError`] as soon as the bytes can't be a frame's. The decoder
    /// can't be used after that.
    pub fn decode<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Decoded<'a>>, WireError> {
        while !input.is_empty() {
            if self.payload > 0 {
                let (bytes, rest) = input.split_at(self.payload.min(input.len()));
                *input = rest;
                self.payload -= bytes.len();
                return Ok(Some(Decoded::Payload(bytes)));
            } else if self.skip > 0 {
                let n = self.skip.min(input.len());
                *input = &input[n..];
                self.skip -= n;
            } else if let Some((channel, len)) = self.whole_data_header(input) {
                *input = &input[LONG..];
                self.payload = len;
                return Ok(Some(Decoded::Data { channel, len }));
            } else if let Some(decoded) = self.frame(input)? {
                return Ok(Some(decoded));
            }
        }
        Ok(None)
    }

    /// The channel and the length of a DATA frame of version 1 whose header stands whole in the
    /// input: most frames are that, and the other checks are for the rest.
    #[inline]
    fn whole_data_header(&self, input: &[u8]) -> Option<(u32, usize)> {
        let &[version, op::DATA, a, b, c, d, e, f] = input.first_chunk::<LONG>()? else {
            return None;
        };
        let channel = u32::from_be_bytes([a, b, c, d]);
        let len = usize::from(u16::from_be_bytes([e, f]));
        let fits = channel != 0 && (1..=MAX_DATA).contains(&len);
        let is_v1 = version == Version::V1 as u8 && self.version == Some(Version::V1);
        let goes_on = is_v1 && self.held.is_empty();
        (fits && goes_on).then_some((channel, len))
    }

    /// Takes bytes up to the end of a header or of a control frame.
    fn frame<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Decoded<'a>>, WireError> {
        if self.held.is_empty() {
            // The common case: the frame stands whole in the input.
            let (used, decoded) = self.complete(input)?;
            *input = &input[used..];
            if used > 0 {
                return Ok(decoded);
            }
        }
        // One byte more each time: control frames that are split are rare and short.
        self.held.push(input[0]);
        *input = &input[1..];
        let mut held = std::mem::take(&mut self.held);
        let (used, decoded) = self.complete(&held)?;
        if used > 0 {
            held.clear();
        }
        self.held = held;
        Ok(decoded)
    }

    /// Decodes the frame at the front of `bytes`: how many bytes it took, none
    /// if it isn't all there.
    fn complete<'a>(&mut self, bytes: &[u8]) -> Result<(usize, Option<Decoded<'a>>), WireError> {
        let Some(header) = self.header(bytes)? else {
            return Ok((0, None));
        };
        let v0 = self.version == Some(Version::V0);
        if header.op == op::DATA && (header.channel != 0 || v0) {
            self.payload = header.len;
            let (channel, len) = (header.channel, header.len);
            return Ok((header.size, Some(Decoded::Data { channel, len })));
        }
        if !is_known(header.op) {
            self.skip = header.len;
            let unknown = Decoded::Unknown { op: header.op };
            return Ok((header.size, Some(unknown)));
        }
        let end = header.size + header.len;
        let Some(body) = bytes.get(header.size..end) else {
            return Ok((0, None));
        };
        Ok((end, Some(Decoded::Control(control(&header, body)?))))
    }

    /// Reads and checks a header, as early as its bytes allow.
    fn header(&mut self, bytes: &[u8]) -> Result<Option<Header>, WireError> {
        let Some(&byte) = bytes.first() else {
            return Ok(None);
        };
        let version = self.check_version(byte)?;
        let Some(&op) = bytes.get(1) else {
            return Ok(None);
        };
        if version == Version::V0 && byte == 1 && op > op::DATA {
            return Err(self.other_version(byte)); // W8
        }
        check_op(version, op)?;
        let Some(channel) = chunk(bytes, 2).map(u32::from_be_bytes) else {
            return Ok(None);
        };
        if op < op::DATA {
            if op == op::OPEN && channel == 0 && version == Version::V1 {
                return Err(WireError::Channel(op, channel)); // W6
            }
            return Ok(Some(Header::new(op, channel, 0, SHORT)));
        }
        let Some(len) = chunk(bytes, 6).map(u16::from_be_bytes) else {
            return Ok(None);
        };
        if version == Version::V1 {
            check_body(op, channel, len)?;
        }
        Ok(Some(Header::new(op, channel, len as usize, LONG)))
    }

    /// W1: the first frame's version is one that this side speaks, and the
    /// others' is the same.
    fn check_version(&mut self, byte: u8) -> Result<Version, WireError> {
        let accepted = match self.protocol.accepts(byte) {
            None if self.lenient && byte == 1 => Some(Version::V0),
            accepted => accepted,
        };
        match (self.version, accepted) {
            (Some(version), Some(accepted)) if version == accepted => Ok(version),
            (None, Some(accepted)) => Ok(*self.version.insert(accepted)),
            _ => Err(self.other_version(byte)),
        }
    }

    fn other_version(&self, received: u8) -> WireError {
        let spoken = self.protocol;
        WireError::Version { received, spoken }
    }
}

fn chunk<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk::<N>().copied()
}

fn is_known(op: u8) -> bool {
    matches!(op, op::HELLO..=op::DATA | op::WINDOW..=op::RETURN)
}

/// W4, W8.
fn check_op(version: Version, op: u8) -> Result<(), WireError> {
    match (version, op) {
        (Version::V0, op::HELLO..=op::DATA) => Ok(()),
        (Version::V1, op::CLOSE) => Err(WireError::OtherVersion(op)),
        (Version::V1, op) if is_known(op) || op & 0x80 != 0 => Ok(()),
        _ => Err(WireError::UnknownOp(op)),
    }
}

/// Whether an op of version 1 may have this channel (W6) and this length (W3,
/// W5, W7).
fn check_body(op: u8, channel: u32, len: u16) -> Result<(), WireError> {
    let size = len as usize;
    let fits = match op {
        op::DATA if channel == 0 => size <= MAX_SETTINGS,
        op::DATA => (1..=MAX_DATA).contains(&size),
        op::DRAIN => size == 0,
        op::STOP | op::MAX_CHANNELS => size == 4,
        op::FIN | op::PING | op::PONG | op::RETURN => size == 8,
        op::WINDOW | op::RESET => size == 12,
        op::GOAWAY => (8..=8 + MAX_TEXT).contains(&size),
        _ => return Ok(()),
    };
    if !fits {
        return Err(WireError::Length(op, len));
    }
    let of_channel = match op {
        op::DATA => return Ok(()),
        op::WINDOW | op::FIN | op::STOP | op::RESET => true,
        _ => false,
    };
    if of_channel != (channel != 0) {
        return Err(WireError::Channel(op, channel));
    }
    Ok(())
}

/// A control frame from its checked header and its whole body.
fn control(header: &Header, body: &[u8]) -> Result<Control, WireError> {
    let channel = header.channel;
    let u32_at = |at: usize| u32::from_be_bytes(chunk(body, at).unwrap_or_default());
    let u64_at = |at: usize| u64::from_be_bytes(chunk(body, at).unwrap_or_default());
    Ok(match header.op {
        op::HELLO => Control::Hello { magic: channel },
        op::HELLO_REPLY => Control::HelloReply { magic: channel },
        op::OPEN => Control::Open { channel },
        op::CLOSE => Control::Close { channel },
        op::DATA => Control::Settings {
            body: Bytes::copy_from_slice(body),
        },
        op::WINDOW => Control::Window {
            channel,
            limit: u64_at(0),
            loan: u32_at(8),
        },
        op::FIN => Control::Fin {
            channel,
            debt: u64_at(0),
        },
        op::STOP => Control::Stop {
            channel,
            code: u32_at(0),
        },
        op::RESET => Control::Reset {
            channel,
            code: u32_at(0),
            debt: u64_at(4),
        },
        op::PING => Control::Ping { token: u64_at(0) },
        op::PONG => Control::Pong { token: u64_at(0) },
        op::MAX_CHANNELS => Control::MaxChannels { count: u32_at(0) },
        op::DRAIN => Control::Drain,
        op::GOAWAY => Control::GoAway {
            last: u32_at(0),
            code: u32_at(4),
            text: std::str::from_utf8(&body[8..])
                .map_err(|_| WireError::Text)?
                .to_owned(), // W5
        },
        op::RETURN => Control::Return { total: u64_at(0) },
        other => return Err(WireError::UnknownOp(other)),
    })
}

use bytes::Bytes;

use super::frame::op;
use super::{Control, MAX_DATA, MAX_SETTINGS, MAX_TEXT, VERSION, WireError};

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
        /// Bytes in the frame, 1 to [`MAX_DATA`].
        len: usize,
    },
    /// The next bytes of the last DATA frame.
    Payload(&'a [u8]),
}

/// Cuts a byte stream into frames, whatever pieces it comes in.
///
/// It holds at most one control frame, never a DATA frame's bytes: those pass
/// through. It reserves nothing from a length that a peer claims.
#[derive(Debug, Default)]
pub struct Decoder {
    held: Vec<u8>,
    payload: usize,
    skip: usize,
}

const SHORT: usize = 6;
const LONG: usize = 8;

/// The first bytes of a frame, read and checked.
struct Header {
    op: u8,
    channel: u32,
    len: usize,
    size: usize,
}

impl Decoder {
    /// A decoder at the start of a connection.
    pub fn new() -> Self {
        Decoder::default()
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
            if self.skip > 0 {
                let n = self.skip.min(input.len());
                *input = &input[n..];
                self.skip -= n;
            } else if self.payload > 0 {
                let (bytes, rest) = input.split_at(self.payload.min(input.len()));
                *input = rest;
                self.payload -= bytes.len();
                return Ok(Some(Decoded::Payload(bytes)));
            } else if let Some(decoded) = self.frame(input)? {
                return Ok(Some(decoded));
            }
        }
        Ok(None)
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
        let held = std::mem::take(&mut self.held);
        let (used, decoded) = self.complete(&held)?;
        if used == 0 {
            self.held = held;
        }
        Ok(decoded)
    }

    /// Decodes the frame at the front of `bytes`: how many bytes it took, none
    /// if it isn't all there.
    fn complete<'a>(&mut self, bytes: &[u8]) -> Result<(usize, Option<Decoded<'a>>), WireError> {
        let Some(header) = header(bytes)? else {
            return Ok((0, None));
        };
        if header.op == op::DATA && header.channel != 0 {
            self.payload = header.len;
            let (channel, len) = (header.channel, header.len);
            return Ok((header.size, Some(Decoded::Data { channel, len })));
        }
        if !is_known(header.op) {
            self.skip = header.len;
            return Ok((header.size, None));
        }
        let end = header.size + header.len;
        let Some(body) = bytes.get(header.size..end) else {
            return Ok((0, None));
        };
        Ok((end, Some(Decoded::Control(control(&header, body)?))))
    }
}

fn is_known(op: u8) -> bool {
    matches!(op, op::HELLO..=op::DATA | op::WINDOW..=op::GOAWAY | op::BLOCKED)
}

/// Reads and checks a header, as early as its bytes allow.
fn header(bytes: &[u8]) -> Result<Option<Header>, WireError> {
    let (&[version, op], rest) = match bytes {
        [] => return Ok(None),
        // W1
        [version, ..] if *version != VERSION => return Err(WireError::Version(*version)),
        [_] => return Ok(None),
        [version, op, rest @ ..] => (&[*version, *op], rest),
    };
    debug_assert_eq!(version, VERSION);
    if op == op::CLOSE {
        return Err(WireError::Version0Op(op)); // W8
    }
    if !is_known(op) && op & 0x80 == 0 {
        return Err(WireError::UnknownOp(op)); // W4
    }
    let Some(channel) = rest.first_chunk::<4>() else {
        return Ok(None);
    };
    let channel = u32::from_be_bytes(*channel);
    if op < op::DATA {
        if op == op::OPEN && channel == 0 {
            return Err(WireError::Channel(op, channel)); // W6
        }
        let (len, size) = (0, SHORT);
        return Ok(Some(Header {
            op,
            channel,
            len,
            size,
        }));
    }
    let Some(&[high, low]) = rest.get(4..).and_then(|rest| rest.first_chunk::<2>()) else {
        return Ok(None);
    };
    let len = u16::from_be_bytes([high, low]);
    check(op, channel, len)?;
    let (len, size) = (len as usize, LONG);
    Ok(Some(Header {
        op,
        channel,
        len,
        size,
    }))
}

/// Whether an op may have this channel (W6) and this length (W3, W5, W7).
fn check(op: u8, channel: u32, len: u16) -> Result<(), WireError> {
    let size = len as usize;
    let fits = match op {
        op::DATA if channel == 0 => size <= MAX_SETTINGS,
        op::DATA => (1..=MAX_DATA).contains(&size),
        op::FIN | op::DRAIN => size == 0,
        op::STOP | op::RESET | op::MAX_CHANNELS => size == 4,
        op::WINDOW | op::BLOCKED | op::PING | op::PONG => size == 8,
        op::GOAWAY => (8..=8 + MAX_TEXT).contains(&size),
        _ => return Ok(()),
    };
    if !fits {
        return Err(WireError::Length(op, len));
    }
    let of_channel = match op {
        op::DATA => return Ok(()),
        op::WINDOW | op::FIN | op::STOP | op::RESET | op::BLOCKED => true,
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
    let u32_at = |at: usize| {
        let bytes = body.get(at..).and_then(|b| b.first_chunk::<4>());
        u32::from_be_bytes(bytes.copied().unwrap_or_default())
    };
    let u64_at = |at: usize| u64::from(u32_at(at)) << 32 | u64::from(u32_at(at + 4));
    Ok(match header.op {
        op::HELLO => Control::Hello { magic: channel },
        op::HELLO_REPLY => Control::HelloReply { magic: channel },
        op::OPEN => Control::Open { channel },
        op::DATA => Control::Settings {
            body: Bytes::copy_from_slice(body),
        },
        op::WINDOW => Control::Window {
            channel,
            limit: u64_at(0),
        },
        op::FIN => Control::Fin { channel },
        op::STOP => Control::Stop {
            channel,
            code: u32_at(0),
        },
        op::RESET => Control::Reset {
            channel,
            code: u32_at(0),
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
        op::BLOCKED => Control::Blocked {
            channel,
            limit: u64_at(0),
        },
        other => return Err(WireError::UnknownOp(other)),
    })
}

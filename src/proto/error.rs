use std::fmt::{self, Write};

use crate::wire::WireError;

/// Codes of a GOAWAY.
pub(crate) mod code {
    pub const NONE: u32 = 0;
    pub const PROTOCOL: u32 = 1;
    pub const FLOW_CONTROL: u32 = 2;
    pub const LIMIT: u32 = 3;
    pub const HANDSHAKE: u32 = 4;
}

/// The code of a RESET and a STOP that says: the channel was never given to
/// the application, so what it was for may be tried again.
pub const REFUSED: u32 = u32::MAX;

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionError {
    /// This side closed it.
    Closed,
    /// The peer closed it and said why.
    PeerClosed {
        /// 0 for an orderly end.
        code: u32,
        /// The peer's own words.
        text: String,
    },
    /// The peer broke a rule of the protocol.
    Violation {
        /// The code that the peer was told.
        code: u32,
        /// The text that the peer was told.
        text: String,
    },
    /// The peer speaks another version of the protocol; the text names both
    /// and the setting to change.
    Version(String),
    /// The transport ended or failed without a GOAWAY; how, in its own words.
    Lost(String),
    /// The same before the peer's hello. That is what the Python server does to
    /// a client of another magic.
    NoHello(String),
    /// The peer's hello did not come in time.
    HandshakeTimeout,
    /// Nothing was received for too long.
    Dead,
    /// Whatever ran the connection has dropped it, as a runtime does that shuts
    /// down.
    Abandoned,
}

/// The peer has broken a rule.
pub(super) fn violation<T>(code: u32, text: impl Into<String>) -> Result<T, ConnectionError> {
    Err(ConnectionError::violation(code, text))
}

impl ConnectionError {
    pub(super) fn violation(code: u32, text: impl Into<String>) -> Self {
        let text = text.into();
        ConnectionError::Violation { code, text }
    }
}

impl From<WireError> for ConnectionError {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Version {
                received: 0 | 1, ..
            } => ConnectionError::Version(error.to_string()),
            _ => ConnectionError::violation(code::PROTOCOL, error.to_string()),
        }
    }
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectionError::Closed => f.write_str("the connection was closed"),
            ConnectionError::PeerClosed { code, text } => {
                let text = Harmless(text);
                write!(f, "the peer closed the connection (code {code}): {text}")
            }
            ConnectionError::Violation { code, text } => {
                write!(f, "the peer broke the protocol (code {code}): {text}")
            }
            ConnectionError::Version(text) => f.write_str(text),
            ConnectionError::Lost(how) => write!(f, "the connection was lost: {how}"),
            ConnectionError::NoHello(how) => write!(
                f,
                "the connection was lost before the peer's hello ({how}): does it \
                 speak this protocol, in a version that Config::protocol allows, \
                 with the same magic?"
            ),
            ConnectionError::HandshakeTimeout => f.write_str(
                "the peer's hello did not come in time: \
                     does it speak this protocol, with the same magic?",
            ),
            ConnectionError::Dead => f.write_str("nothing was received for too long"),
            ConnectionError::Abandoned => f.write_str(
                "the connection's task was dropped: its runtime has shut down, or it panicked",
            ),
        }
    }
}

impl std::error::Error for ConnectionError {}

/// The peer's words, which must not forge a line of a log or drive a terminal.
struct Harmless<'a>(&'a str);

impl fmt::Display for Harmless<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for char in self.0.chars() {
            match char.is_control() {
                true => write!(f, "{}", char.escape_default())?,
                false => f.write_char(char)?,
            }
        }
        Ok(())
    }
}

/// Why a channel can't be read or written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChannelError {
    /// The peer gave up writing, with this code: what it wrote may be cut off.
    Reset(u32),
    /// The peer gave up reading, with this code.
    Stopped(u32),
    /// The peer never gave the channel to its application: what it was for
    /// may be tried again. If the whole connection ended, the reason. Not where bytes,
    /// credit or an end of the peer's show the opposite.
    Refused(Option<ConnectionError>),
    /// This side has ended this half.
    Ended,
    /// There is no such channel.
    Unknown,
    /// The connection ended.
    Connection(ConnectionError),
}

impl fmt::Display for ChannelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChannelError::Reset(code) => write!(f, "the peer reset the channel (code {code})"),
            ChannelError::Stopped(code) => write!(f, "the peer reads no more (code {code})"),
            ChannelError::Refused(None) => f.write_str("the peer refused the channel"),
            ChannelError::Refused(Some(error)) => {
                write!(f, "the peer never took the channel: {error}")
            }
            ChannelError::Ended => f.write_str("this side has ended this half of the channel"),
            ChannelError::Unknown => f.write_str("there is no such channel"),
            ChannelError::Connection(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ChannelError {}

impl ChannelError {
    /// Whether the peer's application provably never saw the channel, so that
    /// what it was for can be tried again without being done twice.
    pub fn is_retryable(&self) -> bool {
        matches!(self, ChannelError::Refused(_))
    }
}

/// Why no channel can be opened now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// The peer takes no more for now; [`Event::Openable`](super::Event) tells when it does.
    Blocked,
    /// The connection takes no more channels at all: it drains, or its ids
    /// have run out.
    Draining,
    /// The connection ended.
    Connection(ConnectionError),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Blocked => f.write_str("the peer takes no more channels for now"),
            OpenError::Draining => f.write_str("the connection takes no more channels"),
            OpenError::Connection(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for OpenError {}

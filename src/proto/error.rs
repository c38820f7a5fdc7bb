use std::error::Error;
use std::fmt::{self, Write};
use std::io;
use std::sync::Arc;

use crate::wire::WireError;

/// The code of a GOAWAY: why a side ended the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ErrorCode(pub u32);

impl ErrorCode {
    /// An orderly end.
    pub const NO_ERROR: ErrorCode = ErrorCode(0);
    /// A frame that is malformed or not allowed now.
    pub const PROTOCOL: ErrorCode = ErrorCode(1);
    /// More bytes than the credit allows.
    pub const FLOW_CONTROL: ErrorCode = ErrorCode(2);
    /// More than a limit of the receiver allows.
    pub const LIMIT: ErrorCode = ErrorCode(3);
    /// The hello or the settings are wrong.
    pub const HANDSHAKE: ErrorCode = ErrorCode(4);
}

/// The number.
impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A RESET or a STOP that says nothing. The codes of channels are the application's.
pub(super) const NO_CODE: u32 = 0;

/// The code of a RESET and a STOP that says: the channel was never given to
/// the application, so what it was for may be tried again.
pub const REFUSED: u32 = u32::MAX;

/// The code of a RESET and a STOP that says: the peer took or sent the channel's bytes more
/// slowly than [`Config::min_rate`](super::Config::min_rate).
pub const TOO_SLOW: u32 = u32::MAX - 1;

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionError {
    /// This side closed it.
    Closed,
    /// The peer closed it and said why.
    PeerClosed {
        /// [`ErrorCode::NO_ERROR`] for an orderly end.
        code: ErrorCode,
        /// The peer's own words.
        text: String,
    },
    /// The peer broke a rule of the protocol.
    Violation {
        /// The code that the peer was told.
        code: ErrorCode,
        /// The text that the peer was told.
        text: String,
    },
    /// The peer speaks another version of the protocol; the text names both
    /// and the setting to change.
    Version(String),
    /// The transport ended or failed without a GOAWAY.
    Lost(TransportError),
    /// The same before the peer's hello. That is what the Python server does to
    /// a client of another magic.
    NoHello(TransportError),
    /// The peer's hello did not come in time.
    HandshakeTimeout,
    /// Nothing was received for too long.
    Dead,
    /// The memory budget of this side had no room for what the peer sends, or for another
    /// connection. The setting is `tcpchan::Config::memory_budget`.
    OutOfMemory,
    /// Whatever ran the connection has dropped it, as a runtime does that shuts
    /// down.
    Abandoned,
}

/// The peer has broken a rule.
pub(super) fn violation<T>(code: ErrorCode, text: impl Into<String>) -> Result<T, ConnectionError> {
    Err(ConnectionError::violation(code, text))
}

impl ConnectionError {
    pub(super) fn violation(code: ErrorCode, text: impl Into<String>) -> Self {
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
            _ => ConnectionError::violation(ErrorCode::PROTOCOL, error.to_string()),
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
            ConnectionError::OutOfMemory => f.write_str(
                "the memory budget of this side has no room for the connection: raise \
                 Config::memory_budget, or have applications read what they are sent",
            ),
            ConnectionError::Abandoned => f.write_str(
                "the connection's task was dropped: its runtime has shut down, or it panicked",
            ),
        }
    }
}

/// The source of a lost connection is that of the transport's error, such as rustls's
/// error within an `io::Error`.
impl Error for ConnectionError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            ConnectionError::Lost(how) | ConnectionError::NoHello(how) => how.source(),
            _ => None,
        }
    }
}

/// How the transport ended or failed. Equal to another of the same kind and words.
#[derive(Clone, Debug)]
pub struct TransportError(Arc<io::Error>);

impl TransportError {
    /// The transport's own error, or one of the kind `ConnectionAborted` if the transport
    /// ended without an error.
    pub fn get_ref(&self) -> &io::Error {
        &self.0
    }
}

impl From<io::Error> for TransportError {
    fn from(error: io::Error) -> Self {
        TransportError(Arc::new(error))
    }
}

impl PartialEq for TransportError {
    fn eq(&self, other: &Self) -> bool {
        self.0.kind() == other.0.kind() && self.0.to_string() == other.0.to_string()
    }
}

impl Eq for TransportError {}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for TransportError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let inner = self.0.get_ref()?;
        Some(inner)
    }
}

/// The peer's words, which must not forge a line of a log or drive a terminal.
struct Harmless<'a>(&'a str);

impl fmt::Display for Harmless<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for char in self.0.chars() {
            match char {
                '"' | '\'' => f.write_char(char)?,
                char => char.escape_debug().fmt(f)?,
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
    /// This side gave the channel up: the peer was slower than
    /// [`Config::min_rate`](super::Config::min_rate).
    TooSlow,
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
            ChannelError::TooSlow => {
                f.write_str("the peer took or sent bytes more slowly than Config::min_rate")
            }
            ChannelError::Unknown => f.write_str("there is no such channel"),
            ChannelError::Connection(error) => error.fmt(f),
        }
    }
}

/// The source is that of the connection's error, whose words are these already.
impl Error for ChannelError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            ChannelError::Connection(error) | ChannelError::Refused(Some(error)) => error.source(),
            _ => None,
        }
    }
}

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

/// The source is that of the connection's error, whose words are these already.
impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            OpenError::Connection(error) => error.source(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peers_words_forge_no_line_and_drive_no_terminal() {
        let text = "it's \"ça\"\nWARN \x1b[2J\u{2028}\u{202e}\\n".to_owned();
        let code = ErrorCode::PROTOCOL;
        let shown = ConnectionError::PeerClosed { code, text }.to_string();
        let words = r#"it's "ça"\nWARN \u{1b}[2J\u{2028}\u{202e}\\n"#;
        assert_eq!(
            shown,
            format!("the peer closed the connection (code 1): {words}")
        );
    }
}

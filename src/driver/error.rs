//! The core's errors as those of I/O.

use std::io::{self, ErrorKind};

use crate::proto::{ChannelError, ConnectionError, OpenError};

/// The core's error is what [`get_ref`](io::Error::get_ref) gives.
impl From<ChannelError> for io::Error {
    fn from(error: ChannelError) -> Self {
        let kind = match &error {
            ChannelError::Reset(_) => ErrorKind::ConnectionReset,
            ChannelError::Refused(_) => ErrorKind::ConnectionRefused,
            ChannelError::Stopped(_) | ChannelError::Ended => ErrorKind::BrokenPipe,
            ChannelError::TooSlow => ErrorKind::TimedOut,
            ChannelError::Connection(error) => kind(error),
            ChannelError::Unknown => ErrorKind::NotConnected,
        };
        io::Error::new(kind, error)
    }
}

/// The core's error is what [`get_ref`](io::Error::get_ref) gives.
impl From<OpenError> for io::Error {
    fn from(error: OpenError) -> Self {
        let kind = match &error {
            OpenError::Blocked => ErrorKind::WouldBlock,
            OpenError::Draining => ErrorKind::NotConnected,
            OpenError::Connection(error) => kind(error),
        };
        io::Error::new(kind, error)
    }
}

/// The core's error is what [`get_ref`](io::Error::get_ref) gives. The kind of a lost
/// connection is the transport's, unless that would call for another try.
impl From<ConnectionError> for io::Error {
    fn from(error: ConnectionError) -> Self {
        io::Error::new(kind(&error), error)
    }
}

fn kind(error: &ConnectionError) -> ErrorKind {
    match error {
        ConnectionError::Closed => ErrorKind::NotConnected,
        ConnectionError::Violation { .. } | ConnectionError::Version(_) => ErrorKind::InvalidData,
        ConnectionError::HandshakeTimeout | ConnectionError::Dead => ErrorKind::TimedOut,
        ConnectionError::OutOfMemory => ErrorKind::OutOfMemory,
        ConnectionError::Lost(how) | ConnectionError::NoHello(how) => match how.get_ref().kind() {
            // Callers take the first for a clean end, the second for a channel whose peer
            // reads no more, and the others for a call to repeat.
            ErrorKind::UnexpectedEof
            | ErrorKind::BrokenPipe
            | ErrorKind::Interrupted
            | ErrorKind::WouldBlock => ErrorKind::ConnectionAborted,
            kind => kind,
        },
        ConnectionError::PeerClosed { .. } | ConnectionError::Abandoned => {
            ErrorKind::ConnectionAborted
        }
    }
}

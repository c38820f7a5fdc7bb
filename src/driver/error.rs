//! The fixed mapping from the core's errors to `io::ErrorKind`. The core's
//! error is what `io::Error::get_ref` gives.

use std::io::{self, ErrorKind};

use crate::proto::{ChannelError, ConnectionError, OpenError};

pub(super) fn channel_error(error: ChannelError) -> io::Error {
    let kind = match &error {
        ChannelError::Reset(_) => ErrorKind::ConnectionReset,
        ChannelError::Refused(_) => ErrorKind::ConnectionRefused,
        ChannelError::Stopped(_) | ChannelError::Ended => ErrorKind::BrokenPipe,
        ChannelError::Connection(error) => kind(error),
        _ => ErrorKind::NotConnected,
    };
    io::Error::new(kind, error)
}

pub(super) fn open_error(error: OpenError) -> io::Error {
    let kind = match &error {
        OpenError::Connection(error) => kind(error),
        _ => ErrorKind::NotConnected,
    };
    io::Error::new(kind, error)
}

fn kind(error: &ConnectionError) -> ErrorKind {
    match error {
        ConnectionError::Closed => ErrorKind::NotConnected,
        ConnectionError::Violation { .. } | ConnectionError::Version(_) => ErrorKind::InvalidData,
        ConnectionError::HandshakeTimeout | ConnectionError::Dead => ErrorKind::TimedOut,
        _ => ErrorKind::ConnectionAborted,
    }
}

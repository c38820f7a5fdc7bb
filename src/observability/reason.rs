//! Why a connection ended, and the words of labels and fields.

use crate::proto::{ConnectionError, ErrorCode, Role};

/// Why a connection has ended.
#[derive(Clone, Copy)]
pub(super) struct Reason {
    pub word: &'static str,
    /// One side closed it without a complaint, or its runtime ended.
    pub is_in_order: bool,
    /// The peer had not even said its hello.
    pub is_stranger: bool,
}

/// A word for why a connection ended.
pub(super) fn reason(error: Option<&ConnectionError>) -> &'static str {
    match error {
        None | Some(ConnectionError::Closed) => "closed",
        Some(ConnectionError::PeerClosed { code, .. }) if *code == ErrorCode::NO_ERROR => {
            "peer_closed"
        }
        Some(ConnectionError::PeerClosed { .. }) => "peer_error",
        Some(ConnectionError::Violation { .. }) => "violation",
        Some(ConnectionError::Version(_)) => "version",
        Some(ConnectionError::Lost(_)) => "lost",
        Some(ConnectionError::NoHello(_)) => "no_hello",
        Some(ConnectionError::HandshakeTimeout) => "handshake_timeout",
        Some(ConnectionError::Dead) => "dead",
        Some(ConnectionError::OutOfMemory) => "out_of_memory",
        Some(ConnectionError::Abandoned) => "abandoned",
    }
}

pub(super) fn role_name(role: Role) -> &'static str {
    match role {
        Role::Client => "client",
        Role::Server => "server",
    }
}

use super::handshake::Role;
use super::key::Key;
use crate::wire::{Decoder, Protocol};

/// How far the peer's bytes were understood.
#[derive(Debug)]
pub(super) struct Input {
    pub decoder: Decoder,
    /// The channel whose DATA frame is being received.
    pub receiving: Option<Key>,
    /// See [`Connection::work_received`](super::Connection::work_received).
    pub work: u64,
}

impl Input {
    pub fn new(role: Role, protocol: Protocol) -> Self {
        Input {
            decoder: match (role, protocol) {
                (Role::Server, Protocol::V0) => Decoder::version0_server(),
                _ => Decoder::new(protocol),
            },
            receiving: None,
            work: 0,
        }
    }

    /// Bytes of a DATA frame of the channel that are still to come.
    pub fn coming(&self, key: Key) -> usize {
        match self.receiving == Some(key) {
            true => self.decoder.data_left(),
            false => 0,
        }
    }
}

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
    pub first: First,
}

/// The first bytes of the peer, from which a client tells what else it speaks.
#[derive(Debug, Default)]
pub(super) struct First {
    bytes: [u8; 4],
    len: usize,
}

impl First {
    pub fn add(&mut self, input: &[u8]) {
        let left = &mut self.bytes[self.len..];
        let count = left.len().min(input.len());
        left[..count].copy_from_slice(&input[..count]);
        self.len += count;
    }

    #[cfg(feature = "client")]
    pub fn get(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
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
            first: First::default(),
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

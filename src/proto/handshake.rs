//! The hello and the settings of both sides (W2, W3, W8).

use super::config::Config;
use super::error::{ConnectionError, ErrorCode, violation};
use crate::wire::{Control, MAX_DATA, Protocol, Settings, Version};

/// Bytes that a client sends before it knows the peer's version (W8.4): 64 KiB, less the
/// DATA frame and its header by which the last write may go over.
const FIRST_FLIGHT: usize = 64 * 1024 - (MAX_DATA + 8);

/// Which side of the connection this is. The client sends the first hello and
/// opens odd channels, the server even ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The side that dialled.
    Client,
    /// The side that accepted.
    Server,
}

#[derive(Debug)]
pub(super) struct Handshake {
    pub role: Role,
    /// None until the peer's first frame, under [`Protocol::Auto`].
    version: Option<Version>,
    /// This side's hello has left.
    sent: bool,
    received: Received,
    /// What the peer's settings are assumed to be until they come.
    pub peer: Settings,
    /// Bytes that may still leave before the peer's version is known.
    pub first_flight: usize,
}

/// How much of the peer's handshake has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Received {
    Nothing,
    Hello,
    Settings,
}

impl Handshake {
    pub fn new(role: Role, protocol: Protocol) -> Self {
        Handshake {
            role,
            version: protocol.fixed(),
            sent: false,
            received: Received::Nothing,
            peer: Settings::default(),
            first_flight: FIRST_FLIGHT,
        }
    }

    pub fn version(&self) -> Option<Version> {
        self.version
    }

    pub fn is_v0(&self) -> bool {
        self.version == Some(Version::V0)
    }

    /// The version in which this side speaks.
    pub fn own_version(&self) -> Version {
        self.version.unwrap_or(Version::V1)
    }

    /// The peer speaks this version, if the first frame has told.
    pub fn learn(&mut self, version: Option<Version>) {
        if self.received == Received::Nothing {
            self.version = version.or(self.version);
        }
    }

    /// Whether the peer has said its hello.
    pub fn is_hello_received(&self) -> bool {
        self.received >= Received::Hello
    }

    pub fn is_complete(&self) -> bool {
        self.received == Received::Settings
    }

    /// The peer's settings have come; version 0 has none, so the least hold.
    pub fn complete(&mut self, settings: Settings) {
        self.received = Received::Settings;
        self.peer = settings;
    }

    /// So many bytes leave before the peer's version is known.
    pub fn spend_first_flight(&mut self, bytes: usize) {
        self.first_flight = self.first_flight.saturating_sub(bytes);
    }

    pub fn is_sent(&self) -> bool {
        self.sent
    }

    /// This side's hello leaves; whether it is the first time.
    pub fn send(&mut self) -> bool {
        !std::mem::replace(&mut self.sent, true)
    }

    /// Whether this side may speak: a server doesn't before the client's hello.
    pub fn may_speak(&self) -> bool {
        self.role == Role::Client || self.is_hello_received()
    }

    /// The hello and the settings come first, once. `None` is a frame of a channel, or
    /// one that is not known.
    pub fn check_order(&self, control: Option<&Control>) -> Result<(), ConnectionError> {
        let fits = match control {
            Some(Control::Hello { .. }) => self.takes_hello() && self.role == Role::Server,
            Some(Control::HelloReply { .. }) => self.takes_hello() && self.role == Role::Client,
            Some(Control::Settings { .. }) => self.received == Received::Hello,
            _ => self.is_complete(),
        };
        if fits {
            return Ok(());
        }
        violation(
            ErrorCode::PROTOCOL,
            "the hello and the settings come first, once (W2, W3)",
        )
    }

    /// W2: before the peer's settings all violations have one code.
    pub fn violation_code(&self, code: ErrorCode) -> ErrorCode {
        match self.is_complete() {
            true => code,
            false => ErrorCode::HANDSHAKE,
        }
    }

    fn takes_hello(&self) -> bool {
        self.received == Received::Nothing
    }

    pub fn on_hello(&mut self, magic: u32, config: &Config) -> Result<(), ConnectionError> {
        let mine = config.magic;
        if magic != mine {
            return violation(
                ErrorCode::PROTOCOL,
                format!("the peer's magic is {magic:#010x} and this side's is {mine:#010x}"),
            );
        }
        self.received = Received::Hello;
        Ok(())
    }

    /// This side's hello, to a peer of any version.
    pub fn hello(&self, magic: u32) -> Control {
        match self.role {
            Role::Client => Control::Hello { magic },
            Role::Server => Control::HelloReply { magic },
        }
    }
}

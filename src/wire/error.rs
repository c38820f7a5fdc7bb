use std::fmt;

use super::Protocol;

/// What a peer sent that no frame of the protocol looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WireError {
    /// The version byte is not one that this side speaks (W1).
    Version {
        /// The byte that was received.
        received: u8,
        /// What this side speaks.
        spoken: Protocol,
    },
    /// The op is not known and may not be skipped (W4); the op.
    UnknownOp(u8),
    /// The op belongs to the other version (W8); the op.
    OtherVersion(u8),
    /// The body's length does not fit the op (W5, W7); the op and the length.
    Length(u8, u16),
    /// The channel does not fit the op (W6); the op and the channel.
    Channel(u8, u32),
    /// A text is not UTF-8 (W5).
    Text,
    /// The settings are malformed or out of range (W3); what is wrong.
    Settings(&'static str),
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            WireError::Version { received, spoken } => version(f, received, spoken),
            WireError::UnknownOp(op) => write!(f, "unknown op {op:#04x}"),
            WireError::OtherVersion(op) => {
                write!(f, "op {op:#04x} is not one of this version of the protocol")
            }
            WireError::Length(op, len) => {
                write!(f, "op {op:#04x} can't have a body of {len} bytes")
            }
            WireError::Channel(op, id) => write!(f, "op {op:#04x} can't have channel {id}"),
            WireError::Text => f.write_str("a text is not UTF-8"),
            WireError::Settings(what) => write!(f, "settings: {what}"),
        }
    }
}

fn version(f: &mut fmt::Formatter<'_>, received: u8, spoken: Protocol) -> fmt::Result {
    let mine = match spoken {
        Protocol::V0 => "version 0",
        Protocol::V1 => "version 1",
        Protocol::Auto => "versions 0 and 1",
    };
    let like = match received {
        b'A'..=b'Z' => ", as of plain HTTP (over TLS, the ALPN must ask for tcpchan/1)",
        0x15 | 0x16 => ", as of TLS (which this side must speak, too)",
        _ => "",
    };
    match received {
        0 | 1 => write!(
            f,
            "the peer speaks version {received} of the protocol and this side {mine}: \
             set Config::protocol to Protocol::Auto or Protocol::V{received}"
        ),
        _ => write!(
            f,
            "the peer does not speak this protocol: its first byte is \
             {received:#04x}{like}, and this side speaks {mine}"
        ),
    }
}

impl std::error::Error for WireError {}

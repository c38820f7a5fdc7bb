use std::fmt;

/// What a peer sent that no frame of the protocol looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WireError {
    /// The version byte is not 1 (W1); the value that was received.
    Version(u8),
    /// The op is not known and may not be skipped (W4); the op.
    UnknownOp(u8),
    /// The op belongs to version 0 only (W8); the op.
    Version0Op(u8),
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
            WireError::Version(v) => write!(
                f,
                "the peer speaks version {v} of the protocol and this side speaks version 1"
            ),
            WireError::UnknownOp(op) => write!(f, "unknown op {op:#04x}"),
            WireError::Version0Op(op) => write!(f, "op {op:#04x} belongs to version 0"),
            WireError::Length(op, len) => {
                write!(f, "op {op:#04x} can't have a body of {len} bytes")
            }
            WireError::Channel(op, id) => write!(f, "op {op:#04x} can't have channel {id}"),
            WireError::Text => f.write_str("a text is not UTF-8"),
            WireError::Settings(what) => write!(f, "settings: {what}"),
        }
    }
}

impl std::error::Error for WireError {}

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::WireError;

/// The most bytes that the settings may take (W3).
pub const MAX_SETTINGS: usize = 1024;

/// What one side tells the other once, in its hello.
///
/// The default is what each side assumes of the other until its settings
/// arrive. No setting may be below its default, so whatever was sent on that
/// assumption stays allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Settings {
    /// Bytes that may be on their way on each channel, always: 64 KiB to 2^31 - 1.
    pub initial_window: u32,
    /// Channels that the peer may open before it gets a MAX_CHANNELS:
    /// 256 to 2^31 - 1.
    pub max_channels: u32,
    /// Bytes that all channels together may have beyond their windows.
    pub receive_budget: u64,
    /// A number of the client's choice by which both sides name the connection in what
    /// they tell their operators; 0 for none.
    pub connection_id: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            initial_window: 64 * 1024,
            max_channels: 256,
            receive_budget: 0,
            connection_id: 0,
        }
    }
}

const INITIAL_WINDOW: u16 = 1;
const MAX_CHANNELS: u16 = 2;
const RECEIVE_BUDGET: u16 = 3;
const CONNECTION_ID: u16 = 4;

impl Settings {
    /// The settings as the body of their frame.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(40);
        for (kind, value) in [
            (INITIAL_WINDOW, self.initial_window),
            (MAX_CHANNELS, self.max_channels),
        ] {
            out.put_u16(kind);
            out.put_u16(4);
            out.put_u32(value);
        }
        let id = (self.connection_id != 0).then_some((CONNECTION_ID, self.connection_id));
        for (kind, value) in [(RECEIVE_BUDGET, self.receive_budget)]
            .into_iter()
            .chain(id)
        {
            out.put_u16(kind);
            out.put_u16(8);
            out.put_u64(value);
        }
        out.freeze()
    }

    /// Reads the body of a settings frame (W3).
    ///
    /// # Errors
    ///
    /// [`WireError::Settings`] if it is malformed, repeats a type, or a value
    /// is out of its range.
    pub fn decode(mut body: &[u8]) -> Result<Settings, WireError> {
        let mut settings = Settings::default();
        let mut seen = 0u8;
        while !body.is_empty() {
            if body.len() < 4 {
                return Err(WireError::Settings("a type without its length"));
            }
            let (kind, len) = (body.get_u16(), body.get_u16() as usize);
            if body.len() < len {
                return Err(WireError::Settings("a value is cut off"));
            }
            let (value, rest) = body.split_at(len);
            body = rest;
            if !(INITIAL_WINDOW..=CONNECTION_ID).contains(&kind) {
                continue;
            }
            if seen & (1 << kind) != 0 {
                return Err(WireError::Settings("a type stands twice"));
            }
            seen |= 1 << kind;
            match kind {
                INITIAL_WINDOW => settings.initial_window = in_range(value, 64 * 1024)?,
                MAX_CHANNELS => settings.max_channels = in_range(value, 256)?,
                RECEIVE_BUDGET => settings.receive_budget = u64::from_be_bytes(sized(value)?),
                _ => settings.connection_id = u64::from_be_bytes(sized(value)?),
            }
        }
        Ok(settings)
    }
}

fn sized<const N: usize>(value: &[u8]) -> Result<[u8; N], WireError> {
    let wrong = |_| WireError::Settings("a value is of another length than its type's");
    value.try_into().map_err(wrong)
}

fn in_range(value: &[u8], least: u32) -> Result<u32, WireError> {
    let value = u32::from_be_bytes(sized(value)?);
    match (least..=i32::MAX as u32).contains(&value) {
        true => Ok(value),
        false => Err(WireError::Settings("a value is out of its range")),
    }
}

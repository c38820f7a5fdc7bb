//! Frames to bytes and back.
//!
//! This layer knows the shape of frames and nothing of their meaning: it keeps
//! no state but a decoder's, and needs only `std` and `bytes`.
#![doc = include_str!("SPEC.md")]

mod decode;
mod error;
mod frame;
mod settings;
mod version;

pub use self::decode::{Decoded, Decoder};
pub use self::error::WireError;
pub(crate) use self::frame::data_header;
pub use self::frame::{Control, Frame, MAX_DATA, MAX_TEXT};
pub use self::settings::{MAX_SETTINGS, Settings};
pub use self::version::{Protocol, Version};

/// The magic of a HELLO unless the user sets another: that of the Python
/// package `tcpchan`.
pub const DEFAULT_MAGIC: u32 = 0xFEED_BACC;

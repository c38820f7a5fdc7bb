//! Many *channels* over one TCP connection.
//!
//! A channel is a full-duplex byte stream with the behaviour of a TCP
//! connection; opening one costs no round trip, because the open and the first
//! bytes leave together on a connection that is already up.
//!
//! This version holds the two lowest layers: [`wire`], the frames of the
//! protocol, and [`proto`], the protocol itself without I/O.
#![warn(missing_docs)]

mod config;
mod driver;
pub mod proto;
pub mod wire;

pub use self::config::{Config, ConfigError};
pub use self::driver::{Channel, Connection};

//! The tokio driver: one task a connection moves bytes between the transport
//! and the protocol core.

mod channel;
mod connection;
mod hyper_io;
mod shared;
mod task;

pub use self::channel::Channel;
pub use self::connection::Connection;

//! The tokio driver: one task a connection moves bytes between the transport
//! and the protocol core.

mod channel;
mod connection;
mod error;
mod farewell;
mod gather;
#[cfg(feature = "hyper")]
mod hyper_io;
#[cfg(all(test, tcpchan_loom))]
mod models;
mod pacer;
mod shared;
mod split;
mod sync;
mod task;
mod throughput;
#[cfg(feature = "client")]
mod told;
mod transport;
mod turn;
mod unseen;

pub use self::channel::Channel;
pub use self::connection::Connection;
pub use self::split::{ReadHalf, WriteHalf};
pub use self::throughput::{Throughput, ThroughputLimited};
#[cfg(feature = "client")]
pub(crate) use self::{connection::Look, told::Tell};

//! The tokio driver: one task a connection moves bytes between the transport
//! and the protocol core.

mod channel;
mod clock;
mod close;
#[cfg(feature = "client")]
mod connected;
mod connection;
#[cfg(feature = "hyper")]
mod deferred_error;
mod error;
mod handle;
#[cfg(feature = "hyper")]
mod hyper_io;
#[cfg(all(test, tcpchan_loom))]
mod loom;
mod memory;
mod parts;
mod send;
mod shared;
#[cfg(feature = "net")]
mod snapshot;
mod split;
mod sync;
mod task;
mod throughput;
mod transport;
mod unused;
mod wake;
mod work_budget;

pub use self::channel::Channel;
pub use self::connection::Connection;
#[cfg(feature = "net")]
pub use self::snapshot::ConnectionStats;
pub use self::split::{ReadHalf, WriteHalf};
pub use self::throughput::{Throughput, ThroughputLimited};
#[cfg(feature = "server")]
pub(crate) use self::work_budget::yields;
#[cfg(feature = "client")]
pub(crate) use self::{connected::Describe, connection::Look};

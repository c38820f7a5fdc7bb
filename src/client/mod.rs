//! The client side: a connector that hands out channels as connections.
//!
//! [`Multiplex`] wraps any connector, such as hyper-util's `HttpConnector`, and
//! is one itself, so it goes where the connector went.

mod config;
mod connection;
mod dial;
mod error;
mod layer;
mod multiplex;
mod pool;
#[cfg(feature = "requests")]
mod requests;
mod retry;
#[cfg(feature = "retry")]
mod retry_policy;
mod slot;
mod state;
mod stats;
mod target;
#[cfg(feature = "tls")]
mod tls;

pub use self::config::PoolConfig;
pub use self::error::ConnectError;
pub use self::layer::MultiplexLayer;
pub use self::multiplex::{Connecting, Multiplex};
#[cfg(feature = "requests")]
pub use self::requests::{RequestError, Requests, Responding};
pub use self::retry::{is_lost, is_retryable};
#[cfg(feature = "retry")]
pub use self::retry_policy::RetryPolicy;
pub use self::stats::TargetStats;
#[cfg(feature = "tls")]
pub use self::tls::{TlsConnector, TlsIo};

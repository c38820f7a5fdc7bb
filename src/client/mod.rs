//! The client side: a connector that hands out channels as connections.
//!
//! [`Multiplex`] wraps any connector, such as hyper-util's `HttpConnector`, and
//! is one itself, so it goes where the connector went.
//!
//! Its connections heal. For each target it keeps as few as carry the load
//! ([`PoolConfig`]), gives each new channel to the one with the least work and
//! the shortest round trip, avoids those whose channels fail, and dials a replacement
//! when one is late, drains, has reached its age or has ended
//! ([how](crate::guide::pool)). A caller gets a dial's own error where nothing else could
//! serve it.
//!
//! What is on a connection that dies fails. [`is_retryable`] tells which of it
//! was provably not done, [`is_lost`] which was cut off; with the feature
//! `retry`, `RetryPolicy` does the rest. One channel for each request
//! (`pool_max_idle_per_host(0)` on a hyper client) costs no round trip, and
//! avoids HTTP/1's race between the last moment of an idle connection and the
//! next request on it, for which no error can say whether it was done.

mod config;
mod connection;
mod error;
#[cfg(feature = "requests")]
mod health;
mod layer;
#[cfg(unix)]
mod local_socket;
mod multiplex;
mod pool;
#[cfg(feature = "requests")]
mod requests;
mod retry;
#[cfg(feature = "retry")]
mod retry_layer;
#[cfg(feature = "retry")]
mod retry_policy;
mod stats;
#[cfg(feature = "tls")]
mod tls;
mod user_info;

pub use self::config::PoolConfig;
pub use self::error::ConnectError;
pub use self::layer::MultiplexLayer;
#[cfg(unix)]
pub use self::local_socket::LocalSocket;
pub use self::multiplex::{Connecting, Multiplex};
#[cfg(feature = "requests")]
pub use self::requests::{RequestError, Requests, Responding};
pub use self::retry::{is_lost, is_retryable};
#[cfg(feature = "retry")]
pub use self::retry_layer::{ReplayBody, RetryLayer, RetryService, UnlessBegun};
#[cfg(feature = "retry")]
pub use self::retry_policy::{Boxed, Plain, RetryPolicy, ServiceError};
pub use self::stats::TargetStats;
#[cfg(feature = "tls")]
pub use self::tls::{TlsConnector, TlsIo};

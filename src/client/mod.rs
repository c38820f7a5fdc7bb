//! The client side: a connector that hands out channels as connections.
//!
//! [`Multiplex`] wraps any connector, such as hyper-util's `HttpConnector`, and
//! is one itself, so it goes where the connector went.
//!
//! Its connections heal. For each target the pool ([how](crate::guide::pool)):
//!
//! - keeps as few connections as carry the load ([`PoolConfig`]);
//! - gives each new channel to the connection with the least work and the shortest round
//!   trip, and avoids those whose channels fail;
//! - dials a replacement for a connection that is suspect, drains, has ended, or has
//!   reached its age;
//! - with a [`Discovery`], balances over all addresses of a name.
//!
//! [`Fallback`] goes around a `Multiplex`, and calls servers without tcpchan by HTTP.
//!
//! A caller gets a dial's own error if no connection could serve it.
//!
//! A connection that dies fails what is on it. [`is_retryable`] tells which requests were
//! provably not done, and [`is_lost`] which were cut off. With the feature `retry`,
//! `RetryPolicy` does the rest.
//!
//! Open one channel for each request: `pool_max_idle_per_host(0)` on a hyper client. It
//! costs no round trip. It also avoids a race of HTTP/1: a server may close an idle
//! connection as the next request arrives on it, and no error can say whether that request
//! was done.

mod config;
mod connect_to;
mod connecting;
mod connection;
mod connector;
mod discovery;
mod error;
mod fallback;
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
mod settings;
mod stats;
#[cfg(feature = "tls")]
mod tls;
mod user_info;

pub use self::config::PoolConfig;
pub use self::connect_to::ConnectTo;
pub use self::connecting::Connecting;
pub use self::connection::Opening;
pub use self::connector::Connector;
pub use self::discovery::Discovery;
pub use self::error::ConnectError;
pub use self::fallback::config::{FallbackConfig, Protocols};
pub use self::fallback::io::{FallbackIo, HttpIo};
pub use self::fallback::negotiated::Negotiated;
pub use self::fallback::{Fallback, FallbackConnecting};
pub use self::layer::MultiplexLayer;
#[cfg(unix)]
pub use self::local_socket::LocalSocket;
pub use self::multiplex::Multiplex;
#[cfg(feature = "requests")]
pub use self::requests::{RequestError, Requests, Responding};
pub use self::retry::{is_lost, is_retryable};
#[cfg(feature = "retry")]
pub use self::retry_layer::{ReplayBody, RetryLayer, RetryService, UnlessBegun};
#[cfg(feature = "retry")]
pub use self::retry_policy::{Boxed, Plain, RetryPolicy, ServiceError};
pub use self::stats::TargetStats;
#[cfg(feature = "tls")]
pub use self::tls::{TlsConnecting, TlsConnector, TlsIo};

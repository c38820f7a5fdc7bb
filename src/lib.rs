//! Many *channels* over one TCP connection.
//!
//! A channel is a full-duplex byte stream with the behaviour of a TCP
//! connection; opening one costs no round trip, because the open and the first
//! bytes leave together on a connection that is already up. Each has flow control
//! of its own, a quiet one goes ahead of those that stream, and its only clean end
//! is the one that the other side asked for.
//!
//! It is for services that call each other over long links, and both sides must
//! have it: on the wire it is not HTTP ([when not to use it](guide::when_not)).
//!
//! ```text
//!  hyper client ── Multiplex ── Channel ┐           ┌ Channel ── Acceptor ── axum, hyper
//!  hyper client ── Multiplex ── Channel ┼─ one TCP ─┼ Channel ── Acceptor ── axum, hyper
//!  your bytes ─── Connection ── Channel ┘           └ Channel ── Connection ─ your bytes
//! ```
//!
//! Three calls to know:
//!
//! - [`client::Multiplex::new`] wraps a connector, such as hyper-util's
//!   `HttpConnector`, and is one.
//! - [`server::Acceptor::new`] wraps a listener, and goes into `axum::serve` or gives
//!   its channels to hyper.
//! - [`Connection::open`] and [`Connection::accept`] carry any bytes, in both
//!   directions.
//!
//! Begin with the guide's [quick start](guide::quick_start).
//!
//! # Layers
//!
//! | layer | what it is |
//! |---|---|
//! | [`wire`] | frames to bytes and back |
//! | [`proto`] | the protocol without I/O |
//! | [`Connection`], [`Channel`] | the tokio driver |
//! | [`client`] | a connector for hyper clients |
//! | [`server`] | an acceptor for hyper and axum servers |
//!
//! With `default-features = false` there are [`wire`] and [`proto`] alone, and
//! the crate depends on `bytes` and `slab`.
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `client`, `server` (default) | the connector, the acceptor |
//! | `axum` | `axum::serve(acceptor, app)` |
//! | `tls` | TLS by rustls on both sides |
//! | `retry` | a policy for tower's retry layer |
//! | `cli` | nothing here: the command `tcpchan`, for other languages and programs as they are |
//! | `requests` | a tower service of requests, for who needs no pool of channels |
//! | `tracing`, `metrics` | what connections do, for [operators](observability) |
//! | `tokio`, `hyper`, `net` | parts of the default: the driver; hyper's I/O traits on channels; options of TCP sockets |
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(any(feature = "client", feature = "server"))]
mod backoff;
mod check;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "tokio")]
mod config;
#[cfg(feature = "tokio")]
mod driver;
pub mod guide;
#[cfg(feature = "tokio")]
pub mod observability;
pub mod proto;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "net")]
mod socket;
#[cfg(feature = "tls")]
mod tls;
pub mod wire;

pub use self::check::ConfigError;
#[cfg(feature = "tokio")]
pub use self::config::Config;
#[cfg(feature = "tokio")]
pub use self::driver::{Channel, Connection, ReadHalf, WriteHalf};
#[cfg(feature = "net")]
pub use self::socket::SocketProfile;
#[cfg(feature = "tls")]
pub use self::tls::ALPN;
pub use self::wire::Protocol;

#[cfg(all(doctest, feature = "axum"))]
#[doc = include_str!("../README.md")]
struct Readme;

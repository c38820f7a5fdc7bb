//! Many *channels* over one TCP connection.
//!
//! A channel is a byte stream in both directions that behaves like a TCP connection. To
//! open one costs no round trip: the open and the first bytes leave together on a
//! connection that is already up.
//!
//! - Each channel has flow control of its own.
//! - Small messages leave before large transfers.
//! - A channel has one clean end: the end that the other side asked for. A reset, a lost
//!   connection and a cut-off body are errors.
//!
//! It is for services that call each other over long links. Both sides must use it, since
//! on the wire it is not HTTP: see [when not to use it](guide::when_not).
//!
//! ```text
//!  hyper client ── Multiplex ── Channel ┐           ┌ Channel ── Acceptor ── axum, hyper
//!  hyper client ── Multiplex ── Channel ┼─ one TCP ─┼ Channel ── Acceptor ── axum, hyper
//!  your bytes ─── Connection ── Channel ┘           └ Channel ── Connection ─ your bytes
//! ```
//!
//! Begin with the [quick start](guide::quick_start). Three calls matter most:
//!
//! - [`client::Multiplex::new`] wraps a connector, such as hyper-util's `HttpConnector`. The
//!   result is a connector.
//! - [`server::Acceptor::new`] wraps a listener. The result goes into `axum::serve`, or gives
//!   its channels to hyper.
//! - [`Connection::open`] and [`Connection::accept`] carry any bytes, in both directions.
//!
//! # Layers
//!
//! | layer | what it is |
//! |---|---|
//! | [`wire`] | encodes and decodes frames |
//! | [`proto`] | the protocol without I/O |
//! | [`Connection`], [`Channel`] | the tokio driver |
//! | [`client`] | a connector for hyper clients |
//! | [`server`] | an acceptor for hyper and axum servers |
//!
//! With `default-features = false` there are only [`wire`] and [`proto`], and the crate
//! depends on `bytes` and `slab`.
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `client`, `server` (default) | the connector, the acceptor |
//! | `axum` | `axum::serve(acceptor, app)` |
//! | `tonic` | `serve_with_incoming(acceptor)` of tonic's own server |
//! | `tls` | TLS by rustls on both sides |
//! | `proxy-protocol` | the client's address behind a load balancer |
//! | `retry` | a policy for tower's retry layer |
//! | `requests` | a tower service of requests, for clients that need no pool of channels |
//! | `tracing`, `metrics` | spans, events and metrics for [operators][observability] |
//! | `full` | all of these |
//! | `cli` | [the command](guide::command) `tcpchan`; nothing in the library |
//! | `tokio`, `hyper`, `net` | parts of the default: the driver; hyper's I/O traits on channels; options of TCP sockets |
#![doc = ""]
#![cfg_attr(
    not(feature = "client"),
    doc = "[`client`]: https://docs.rs/tcpchan/latest/tcpchan/client/"
)]
#![cfg_attr(
    not(feature = "client"),
    doc = "[`client::Multiplex::new`]: https://docs.rs/tcpchan/latest/tcpchan/client/struct.Multiplex.html"
)]
#![cfg_attr(
    not(feature = "server"),
    doc = "[`server`]: https://docs.rs/tcpchan/latest/tcpchan/server/"
)]
#![cfg_attr(
    not(feature = "server"),
    doc = "[`server::Acceptor::new`]: https://docs.rs/tcpchan/latest/tcpchan/server/struct.Acceptor.html"
)]
#![cfg_attr(
    not(feature = "tokio"),
    doc = "[`Connection`]: https://docs.rs/tcpchan/latest/tcpchan/struct.Connection.html\n\
           [`Connection::open`]: https://docs.rs/tcpchan/latest/tcpchan/struct.Connection.html#method.open\n\
           [`Connection::accept`]: https://docs.rs/tcpchan/latest/tcpchan/struct.Connection.html#method.accept\n\
           [`Channel`]: https://docs.rs/tcpchan/latest/tcpchan/struct.Channel.html\n\
           [observability]: https://docs.rs/tcpchan/latest/tcpchan/observability/"
)]
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
mod memory_budget;
#[cfg(feature = "tokio")]
pub mod observability;
pub mod proto;
#[cfg(feature = "server")]
mod rewind;
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
#[cfg(feature = "net")]
pub use self::driver::ConnectionStats;
#[cfg(feature = "tokio")]
pub use self::driver::{Channel, Connection, ReadHalf, Throughput, ThroughputLimited, WriteHalf};
#[cfg(feature = "tokio")]
pub use self::memory_budget::MemoryBudget;
#[cfg(feature = "net")]
pub use self::socket::SocketProfile;
#[cfg(all(feature = "tls", any(feature = "client", feature = "server")))]
pub use self::tls::TlsHandle;
#[cfg(feature = "tls")]
pub use self::tls::{ALPN, Identity};
pub use self::wire::Protocol;

#[cfg(all(doctest, feature = "axum"))]
#[doc = include_str!("../README.md")]
struct Readme;

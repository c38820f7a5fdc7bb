//! The server side: a listener of channels.

mod acceptor;
#[cfg(feature = "axum")]
mod axum;
mod dialling;
mod drain;
mod handshake;
mod http_io;
mod listen;
mod newcomers;
mod patience;
mod shared_port;
#[cfg(feature = "tls")]
mod tls;

pub use self::acceptor::{Acceptor, PeerInfo};
pub use self::drain::{DrainHandle, Stop};
pub use self::http_io::HttpIo;
pub use self::shared_port::{SharedIo, SharedPort};
#[cfg(feature = "tls")]
pub use self::tls::{Identity, Tls};

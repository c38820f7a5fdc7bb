//! The server side: a listener of channels.

mod accept_loop;
mod accept_retry;
mod acceptor;
#[cfg(feature = "axum")]
mod axum;
mod drain;
mod half_open;
mod handshake;
mod http_io;
#[cfg(feature = "tls")]
mod identity;
mod incoming;
mod peer;
mod reverse;
mod shared_port;
#[cfg(feature = "tls")]
mod tls;

pub use self::acceptor::Acceptor;
pub use self::drain::{DrainHandle, Stop};
pub use self::http_io::HttpIo;
#[cfg(feature = "tls")]
pub use self::identity::Identity;
pub use self::peer::PeerInfo;
pub use self::shared_port::{SharedIo, SharedPort};
#[cfg(feature = "tls")]
pub use self::tls::Tls;

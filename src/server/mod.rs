//! The server side: a listener of channels.

mod accept_loop;
mod accept_retry;
mod acceptor;
mod admitted;
#[cfg(feature = "tls")]
mod allowed_names;
#[cfg(feature = "axum")]
mod axum;
mod channel_limits;
#[cfg(any(feature = "axum", feature = "tonic"))]
mod connect_info;
mod connections;
mod drain;
mod half_open;
mod handshake;
mod http_io;
mod incoming;
mod limits;
mod peer;
mod peer_io;
mod reverse;
mod settings;
mod shared_port;
#[cfg(feature = "tls")]
mod shown;
#[cfg(feature = "tls")]
mod tls;

pub use self::acceptor::Acceptor;
#[cfg(feature = "tls")]
pub use self::allowed_names::AllowedNames;
pub use self::channel_limits::ChannelLimits;
#[cfg(any(feature = "axum", feature = "tonic"))]
pub use self::connect_info::{ConnectInfoLayer, WithConnectInfo};
pub use self::connections::Connections;
pub use self::drain::{DrainHandle, Stop};
pub use self::http_io::HttpIo;
pub use self::limits::ConnectionLimits;
pub use self::peer::PeerInfo;
pub use self::peer_io::PeerIo;
pub use self::shared_port::{SharedIo, SharedPort};
#[cfg(feature = "tls")]
pub use self::tls::Tls;

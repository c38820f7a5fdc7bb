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
mod handshake_limits;
mod http_io;
mod incoming;
mod limits;
mod peer;
mod peer_io;
#[cfg(feature = "proxy-protocol")]
mod proxy_header;
#[cfg(feature = "proxy-protocol")]
mod proxy_protocol;
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
#[cfg(feature = "proxy-protocol")]
pub use self::proxy_protocol::ProxyProtocol;
pub use self::shared_port::{SharedIo, SharedPort};
#[cfg(feature = "tls")]
pub use self::tls::Tls;

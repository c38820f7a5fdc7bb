//! The ways to carry byte streams, one file each. A row is generic over the
//! way, so that nothing is boxed between the traffic and what is measured.

mod h2;
mod interface;
mod qmux;
mod quinn;
mod smux;
mod tcp;
mod tcpchan;
mod tokio_yamux;
mod yamux;

pub use self::h2::H2;
pub use self::interface::{ByteStream, STREAMS, Way};
pub use self::qmux::Qmux;
pub use self::quinn::Quinn;
pub use self::smux::Smux;
pub use self::tcp::Tcp;
pub use self::tcpchan::TcpChan;
pub use self::tokio_yamux::TokioYamux;
pub use self::yamux::Yamux;

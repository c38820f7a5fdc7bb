//! The server side: a listener of channels.

mod acceptor;
#[cfg(feature = "axum")]
mod axum;
mod drain;
mod listen;

pub use self::acceptor::{Acceptor, PeerInfo};
pub use self::drain::DrainHandle;

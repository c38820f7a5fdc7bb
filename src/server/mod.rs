//! The server side: a listener of channels.

mod acceptor;
#[cfg(feature = "axum")]
mod axum;

pub use self::acceptor::{Acceptor, PeerInfo};

//! The client side: a connector that hands out channels as connections.
//!
//! [`Multiplex`] wraps any connector, such as hyper-util's `HttpConnector`, and
//! is one itself, so it goes where the connector went.

mod layer;
mod multiplex;
mod pool;

pub use self::layer::MultiplexLayer;
pub use self::multiplex::{ConnectError, Connecting, Multiplex};

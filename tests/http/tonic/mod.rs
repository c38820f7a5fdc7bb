//! gRPC over channels, with tonic's own client and server.
#![cfg(all(feature = "client", feature = "tonic"))]

mod calls;
#[cfg(feature = "tls")]
mod https;
#[cfg(feature = "tls")]
mod peers;

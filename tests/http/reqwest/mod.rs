//! reqwest, whose connector can't be exchanged, in two ways: its requests and responses
//! through other clients, and its own client over a unix socket of this process.
#![cfg(all(feature = "axum", feature = "requests"))]

mod converted;
mod fixture;
#[cfg(unix)]
mod socket_ends;
#[cfg(unix)]
mod unix_socket;

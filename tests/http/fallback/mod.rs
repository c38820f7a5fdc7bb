//! Clients that call servers with and without tcpchan.
#![cfg(all(feature = "axum", feature = "tls"))]

mod by_answer;
mod cancel;
mod fixture;
mod fleet;
mod over_tls;
mod raw;
mod strangers;

//! What axum offers works over channels as it does over TCP: each test is
//! real axum, real TCP and a real client.
#![cfg(feature = "axum")]

mod bodies;
mod connect_info;
mod fixture;
mod http1;
mod shutdown;
mod websocket;

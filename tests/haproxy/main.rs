//! Behind a real HAProxy, and a real nginx. They have to be installed (`tests/programs.sh` does
//! that on Debian): `cargo test --test haproxy -- --ignored`.
#![cfg(all(feature = "axum", feature = "cli", unix))]

#[path = "../support/guard.rs"]
mod guard;
#[path = "../support/programs.rs"]
mod programs;

mod app;
mod balancer;
mod client_address;
mod header;
mod nginx;
mod pool;
mod relay;

//! Behind a real HAProxy. It has to be installed (`tests/programs.sh` does
//! that on Debian): `cargo test --test haproxy -- --ignored`.
#![cfg(all(feature = "axum", feature = "cli", unix))]

#[path = "../support/guard.rs"]
mod guard;
#[path = "../support/programs.rs"]
mod programs;

mod app;
mod balancer;
mod header;
mod pool;
mod relay;

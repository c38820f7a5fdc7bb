//! Real programs over `tcpchan relay` and `tcpchan serve`. They have to be
//! installed (`tests/programs.sh` does that on Debian), so these tests run
//! when they are asked for: `cargo test --test programs -- --ignored`.
#![cfg(all(feature = "cli", unix))]

#[path = "../support/guard.rs"]
mod guard;
#[path = "../support/programs.rs"]
mod programs;

mod browser;
mod curl;
mod fallback;
mod page;
mod postgresql;
mod proxies;
mod web;
mod wrk;

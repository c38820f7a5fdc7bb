//! The command `tcpchan`, as processes.
#![cfg(all(feature = "cli", unix))]

#[path = "../support/certs.rs"]
mod certs;
#[path = "../support/guard.rs"]
mod guard;
#[path = "../support/programs.rs"]
mod programs;
#[path = "../support/proxy.rs"]
mod proxy;

#[cfg(feature = "metrics")] // its client needs newer crates than the lowest that build
mod admin;
mod arguments;
mod callers;
mod configuration;
mod ends;
mod files;
mod fixture;
mod flow;
mod half_closed;
mod hub;
mod log;
mod messages;
mod outgoing;
mod pages;
mod ping;
mod proxy_protocol;
mod refused;
mod reload;
mod service_manager;
mod statistics;
mod stop;
mod targets;
mod tls;
mod top;
mod unix_sockets;

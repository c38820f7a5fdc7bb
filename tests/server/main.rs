//! Acceptors, shared ports, TLS and the end of servers.

#[path = "../support/certs.rs"]
mod certs;
#[path = "../support/guard.rs"]
mod guard;
#[path = "../support/polls.rs"]
mod polls;
#[path = "../support/rude.rs"]
mod rude;
#[path = "../support/slow_proxy.rs"]
mod slow_proxy;
#[path = "../support/started.rs"]
mod started;

mod accept_errors;
mod acceptor;
mod allowed_names;
mod cancel;
mod channel_limits;
mod connection_age;
mod connection_limits;
mod connections;
mod graceful;
mod half_open;
mod memory;
mod memory_of_networks;
mod proxy_protocol;
mod restarts;
mod reverse;
mod shared_port;
mod silent_peers;
mod start;
mod tls;
mod tls_mismatch;
mod tls_rotation;

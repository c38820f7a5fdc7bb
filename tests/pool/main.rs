//! The client's pool of connections.

#[path = "../support/certs.rs"]
mod certs;
#[path = "../support/guard.rs"]
mod guard;
#[path = "../support/link.rs"]
mod link;
#[path = "../support/local.rs"]
mod local;
#[path = "../support/network.rs"]
mod network;
#[path = "../support/polls.rs"]
mod polls;
#[path = "../support/proxy.rs"]
mod proxy;
#[path = "../support/started.rs"]
mod started;

mod beside;
mod black_hole;
mod cancel;
mod configuration;
mod connector_code;
mod discovery;
mod down;
mod idle;
mod inner_connector;
mod kills;
mod loss;
mod outlier;
mod prewarm;
mod replacement;
mod rolling_restart;
mod runtimes;
mod size;
mod user_info;

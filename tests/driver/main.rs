//! Connections and channels on tokio.

#[path = "../support/certs.rs"]
mod certs;
#[path = "../support/guard.rs"]
mod guard;
#[path = "../support/link.rs"]
mod link;
#[path = "../support/neighbour.rs"]
mod neighbour;
#[path = "../support/pair.rs"]
mod pair;
#[path = "../support/proxy.rs"]
mod proxy;
#[path = "../support/started.rs"]
mod started;

mod api;
mod behind_one;
mod channel_io;
mod coalescing;
mod configuration;
mod connection_end;
mod cooperation;
mod deferred_congestion_control;
mod drops;
mod ends;
mod fair_share;
mod honest_load;
mod memory_budget;
mod noted;
mod odd_transports;
mod pacing;
mod parts;
mod runtimes;
mod slow_link;
mod socket_options;
mod teardown;
mod tls_cut;
mod work_budget;

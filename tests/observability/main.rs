//! What operators see: metrics and events.

#[path = "../support/certs.rs"]
mod certs;
#[path = "../support/guard.rs"]
mod guard;
#[cfg(all(feature = "cli", unix))]
#[path = "../support/programs.rs"]
mod programs;
#[path = "../support/rude.rs"]
mod rude;
#[path = "../support/started.rs"]
mod started;

mod accepting;
mod counts;
mod dials;
mod events;
mod fallback;
mod gauges;
mod log;
mod metrics;
mod names;
mod openings;
mod prometheus;
mod scrape;
mod targets;

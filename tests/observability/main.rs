//! What operators see: metrics and events.

#[path = "../support/certs.rs"]
mod certs;
#[path = "../support/guard.rs"]
mod guard;

mod accepting;
mod counts;
mod dials;
mod events;
mod gauges;
mod log;
mod metrics;
mod names;
mod openings;
mod scrape;
mod targets;

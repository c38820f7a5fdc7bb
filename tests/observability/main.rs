//! What operators see: metrics and events.

#[path = "../support/guard.rs"]
mod guard;

mod counts;
mod events;
mod log;
mod metrics;
mod names;
mod scrape;

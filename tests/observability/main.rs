//! What operators see: metrics and events.

#[path = "../support/guard.rs"]
mod guard;

mod events;
mod metrics;

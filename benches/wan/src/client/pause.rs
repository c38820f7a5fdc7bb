//! The time between pieces of work.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep};

/// The last packets of connections that were dropped leave the link.
pub async fn apart() {
    sleep(Duration::from_millis(200)).await;
}

/// Ticks that are late make the later ones late too, so that none come in a heap.
pub fn every(milliseconds: u64) -> tokio::time::Interval {
    let mut tick = interval(Duration::from_millis(milliseconds));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick
}

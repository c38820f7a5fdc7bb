//! What a service has done so far.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::admin::document::Streams;

/// What was done so far.
#[derive(Default)]
pub struct Counters {
    /// Carried now, or on the way to a target.
    live: AtomicU64,
    total: AtomicU64,
    /// No target took them.
    refused: AtomicU64,
    /// Ended by a reset, or the loss of a connection.
    cut: AtomicU64,
    /// Bytes from the TCP connections, and to them.
    pub received: AtomicU64,
    pub sent: AtomicU64,
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = |counter: &AtomicU64| counter.load(Relaxed);
        write!(f, "live={}", value(&self.live))?;
        write!(f, " total={}", value(&self.total))?;
        write!(f, " refused={}", value(&self.refused))?;
        write!(f, " cut={}", value(&self.cut))?;
        write!(f, " tcp_received={}", value(&self.received))?;
        write!(f, " tcp_sent={}", value(&self.sent))
    }
}

impl Counters {
    pub fn streams(&self) -> Streams {
        let value = |counter: &AtomicU64| counter.load(Relaxed);
        let (open, total) = (value(&self.live), value(&self.total));
        let (refused, cut_off) = (value(&self.refused), value(&self.cut));
        Streams {
            open,
            total,
            // They are not counted at one moment.
            finished: total.saturating_sub(open + refused + cut_off),
            refused,
            cut_off,
        }
    }
}

/// One connection, counted. It was cut off unless it says otherwise.
pub struct Counted<'a> {
    counters: &'a Counters,
    end: Option<&'a AtomicU64>,
}

impl Counters {
    pub fn count(&self) -> Counted<'_> {
        self.live.fetch_add(1, Relaxed);
        self.total.fetch_add(1, Relaxed);
        Counted {
            counters: self,
            end: Some(&self.cut),
        }
    }
}

impl Counted<'_> {
    pub fn refused(mut self) {
        self.end = Some(&self.counters.refused);
    }

    pub fn whole(mut self) {
        self.end = None;
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.counters.live.fetch_sub(1, Relaxed);
        if let Some(end) = self.end {
            end.fetch_add(1, Relaxed);
        }
    }
}

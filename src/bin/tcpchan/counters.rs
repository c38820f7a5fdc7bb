//! What a service has done so far.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use crate::admin::document::Streams;
use crate::log::Limit;

/// What was done so far.
#[derive(Default)]
pub struct Counters {
    /// Carried now, or on the way to a target.
    live: AtomicU64,
    total: AtomicU64,
    /// No target took them.
    pub refused: AtomicU64,
    /// Ended by a reset, or the loss of a connection.
    pub cut: AtomicU64,
    /// Bytes from the TCP connections, and to them.
    pub received: AtomicU64,
    pub sent: AtomicU64,
    /// Warnings about those that were refused.
    refusals: Limit,
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

/// The bytes of one stream, which count for its service too.
pub struct Traffic<'a> {
    counters: &'a Counters,
    received: AtomicU64,
    sent: AtomicU64,
}

impl<'a> Traffic<'a> {
    pub fn of(counters: &'a Counters) -> Self {
        Traffic {
            counters,
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
        }
    }

    /// From the client's or service's connection.
    pub fn receive(&self, count: usize) {
        self.received.fetch_add(count as u64, Relaxed);
        self.counters.received.fetch_add(count as u64, Relaxed);
    }

    /// To it.
    pub fn send(&self, count: usize) {
        self.sent.fetch_add(count as u64, Relaxed);
        self.counters.sent.fetch_add(count as u64, Relaxed);
    }

    /// Received, and sent.
    pub fn bytes(&self) -> (u64, u64) {
        (self.received.load(Relaxed), self.sent.load(Relaxed))
    }
}

impl Counters {
    /// A stream begins.
    pub fn begin(&self) {
        self.live.fetch_add(1, Relaxed);
        self.total.fetch_add(1, Relaxed);
    }

    /// Whether a refusal is worth a warning; with how many were not in the minute before, if
    /// there were some.
    pub fn warns_of_refusal(&self) -> Option<Option<u32>> {
        let suppressed = self.refusals.allows(Instant::now())?;
        Some(Some(suppressed).filter(|count| *count > 0))
    }

    /// It has ended; in order if it counts for nothing else.
    pub fn end(&self, counter: Option<&AtomicU64>) {
        self.live.fetch_sub(1, Relaxed);
        if let Some(counter) = counter {
            counter.fetch_add(1, Relaxed);
        }
    }
}

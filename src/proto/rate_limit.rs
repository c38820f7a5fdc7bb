//! What a peer may make this side do for nothing: tokens that refill.
//!
//! A lifetime count would end a long connection for its age, and a count per
//! read would end an honest peer for a stall that let its frames pile up. So
//! the rates are far above honest ones, and what an honest peer can pile up
//! fits the bucket.

use std::time::{Duration, Instant};

use super::config::Config;
use super::error::{ConnectionError, ErrorCode, violation};

/// The buckets of one connection.
#[derive(Debug)]
pub(super) struct RateLimits {
    /// Channels that the peer opened and gave up before it got a byte, and those
    /// that this side had to refuse.
    pub cancels: Bucket,
    pub pings: Bucket,
    /// Frames that change nothing, which no honest peer of version 1 sends.
    pub no_ops: Bucket,
    /// Frames for channels that are closed which may have crossed their end.
    crossing: u64,
    /// When more comes in: a tick after the last did.
    due: Instant,
}

#[derive(Debug)]
pub(super) struct Bucket {
    what: &'static str,
    /// In thousandths of a token.
    level: u64,
    capacity: u64,
    per_second: u32,
    /// How many were taken since the connection began.
    pub taken: u64,
}

/// Thousandths that one frame takes, so that whole numbers refill each millisecond.
const TOKEN: u64 = 1000;

/// The least time after which tokens are added.
const TICK: Duration = Duration::from_millis(1);

impl RateLimits {
    pub fn new(config: &Config, now: Instant) -> Self {
        let waiting = config.settings.max_channels;
        RateLimits {
            // The peer opens no more than it was allowed, however long its
            // cancels piled up.
            cancels: Bucket::new("cancels", config.cancels_per_second, waiting),
            pings: Bucket::new("pings", config.pings_per_second, 0),
            no_ops: Bucket::new("no-op frames", config.no_op_frames_per_second, 0),
            crossing: 0,
            due: now + TICK,
        }
    }

    /// Adds what has come in since the last call, in whole milliseconds.
    pub fn refill(&mut self, now: Instant) {
        if now < self.due {
            return; // nearly always, and cheaper than to see how long it was
        }
        let passed = (now - self.due + TICK).as_millis() as u64;
        self.due += Duration::from_millis(passed);
        for bucket in [&mut self.cancels, &mut self.pings, &mut self.no_ops] {
            bucket.refill(passed);
        }
    }

    /// A channel is closed, and frames for it may still come that have crossed its
    /// end: a STOP, and so many WINDOWs.
    pub fn on_closed(&mut self, crossing_windows: u64) {
        self.crossing = self
            .crossing
            .saturating_add(crossing_windows)
            .saturating_add(1);
    }

    /// One of those, or else one that changes nothing.
    pub fn take_crossing(&mut self) -> Result<(), ConnectionError> {
        match self.crossing.checked_sub(1) {
            Some(left) => self.crossing = left,
            None => self.no_ops.take()?,
        }
        Ok(())
    }
}

impl Bucket {
    /// Holds a second's tokens and some more.
    fn new(what: &'static str, per_second: u32, more: u32) -> Self {
        let capacity = (u64::from(per_second) + u64::from(more)) * TOKEN;
        Bucket {
            what,
            level: capacity,
            capacity,
            per_second,
            taken: 0,
        }
    }

    fn refill(&mut self, millis: u64) {
        if self.level < self.capacity {
            let more = millis.saturating_mul(self.per_second.into());
            self.level = self.capacity.min(self.level.saturating_add(more));
        }
    }

    /// One more of what is limited; the violation if it is one too many.
    pub fn take(&mut self) -> Result<(), ConnectionError> {
        let Some(left) = self.level.checked_sub(TOKEN) else {
            return violation(
                ErrorCode::LIMIT,
                format!("more than {} {} a second", self.per_second, self.what),
            );
        };
        self.level = left;
        self.taken += 1;
        Ok(())
    }
}

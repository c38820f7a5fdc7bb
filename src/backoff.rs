//! When to dial again.

use std::time::{Duration, Instant};

/// A connection that ends sooner than this, and served nobody, is no better
/// than a dial that failed.
pub(crate) const SHORT: Duration = Duration::from_secs(1);

/// The wait after dials that failed: doubled each time, and between half and
/// all of that by chance, so that those who dial don't come back together.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
    until: Option<Instant>,
}

/// The waits after the first failure, and at most. The first is about a round trip of a
/// long link. The longest bounds how late a target that is up again is noticed.
const MIN_DELAY: Duration = Duration::from_millis(50);
const MAX_DELAY: Duration = Duration::from_secs(5);

impl Backoff {
    #[cfg(feature = "client")]
    pub fn is_clear(&self) -> bool {
        self.failures == 0
    }

    pub fn failed(&mut self, now: Instant) {
        self.pause(now);
        self.failures = self.failures.saturating_add(1);
    }

    /// A wait as long as the failures so far ask for.
    pub fn pause(&mut self, now: Instant) {
        let longest = MIN_DELAY
            .saturating_mul(1 << self.failures.min(16))
            .min(MAX_DELAY);
        self.until = Some(now + longest.mul_f64(0.5 + fastrand::f64() / 2.0));
    }

    pub fn clear(&mut self) {
        *self = Backoff::default();
    }

    /// When the next dial may begin.
    pub fn start(&self, now: Instant) -> Instant {
        self.until.map_or(now, |until| until.max(now))
    }
}

//! Rates: so many a second, and a burst. Without a clock of their own.

use std::time::{Duration, Instant};

use crate::check::{ConfigError, MOST, check};

/// How many may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) struct Rate {
    pub per_second: u32,
    pub burst: u32,
}

impl Rate {
    /// One comes in less than a nanosecond.
    pub const UNLIMITED: Rate = Rate {
        per_second: i32::MAX as u32,
        burst: 1,
    };

    /// A rate that can work.
    pub fn checked(field: &'static str, per_second: u32, burst: u32) -> Result<Self, ConfigError> {
        check(field, per_second.into(), 1..=MOST)?;
        check("burst", burst.into(), 1..=MOST)?;
        Ok(Rate { per_second, burst })
    }

    /// `per_second` and `burst`.
    pub fn get(self) -> (u32, u32) {
        (self.per_second, self.burst)
    }

    /// The time in which one more may come.
    fn interval(self) -> Duration {
        Duration::from_secs(1) / self.per_second
    }
}

/// What has come of late: a token bucket, kept as the time at which it is full again.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::server) struct Bucket {
    full_at: Option<Instant>,
}

impl Bucket {
    /// How long until one more may come.
    pub fn wait(&self, rate: Rate, now: Instant) -> Duration {
        let full_at = self.full_at.map_or(now, |full_at| full_at.max(now));
        let empty = rate.interval() * (rate.burst - 1);
        (full_at - now).saturating_sub(empty)
    }

    /// One has come.
    pub fn take(&mut self, rate: Rate, now: Instant) {
        let full_at = self.full_at.map_or(now, |full_at| full_at.max(now));
        self.full_at = Some(full_at + rate.interval());
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const RATE: Rate = Rate {
        per_second: 10,
        burst: 3,
    };

    #[test]
    fn a_burst_may_come_at_once_and_then_one_in_each_interval() {
        let (start, mut bucket) = (Instant::now(), Bucket::default());
        for _ in 0..3 {
            assert_eq!(bucket.wait(RATE, start), Duration::ZERO);
            bucket.take(RATE, start);
        }
        assert_eq!(bucket.wait(RATE, start), Duration::from_millis(100));
        let later = start + Duration::from_millis(40);
        assert_eq!(bucket.wait(RATE, later), Duration::from_millis(60));
    }

    #[test]
    fn the_largest_rate_is_no_limit() {
        let (now, mut bucket) = (Instant::now(), Bucket::default());
        (0..100_000).for_each(|_| bucket.take(Rate::UNLIMITED, now));
        assert_eq!(bucket.wait(Rate::UNLIMITED, now), Duration::ZERO);
    }

    proptest! {
        /// Whenever they try.
        #[test]
        fn in_any_time_no_more_come_than_the_burst_and_the_rate(
            per_second in 1u32..5_000,
            burst in 1u32..50,
            gaps in vec(0u64..5_000, 1..300),
        ) {
            let rate = Rate { per_second, burst };
            let (mut now, mut bucket) = (Instant::now(), Bucket::default());
            let mut taken: Vec<Instant> = Vec::new();
            for gap in gaps {
                now += Duration::from_micros(gap);
                if bucket.wait(rate, now).is_zero() {
                    bucket.take(rate, now);
                    taken.push(now);
                }
            }
            for (nth, first) in taken.iter().enumerate() {
                let since = (now - *first).as_secs_f64();
                let most = f64::from(burst) + since * f64::from(per_second) + 1e-3;
                prop_assert!((taken.len() - nth) as f64 <= most);
            }
        }
    }
}

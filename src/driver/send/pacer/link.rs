//! What a long link carries.
//!
//! The round trip and the delivery rate of a link are sampled with pings: while this side
//! has more to send than may leave, one ping goes along in each round trip. Its answer tells
//! how many bytes the link delivered, and how long they queued.
//!
//! - *Start.* Pacing begins when the queue delay exceeds an eighth of a round trip, and the
//!   rate grew by no more than a quarter over the sample before.
//! - *Rate.* Bytes leave at the delivered rate: a little faster while the delay is below a
//!   sixteenth of a round trip, slower while it is above.
//! - *Stop.* If pacing does not shorten the queue (cross traffic, a new route, loss), it is
//!   turned off for a while, with a growing back-off. The signs are a delay that stays
//!   though less is sent, and a sudden delay, as behind a packet that is sent again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The shortest round trip that is paced. Tokio's timers have a resolution of 1 ms.
pub(super) const LEAST_RTT: Duration = Duration::from_millis(20);

/// Bytes in a round trip below which nothing is paced: any TCP sends ten packets at once.
const MIN_BYTES: f64 = 64.0 * 1024.0;

/// The delivered rate is the best of so many samples: one alone may have met cross traffic,
/// and an older one another route.
const SAMPLES: usize = 4;

/// The queue delay to aim at, and the one that is too long, as parts of a round trip.
const TARGET: u32 = 16;
const TOO_LONG: u32 = 8;

/// The factor of the delivered rate while the link's capacity is not found, and the samples
/// in a row without a queue after which it counts as not found.
const SEEK: f64 = 1.25;
const FREE: u32 = 4;

/// The least factor of the delivered rate, so that one sample with a long queue does not
/// stop the sender.
const LEAST_FACTOR: f64 = 0.6;

/// How often one sample empties the link's queue, and the factor of the rate then. The
/// shortest round trip is so seen again before it is forgotten, as in LEDBAT++.
const SLOWS: Duration = Duration::from_secs(8);
const SLOW_FACTOR: f64 = 0.9;

/// A delay that grows by more in one sample, as a part of a round trip, is no queue of ours.
const JUMP: u32 = 4;

/// The least part of the delivered rate that must remain while the delay stays.
const KEPT: f64 = 0.93;

/// Points against pacing: of a sample with a sudden delay, as behind a lost packet, and of
/// one whose delay stays. With more than [`PATIENCE`] points it is turned off.
const SUDDEN: u32 = 4;
const STAYS: u32 = 2;
const PATIENCE: u32 = 8;

/// The back-off: how long pacing stays off, at first and at most. It doubles each time,
/// because the cause of a queue that is not ours seldom goes at once.
const BACKOFF: Duration = Duration::from_secs(5);
const MAX_BACKOFF: Duration = Duration::from_secs(320);

#[derive(Debug)]
pub struct Link {
    /// Bytes a second in the last samples.
    delivered: VecDeque<f64>,
    /// The factor of the delivered rate, now and in the sample before. An answer tells of
    /// bytes that left with the earlier one.
    factor: f64,
    earlier: f64,
    /// The link's capacity is not found yet.
    seeks: bool,
    /// Samples in a row without a queue.
    free: u32,
    /// The queue delay of the last sample.
    last: Duration,
    /// The shortest delay since it is above the target, and the delivered rate then.
    low: Option<(Duration, f64)>,
    /// Points against pacing, and when pacing began.
    points: u32,
    since: Instant,
    /// When the queue was last emptied.
    slowed: Instant,
    /// Until when nothing is paced, and how long the next time.
    off: Instant,
    off_for: Duration,
}

/// What one sample showed.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Bytes a second that were delivered.
    pub rate: f64,
    /// The queue delay: how much longer the round trip was than the shortest.
    pub delay: Duration,
    /// The link was saturated: there was more to send all the time.
    pub saturated: bool,
}

impl Link {
    pub fn new(now: Instant) -> Self {
        Link {
            delivered: VecDeque::new(),
            factor: 1.0,
            earlier: 1.0,
            seeks: false,
            free: 0,
            last: Duration::ZERO,
            low: None,
            points: 0,
            since: now,
            slowed: now,
            off: now,
            off_for: BACKOFF,
        }
    }

    pub fn forget(&mut self) {
        self.delivered.clear();
    }

    /// The pace after a sample, in bytes a second; `None` if nothing is paced. `pace` is
    /// the one until now.
    pub fn on_sample(
        &mut self,
        seen: Seen,
        rtt: Duration,
        pace: Option<f64>,
        now: Instant,
    ) -> Option<f64> {
        let last = self.delivered.back().copied();
        if seen.saturated || seen.rate > self.best() {
            self.delivered.push_back(seen.rate);
            if self.delivered.len() > SAMPLES {
                self.delivered.pop_front();
            }
        }
        if !seen.saturated {
            return pace;
        }
        let before = std::mem::replace(&mut self.last, seen.delay);
        let late = seen.delay > rtt / TOO_LONG;
        let starts = last.is_none_or(|last| seen.rate > last * SEEK);
        if pace.is_none() {
            if !late || starts || now < self.off {
                return None;
            }
            (self.low, self.points, self.since) = (None, 0, now);
            (self.factor, self.earlier) = (0.0, SEEK);
            (self.seeks, self.free, self.slowed) = (true, 0, now);
        }
        let calm = self.factor < SEEK && self.earlier < SEEK;
        let sudden = calm && seen.delay > before + rtt / JUMP;
        self.judge(seen.delay, rtt, sudden);
        if self.points > PATIENCE {
            self.forget();
            if now - self.since > self.off_for {
                self.off_for = BACKOFF;
            }
            self.off = now + self.off_for;
            self.off_for = MAX_BACKOFF.min(self.off_for * 2);
            return None;
        }
        let delay = match calm {
            true => seen.delay.min(before), // a queue lasts longer than a round
            false => seen.delay,
        };
        let mut factor = self.next_factor(delay, rtt);
        if now >= self.slowed + SLOWS && !self.seeks {
            (self.slowed, factor) = (now, factor.min(SLOW_FACTOR));
        }
        self.earlier = std::mem::replace(&mut self.factor, factor);
        let enough = self.best() * rtt.as_secs_f64() >= MIN_BYTES;
        enough.then(|| self.best() * self.factor)
    }

    fn best(&self) -> f64 {
        self.delivered.iter().copied().fold(0.0, f64::max)
    }

    /// Counts points against pacing.
    fn judge(&mut self, delay: Duration, rtt: Duration, sudden: bool) {
        let best = self.best();
        let less = self.factor < 1.0 && self.earlier < 1.0;
        if delay <= rtt / TARGET || !less {
            self.low = None;
        }
        let still = self.low.is_some_and(|(low, _)| delay >= low * 4 / 5);
        let lost = self.low.is_some_and(|(_, rate)| best < rate * KEPT);
        self.points = match still {
            _ if sudden => self.points + SUDDEN,
            true if lost => self.points + PATIENCE,
            true if delay > rtt / TOO_LONG => self.points + STAYS,
            _ => self.points.saturating_sub(1),
        };
        if delay > rtt / TARGET && less && !still && !sudden {
            self.low = Some((delay, best));
        }
    }

    fn next_factor(&mut self, delay: Duration, rtt: Duration) -> f64 {
        let target = rtt / TARGET;
        let free = delay < target / 2;
        self.free = if free { self.free + 1 } else { 0 };
        let found = delay > rtt / TOO_LONG && self.factor.max(self.earlier) >= 1.0;
        self.seeks = (self.seeks || self.free >= FREE) && !found;
        if self.seeks && delay < target {
            return SEEK;
        }
        let over = (delay.as_secs_f64() - target.as_secs_f64()) / rtt.as_secs_f64();
        (1.0 - over / 2.0).max(LEAST_FACTOR)
    }
}

#[cfg(test)]
mod tests;

//! What a long link carries.
//!
//! While more is to be sent than leaves, a ping goes along in each round trip. Its
//! answer tells what the link delivered, and how long things wait on it. Once they
//! wait for an eighth of a round trip, and no more than a quarter more arrives than
//! in the round before, bytes are paced: at what was delivered, a little faster
//! while they wait for less than a sixteenth, and slower while they wait for more.
//! Where that is in vain, others fill the link, or it got longer, or it loses
//! packets, and nothing is paced for a while: things wait as long though less is
//! sent, or they wait suddenly, as they do behind a packet that is sent again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Timers are too coarse for shorter links.
pub(super) const LEAST_RTT: Duration = Duration::from_millis(20);

/// Bytes a round trip that are not worth it: any TCP sends ten packets at once.
const LEAST: f64 = 64.0 * 1024.0;

/// Rounds whose best is what the link delivers.
const ROUNDS: usize = 4;

/// The part of a round trip for which bytes are to wait on the link, and that
/// from which they wait too long.
const TARGET: u32 = 16;
const LATE: u32 = 8;

/// How much faster than delivered bytes leave until the link is full, and rounds
/// without a queue from which it is not.
const SEEK: f64 = 1.25;
const FREE: u32 = 4;

/// The least part of what is delivered that leaves.
const LEAST_FACTOR: f64 = 0.6;

/// How often a round leaves the link's queue empty, so that the shortest round trip is
/// seen again before it is forgotten, as in LEDBAT++; and what leaves then.
const SLOWS: Duration = Duration::from_secs(8);
const SLOW_FACTOR: f64 = 0.9;

/// The part of a round trip by which a queue of ours does not grow in a round.
const JUMP: u32 = 4;

/// What is delivered of what was, at least, while things wait as long as before.
const KEPT: f64 = 0.93;

/// What a round counts in which things suddenly wait, as for a packet that was
/// lost; one in which they wait as long as before; and how much spacing may be in
/// vain.
const SUDDEN: u32 = 4;
const STILL: u32 = 2;
const PATIENCE: u32 = 8;

/// How long nothing is paced after that: at first, and at most.
const OFF: Duration = Duration::from_secs(5);
const LONGEST_OFF: Duration = Duration::from_secs(320);

#[derive(Debug)]
pub struct Link {
    /// Bytes a second in the last rounds.
    delivered: VecDeque<f64>,
    /// What of it leaves, and what left in the round before: an answer tells of
    /// that.
    factor: f64,
    earlier: f64,
    /// What the link carries is not found yet.
    seeks: bool,
    /// Rounds in a row without a queue.
    free: u32,
    last: Duration,
    /// The shortest delay since it is above the target, and what was delivered
    /// then.
    low: Option<(Duration, f64)>,
    /// How much of the spacing was in vain lately, and since when there is some.
    vain: u32,
    since: Instant,
    /// When the queue was last left empty.
    slowed: Instant,
    /// Until when nothing is paced, and how long the next time.
    off: Instant,
    off_for: Duration,
}

/// What one round showed.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Bytes a second that were delivered.
    pub rate: f64,
    /// What the round trip was longer than the shortest.
    pub delay: Duration,
    /// There was more to send all the time.
    pub full: bool,
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
            vain: 0,
            since: now,
            slowed: now,
            off: now,
            off_for: OFF,
        }
    }

    pub fn forget(&mut self) {
        self.delivered.clear();
    }

    /// The pace after a round, in bytes a second, if there is to be one; `pace` is
    /// that until now.
    pub fn on_round(
        &mut self,
        seen: Seen,
        rtt: Duration,
        pace: Option<f64>,
        now: Instant,
    ) -> Option<f64> {
        let last = self.delivered.back().copied();
        if seen.full || seen.rate > self.best() {
            self.delivered.push_back(seen.rate);
            if self.delivered.len() > ROUNDS {
                self.delivered.pop_front();
            }
        }
        if !seen.full {
            return pace;
        }
        let before = std::mem::replace(&mut self.last, seen.delay);
        let late = seen.delay > rtt / LATE;
        let starts = last.is_none_or(|last| seen.rate > last * SEEK);
        if pace.is_none() {
            if !late || starts || now < self.off {
                return None;
            }
            (self.low, self.vain, self.since) = (None, 0, now);
            (self.factor, self.earlier) = (0.0, SEEK);
            (self.seeks, self.free, self.slowed) = (true, 0, now);
        }
        let calm = self.factor < SEEK && self.earlier < SEEK;
        let sudden = calm && seen.delay > before + rtt / JUMP;
        self.judge(seen.delay, rtt, sudden);
        if self.vain > PATIENCE {
            self.forget();
            if now - self.since > self.off_for {
                self.off_for = OFF;
            }
            self.off = now + self.off_for;
            self.off_for = LONGEST_OFF.min(self.off_for * 2);
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
        let enough = self.best() * rtt.as_secs_f64() >= LEAST;
        enough.then(|| self.best() * self.factor)
    }

    fn best(&self) -> f64 {
        self.delivered.iter().copied().fold(0.0, f64::max)
    }

    /// Whether spacing helps.
    fn judge(&mut self, delay: Duration, rtt: Duration, sudden: bool) {
        let best = self.best();
        let less = self.factor < 1.0 && self.earlier < 1.0;
        if delay <= rtt / TARGET || !less {
            self.low = None;
        }
        let still = self.low.is_some_and(|(low, _)| delay >= low * 4 / 5);
        let lost = self.low.is_some_and(|(_, rate)| best < rate * KEPT);
        self.vain = match still {
            _ if sudden => self.vain + SUDDEN,
            true if lost => self.vain + PATIENCE,
            true if delay > rtt / LATE => self.vain + STILL,
            _ => self.vain.saturating_sub(1),
        };
        if delay > rtt / TARGET && less && !still && !sudden {
            self.low = Some((delay, best));
        }
    }

    fn next_factor(&mut self, delay: Duration, rtt: Duration) -> f64 {
        let target = rtt / TARGET;
        let free = delay < target / 2;
        self.free = if free { self.free + 1 } else { 0 };
        let found = delay > rtt / LATE && self.factor.max(self.earlier) >= 1.0;
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

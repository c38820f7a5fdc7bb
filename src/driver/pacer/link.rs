//! What a long link carries.
//!
//! While more is to be sent than leaves, a ping goes along in each round trip. Its
//! answer tells what the link delivered, and how long things wait on it. Once they
//! wait for an eighth of a round trip, though no more arrives than before, bytes
//! are spaced: at what was delivered, a little faster while they wait for less
//! than a sixteenth, and slower while they wait for more. If they wait as long
//! though less is sent, others fill the link, or it loses packets: then nothing is
//! spaced for a while.

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

/// Rounds for which spacing may be in vain.
const PATIENCE: u32 = 4;

/// How long nothing is spaced after that: at first, and at most.
const OFF: Duration = Duration::from_secs(5);
const LONGEST_OFF: Duration = Duration::from_secs(320);

#[derive(Debug)]
pub(super) struct Link {
    /// Bytes a second in the last rounds.
    delivered: VecDeque<f64>,
    /// What of it leaves.
    factor: f64,
    /// What the link carries is not found yet.
    seeks: bool,
    /// Rounds in a row without a queue.
    free: u32,
    /// The shortest delay since it is too long, and rounds since then.
    low: Option<Duration>,
    vain: u32,
    /// Until when nothing is spaced, and how long the next time.
    off: Instant,
    off_for: Duration,
}

/// What one round showed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
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
            seeks: false,
            free: 0,
            low: None,
            vain: 0,
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
        let late = seen.delay > rtt / LATE;
        let starts = last.is_none_or(|last| seen.rate > last * SEEK);
        if pace.is_none() {
            if !late || starts || now < self.off {
                return None;
            }
            (self.low, self.vain) = (None, 0);
            (self.factor, self.seeks, self.free) = (0.0, true, 0);
        }
        if self.is_vain(seen.delay, late) {
            self.forget();
            self.off = now + self.off_for;
            self.off_for = LONGEST_OFF.min(self.off_for * 2);
            return None;
        }
        self.factor = self.next_factor(seen.delay, late, rtt);
        let enough = self.best() * rtt.as_secs_f64() >= LEAST;
        enough.then(|| self.best() * self.factor)
    }

    fn best(&self) -> f64 {
        self.delivered.iter().copied().fold(0.0, f64::max)
    }

    /// Whether things wait as long as before, though less was sent.
    fn is_vain(&mut self, delay: Duration, late: bool) -> bool {
        if !late {
            (self.low, self.vain) = (None, 0);
            self.off_for = OFF;
        } else if self.low.is_none_or(|low| delay < low * 4 / 5) {
            (self.low, self.vain) = (Some(delay), 0);
        } else {
            self.vain += 1;
        }
        self.vain > PATIENCE
    }

    fn next_factor(&mut self, delay: Duration, late: bool, rtt: Duration) -> f64 {
        let target = rtt / TARGET;
        let free = delay < target / 2;
        self.free = if free { self.free + 1 } else { 0 };
        let found = late && self.factor >= 1.0;
        self.seeks = (self.seeks || self.free >= FREE) && !found;
        if self.seeks && delay < target {
            return SEEK;
        }
        let over = (delay.as_secs_f64() - target.as_secs_f64()) / rtt.as_secs_f64();
        (1.0 - over / 2.0).max(LEAST_FACTOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(80);
    const RATE: f64 = 25e6;

    /// A sender with more to send than leaves, and a link with a queue before it.
    struct Model {
        link: Link,
        now: Instant,
        rate: f64,
        /// Seconds that bytes wait.
        queue: f64,
        /// Of those, what others cause.
        others: f64,
        /// As TCP sends, if nothing is spaced.
        unpaced: f64,
        pace: Option<f64>,
        /// The answer is late by a round trip.
        before: Option<f64>,
    }

    impl Model {
        fn new() -> Self {
            let now = Instant::now();
            Model {
                link: Link::new(now),
                now,
                rate: RATE,
                queue: 0.0,
                others: 0.0,
                unpaced: 2.0 * RATE,
                pace: None,
                before: None,
            }
        }

        /// A round; what it delivered, as a part of what the link carries.
        fn round(&mut self, full: bool) -> f64 {
            let sends = self.before.unwrap_or(self.unpaced);
            let time = (RTT.as_secs_f64() + self.queue).min(2.0 * RTT.as_secs_f64());
            let queue =
                (self.queue + (sends / self.rate - 1.0) * time).clamp(0.0, 0.5 * RTT.as_secs_f64());
            let rate = sends.min(self.rate).max(match self.queue > 0.0 {
                true => self.rate.min(sends + self.queue * self.rate / time),
                false => 0.0,
            });
            self.queue = queue;
            let delay = Duration::from_secs_f64(queue + self.others);
            self.now += Duration::from_secs_f64(time);
            self.before = self.pace;
            let seen = Seen { rate, delay, full };
            self.pace = self.link.on_round(seen, RTT, self.pace, self.now);
            rate / self.rate
        }

        fn rounds(&mut self, count: usize) {
            for _ in 0..count {
                self.round(true);
            }
        }

        /// Of so many rounds, the least that was delivered and the longest queue.
        fn worst(&mut self, count: usize) -> (f64, Duration) {
            let (mut least, mut longest) = (f64::MAX, 0.0);
            for _ in 0..count {
                least = self.round(true).min(least);
                longest = self.queue.max(longest);
            }
            (least, Duration::from_secs_f64(longest))
        }
    }

    #[test]
    fn a_link_is_filled_without_a_long_queue() {
        let mut model = Model::new();
        model.rounds(20);
        let (least, longest) = model.worst(100);
        assert!(least > 0.95, "{least}");
        assert!(longest < RTT / LATE, "{longest:?}");
    }

    #[test]
    fn what_a_link_gains_is_found() {
        let mut model = Model::new();
        model.rounds(20);
        model.rate *= 4.0;
        model.rounds(24);
        let (least, longest) = model.worst(20);
        assert!(least > 0.9, "{least}");
        assert!(longest < RTT / LATE, "{longest:?}");
    }

    #[test]
    fn a_link_that_carries_less_gets_less() {
        let mut model = Model::new();
        model.rounds(20);
        model.rate /= 3.0;
        model.unpaced = 2.0 * model.rate;
        model.rounds(100);
        let (least, longest) = model.worst(20);
        assert!(least > 0.95, "{least}");
        assert!(longest < RTT / LATE, "{longest:?}");
    }

    #[test]
    fn what_starts_is_not_spaced() {
        let mut model = Model::new();
        model.others = 0.02;
        model.unpaced = 1e5;
        for _ in 0..8 {
            model.unpaced *= 1.5;
            model.round(true);
            assert_eq!(model.pace, None);
        }
    }

    #[test]
    fn a_link_without_a_queue_is_not_spaced() {
        let mut model = Model::new();
        model.unpaced = RATE / 2.0;
        model.rounds(20);
        assert_eq!(model.pace, None);
    }

    #[test]
    fn few_bytes_a_round_are_not_spaced() {
        let mut model = Model::new();
        model.rate = LEAST / RTT.as_secs_f64() / 2.0;
        model.unpaced = 2.0 * model.rate;
        model.rounds(20);
        assert_eq!(model.pace, None);
    }

    #[test]
    fn where_others_fill_the_link_nothing_is_spaced_for_a_while() {
        let mut model = Model::new();
        model.others = 0.04;
        let mut paced = 0;
        for _ in 0..40 {
            model.round(true);
            paced += u32::from(model.pace.is_some());
        }
        assert!((1..=2 * PATIENCE).contains(&paced), "{paced}");
        model.now += OFF;
        model.rounds(2);
        assert!(model.pace.is_some());
    }

    #[test]
    fn that_while_grows_as_long_as_it_is_in_vain() {
        let mut model = Model::new();
        model.others = 0.04;
        for expected in [5, 10, 20, 40, 80, 160, 320, 320] {
            while model.pace.is_none() {
                model.round(true);
            }
            while model.pace.is_some() {
                model.round(true);
            }
            assert_eq!(model.link.off - model.now, Duration::from_secs(expected));
        }
    }

    #[test]
    fn what_the_application_holds_up_says_nothing_of_the_link() {
        let mut model = Model::new();
        model.rounds(20);
        let pace = model.pace;
        model.before = Some(RATE / 100.0);
        model.round(false);
        assert_eq!(model.pace, pace);
    }
}

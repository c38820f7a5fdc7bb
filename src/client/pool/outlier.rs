//! Outlier ejection: a connection whose channels fail is avoided.
//!
//! A channel fails that the peer refuses, resets or finishes before it has sent a
//! byte. The first failure counts, since a server that fails at once is always the
//! least loaded, and would get every channel. The time starts short, so that a single
//! failure costs a healthy connection nearly nothing, and doubles with each failure in
//! a row. After it one channel tries the connection again.

use std::time::{Duration, Instant};

use super::link::Seen;

/// How long a connection is avoided after the first failure, and at most. It doubles with
/// each: one failure may be chance, and a peer that refuses for long is rarely tried.
const BASE_EJECTION: Duration = Duration::from_millis(100);
const MAX_EJECTION: Duration = Duration::from_secs(300);

/// Ejections in a row from which another connection is dialled. Fewer may be chance, such
/// as handlers that panicked.
const BROKEN: u32 = 3;

#[derive(Debug, Default)]
pub(super) struct Outlier {
    answered: u64,
    unanswered: u64,
    /// Times that it was ejected since a channel was last answered.
    ejections: u32,
    until: Option<Instant>,
    /// One channel tries it again.
    probing: bool,
}

impl Outlier {
    /// Takes the counts of a connection.
    pub fn look(&mut self, seen: &Seen, now: Instant) {
        let answered = seen.answered - self.answered;
        let failed = seen.unanswered - self.unanswered;
        (self.answered, self.unanswered) = (seen.answered, seen.unanswered);
        // A peer that refuses some channels and answers more is busy, not broken.
        if answered > 0 && answered >= failed {
            (self.ejections, self.until, self.probing) = (0, None, false);
        } else if answered == 0 && failed > 0 && (self.probing || !self.is_ejected(now)) {
            // While it is ejected, only the probe counts: others were on their way.
            self.ejections += 1;
            self.eject(now);
        }
    }

    /// A channel was opened: if it tries an ejected connection again, others wait
    /// for what becomes of it.
    pub fn on_open(&mut self, now: Instant) {
        if self.ejections > 0 && !self.is_ejected(now) {
            self.eject(now);
            self.probing = true;
        }
    }

    /// Whether it should be joined by another connection.
    pub fn is_broken(&self) -> bool {
        self.ejections >= BROKEN
    }

    fn eject(&mut self, now: Instant) {
        let doubled = 1 << self.ejections.saturating_sub(1).min(16);
        self.until = Some(now + BASE_EJECTION.saturating_mul(doubled).min(MAX_EJECTION));
        self.probing = false;
    }

    pub fn is_ejected(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::pool::link::Health;

    const MS: Duration = Duration::from_millis(1);

    /// An outlier and the counts of its connection.
    struct One {
        outlier: Outlier,
        seen: Seen,
        now: Instant,
    }

    impl One {
        fn new() -> One {
            let now = Instant::now();
            let seen = Seen {
                health: Health::Well,
                greeted: true,
                overdue: Duration::ZERO,
                channels: 0,
                available: 1,
                opened: 0,
                answered: 0,
                unanswered: 0,
                bytes: 0,
                rtt: None,
                heard: now,
                saturated: false,
                throughput_limited: None,
            };
            let outlier = Outlier::default();
            One { outlier, seen, now }
        }

        fn look(&mut self, answered: u64, unanswered: u64) -> bool {
            self.seen.answered += answered;
            self.seen.unanswered += unanswered;
            self.outlier.look(&self.seen, self.now);
            self.outlier.is_ejected(self.now)
        }

        /// How long until it is tried again.
        fn out(&mut self) -> Duration {
            let start = self.now;
            while self.look(0, 0) {
                self.now += MS;
            }
            self.now - start
        }
    }

    #[test]
    fn the_time_doubles_with_each_failure_in_a_row() {
        let mut one = One::new();
        for times in [1, 2, 4, 8] {
            one.outlier.on_open(one.now);
            assert!(one.look(0, 1));
            assert_eq!(one.out(), BASE_EJECTION * times);
        }
        assert!(!one.look(1, 0));
        assert!(one.look(0, 1));
        assert_eq!(one.out(), BASE_EJECTION);
    }

    #[test]
    fn failures_that_were_on_their_way_count_as_one() {
        let mut one = One::new();
        for _ in 0..50 {
            one.look(0, 10);
        }
        assert_eq!(one.out(), BASE_EJECTION);
    }

    #[test]
    fn one_channel_tries_it_again() {
        let mut one = One::new();
        one.look(0, 1);
        one.out();
        one.outlier.on_open(one.now);
        assert!(one.outlier.is_ejected(one.now), "others wait for that one");
        assert!(!one.look(1, 0));
    }

    #[test]
    fn a_server_that_refuses_some_and_answers_more_is_not_ejected() {
        let mut one = One::new();
        assert!(!one.look(5, 5));
        assert!(!one.look(0, 0));
    }

    #[test]
    fn the_time_is_bounded() {
        let mut one = One::new();
        for _ in 0..40 {
            one.now = one.outlier.until.unwrap_or(one.now);
            one.outlier.on_open(one.now);
            one.look(0, 1);
        }
        assert_eq!(one.outlier.until, Some(one.now + MAX_EJECTION));
    }
}

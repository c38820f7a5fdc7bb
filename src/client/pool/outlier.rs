//! Outlier ejection: a connection whose channels fail is avoided.
//!
//! A channel fails that the peer refuses, resets or finishes before it has sent a
//! byte. The first failure counts, since a server that fails at once is always the
//! least loaded, and would get every channel. The time starts short, so that a single
//! failure costs a healthy connection nearly nothing, and doubles with each failure in
//! a row. After it one channel tries the connection again.

use std::time::{Duration, Instant};

use super::link::Seen;

/// How long a connection is avoided after the first failure, and at most.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(300);

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

    fn eject(&mut self, now: Instant) {
        let doubled = 1 << self.ejections.saturating_sub(1).min(16);
        self.until = Some(now + FIRST.saturating_mul(doubled).min(LONGEST));
        self.probing = false;
    }

    pub fn is_ejected(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }
}

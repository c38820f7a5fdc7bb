//! The dials of one target: when the next may begin, and how the last ones went.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::backoff::Backoff;
use crate::client::ConnectError;

/// A dial that takes longer goes over a long link, or has lost a packet. On a fast link
/// one connection takes a burst before another dial would be over.
const SLOW: Duration = Duration::from_millis(5);

/// How long the pool waits for a dial beyond its time: its runtime may not be run.
const GRACE: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Dial {
    /// When it is to begin.
    at: Instant,
    /// When it did. Its task may wait for its turn behind all that waits for it.
    began: Option<Instant>,
}

impl Dial {
    fn begins(&self) -> Instant {
        self.began.unwrap_or(self.at)
    }

    /// When it is slow, if it has started.
    fn slow_at(&self) -> Option<Instant> {
        self.began.map(|began| began + SLOW)
    }
}

#[derive(Debug, Default)]
pub(super) struct Dials {
    pending: BTreeMap<u64, Dial>,
    backoff: Backoff,
    /// Until when those who wait leave the first connection of several.
    settles_at: Option<Instant>,
    last_error: Option<ConnectError>,
    /// Dials so far.
    pub started: u64,
    /// Dials that failed, and connections that ended before they were good.
    pub failed: u64,
}

impl Dials {
    /// Notes a dial; when it is to begin.
    pub fn add(&mut self, id: u64, now: Instant) -> Instant {
        let at = self.backoff.start(now);
        self.started += 1;
        self.pending.insert(id, Dial { at, began: None });
        at
    }

    pub fn begin(&mut self, id: u64, now: Instant) {
        if let Some(dial) = self.pending.get_mut(&id) {
            dial.began = Some(now);
        }
    }

    /// A dial is over, however it ended; when it had started. `None` if the pool did not
    /// wait for it any more.
    pub fn end(&mut self, id: u64) -> Option<Instant> {
        self.pending.remove(&id).map(|dial| dial.begins())
    }

    /// A dial that began at `began` has succeeded: those that began with it are about to
    /// end too. How many those are, for whom callers wait a little.
    pub fn siblings(&mut self, began: Instant, now: Instant) -> usize {
        let took = now.saturating_duration_since(began);
        let until = now + took / 2;
        let expected = self
            .pending
            .values()
            .map(|dial| dial.begins() + took + took / 8);
        let expected: Vec<Instant> = expected.filter(|at| (now..=until).contains(at)).collect();
        self.settles_at = expected.iter().max().copied();
        expected.len()
    }

    pub fn settles(&self, now: Instant) -> bool {
        !self.pending.is_empty() && self.settles_at.is_some_and(|at| now < at)
    }

    /// A dial failed, or a connection ended before it was good.
    pub fn fail(&mut self, error: ConnectError, now: Instant) {
        self.failed += 1;
        self.last_error = Some(error);
        self.put_off(now);
    }

    /// A dial was in vain.
    pub fn put_off(&mut self, now: Instant) {
        // Dials that began together fail as one.
        if self.pending.is_empty() || self.backoff.is_clear() {
            self.backoff.failed(now);
        }
    }

    /// A connection was good and ended soon.
    pub fn pause(&mut self, now: Instant) {
        self.backoff.pause(now);
    }

    /// A connection is good.
    pub fn clear(&mut self) {
        self.backoff.clear();
    }

    pub fn is_failing(&self) -> bool {
        !self.backoff.is_clear()
    }

    /// What went wrong last, if nothing went well since.
    pub fn error(&self) -> Option<ConnectError> {
        self.last_error.clone().filter(|_| self.is_failing())
    }

    pub fn count(&self) -> usize {
        self.pending.len()
    }

    /// Those that do not wait for their time.
    pub fn under_way(&self, now: Instant) -> usize {
        self.pending.values().filter(|dial| dial.at <= now).count()
    }

    /// Dials from which a connection may be expected: not those that are late.
    pub fn promising(&self, suspect_after: Duration, now: Instant) -> usize {
        self.pending
            .values()
            .filter(|dial| now < dial.at + suspect_after)
            .count()
    }

    pub fn is_slow(&self, now: Instant) -> bool {
        self.pending
            .values()
            .any(|dial| dial.slow_at().is_some_and(|at| at <= now))
    }

    /// Gives up those that were not over in time, nor failed: nobody runs them.
    pub fn expire(&mut self, within: Duration, now: Instant) {
        let grace = within + GRACE;
        self.pending.retain(|_, dial| now < dial.at + grace);
    }

    /// When something changes of itself, for callers who wait or for none.
    pub fn next(
        &self,
        suspect_after: Duration,
        within: Duration,
        waiting: bool,
        now: Instant,
    ) -> Option<Instant> {
        let times = self.pending.values().flat_map(|dial| {
            let (slow, suspect) = (dial.slow_at(), dial.at + suspect_after);
            let soon = [slow, Some(suspect)].map(|at| at.filter(|_| waiting));
            [soon[0], soon[1], Some(dial.at + within + GRACE)]
        });
        let settles = self.settles_at.filter(|_| waiting);
        let times = times.flatten().chain(settles);
        times.filter(|at| *at > now).min()
    }
}

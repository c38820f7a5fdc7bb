//! When the name of a target is resolved.

use std::time::{Duration, Instant};

use crate::backoff::Backoff;
use crate::client::ConnectError;

/// The least time between two questions: dials that fail one after another ask for more.
const GAP: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Resolution {
    interval: Duration,
    backoff: Backoff,
    /// The resolver was asked and has not answered.
    asked: bool,
    last: Instant,
    due: Instant,
    /// Why there is no answer, since the last one.
    error: Option<ConnectError>,
}

impl Resolution {
    pub fn new(interval: Duration, now: Instant) -> Self {
        Resolution {
            interval,
            backoff: Backoff::default(),
            asked: false,
            last: now,
            due: now,
            error: None,
        }
    }

    /// Whether the resolver is to be asked now, which is then noted.
    #[must_use]
    pub fn begin(&mut self, now: Instant) -> bool {
        let begins = !self.asked && self.due <= now;
        if begins {
            (self.asked, self.last) = (true, now);
        }
        begins
    }

    /// The question ended with its runtime.
    pub fn lost(&mut self) {
        self.asked = false;
    }

    /// The resolver has answered, or has failed. The interval is up to a tenth longer or
    /// shorter, so that clients that began together don't ask together.
    pub fn end(&mut self, error: Option<ConnectError>, now: Instant) {
        let later = now + self.interval.mul_f64(0.9 + fastrand::f64() / 5.0);
        self.due = match error {
            None => {
                self.backoff.clear();
                later
            }
            Some(_) => {
                self.backoff.failed(now);
                self.backoff.start(now).min(later)
            }
        };
        (self.asked, self.error) = (false, error);
    }

    /// A dial has failed, or a connection has ended: the addresses may have changed.
    pub fn hasten(&mut self, now: Instant) {
        self.due = self.due.min(now.max(self.last + GAP));
    }

    pub fn next(&self) -> Option<Instant> {
        (!self.asked).then_some(self.due)
    }

    /// Why there is no answer, or that there is none yet.
    pub fn error(&self) -> Option<ConnectError> {
        let waits = || ConnectError::resolve("the resolver has not answered yet");
        let error = self.error.clone();
        error.or_else(|| self.asked.then(waits))
    }
}

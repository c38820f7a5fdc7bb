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
    asked: Option<Question>,
    /// Questions so far, and the last of them that was answered.
    questions: u64,
    answered: u64,
    last: Instant,
    due: Instant,
    /// Why there is no answer, since the last one.
    error: Option<ConnectError>,
}

#[derive(Debug)]
struct Question {
    number: u64,
    /// When its task last ran, or it was asked.
    ran: Instant,
}

impl Resolution {
    pub fn new(interval: Duration, now: Instant) -> Self {
        Resolution {
            interval,
            backoff: Backoff::default(),
            asked: None,
            questions: 0,
            answered: 0,
            last: now,
            due: now,
            error: None,
        }
    }

    /// The number of the question that the resolver is to be asked now, if one is. A question
    /// whose task was not run for so long is given up: its runtime may never run again.
    #[must_use]
    pub fn begin(&mut self, late_after: Duration, now: Instant) -> Option<u64> {
        let runs = |asked: &Question| now < asked.ran + late_after;
        if self.due > now || self.asked.as_ref().is_some_and(runs) {
            return None;
        }
        self.questions += 1;
        let (number, ran) = (self.questions, now);
        self.asked = Some(Question { number, ran });
        self.last = now;
        Some(number)
    }

    /// The task of a question runs.
    pub fn runs(&mut self, question: u64, now: Instant) {
        let asked = self.asked.as_mut();
        if let Some(asked) = asked.filter(|asked| asked.number == question) {
            asked.ran = now;
        }
    }

    /// The question ended with its runtime.
    pub fn lost(&mut self, question: u64) {
        self.asked.take_if(|asked| asked.number == question);
    }

    /// The resolver has answered, or has failed; whether that is news. It is not if a later
    /// question was answered before. The interval is up to a tenth longer or shorter, so that
    /// clients that began together don't ask together.
    pub fn end(&mut self, question: u64, error: Option<ConnectError>, now: Instant) -> bool {
        if question < self.answered {
            return false;
        }
        self.answered = question;
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
        self.asked.take_if(|asked| asked.number <= question);
        self.error = error;
        true
    }

    /// A dial has failed, or a connection has ended: the addresses may have changed.
    pub fn hasten(&mut self, now: Instant) {
        self.due = self.due.min(now.max(self.last + GAP));
    }

    pub fn next(&self, late_after: Duration) -> Instant {
        let late = self.asked.as_ref().map(|asked| asked.ran + late_after);
        late.unwrap_or(self.due)
    }

    /// Why there is no answer, or that there is none yet.
    pub fn error(&self) -> Option<ConnectError> {
        let waits = || ConnectError::resolve("the resolver has not answered yet");
        let error = self.error.clone();
        error.or_else(|| self.asked.as_ref().map(|_| waits()))
    }
}

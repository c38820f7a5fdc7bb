//! When the name of a target is resolved.

use std::time::{Duration, Instant};

use crate::backoff::Backoff;
use crate::client::ConnectError;

/// The least time between two questions: dials that fail one after another ask for more.
const GAP: Duration = Duration::from_secs(1);

/// How often the time is doubled after which a question is given up.
const MOST_DOUBLED: u32 = 2;

#[derive(Debug)]
pub(super) struct Resolution {
    interval: Duration,
    backoff: Backoff,
    /// The resolver was asked and has not answered.
    asked: Option<Question>,
    /// Questions so far, and the last of them that was answered.
    questions: u64,
    answered: u64,
    /// Questions that were given up since then.
    given_up: u32,
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
            given_up: 0,
            last: now,
            due: now,
            error: None,
        }
    }

    /// The number of the question that the resolver is to be asked now, if one is. A question
    /// whose task was not run for so long is given up: its runtime may never run again. The next
    /// one has twice as long, so that few tasks wait on a runtime that nobody runs.
    #[must_use]
    pub fn begin(&mut self, late_after: Duration, now: Instant) -> Option<u64> {
        if self.next(late_after) > now {
            return None;
        }
        self.given_up += u32::from(self.asked.is_some());
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
        (self.given_up, self.error) = (0, error);
        true
    }

    /// A dial has failed, or a connection has ended: the addresses may have changed.
    pub fn hasten(&mut self, now: Instant) {
        self.due = self.due.min(now.max(self.last + GAP));
    }

    pub fn next(&self, late_after: Duration) -> Instant {
        let late_after = late_after * 2_u32.pow(self.given_up.min(MOST_DOUBLED));
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

#[cfg(test)]
mod tests {
    use super::*;

    const LATE: Duration = Duration::from_secs(2);

    #[test]
    fn a_question_whose_task_runs_is_the_only_one() {
        let start = Instant::now();
        let mut resolution = Resolution::new(LATE, start);
        let question = resolution.begin(LATE, start).unwrap();
        for seconds in 1..60 {
            let now = start + Duration::from_secs(seconds);
            resolution.runs(question, now);
            assert_eq!(resolution.begin(LATE, now), None);
        }
    }

    #[test]
    fn questions_that_nobody_runs_are_given_up_ever_later() {
        let start = Instant::now();
        let mut resolution = Resolution::new(LATE, start);
        let asked = |seconds: &u64| {
            let now = start + Duration::from_secs(*seconds);
            resolution.begin(LATE, now).is_some()
        };
        let asked: Vec<u64> = (0..60).filter(asked).collect();
        assert_eq!(asked, [0, 2, 6, 14, 22, 30, 38, 46, 54]);
    }

    #[test]
    fn an_answer_to_an_earlier_question_than_the_last_that_was_answered_is_no_news() {
        let start = Instant::now();
        let mut resolution = Resolution::new(LATE, start);
        let first = resolution.begin(LATE, start).unwrap();
        let second = resolution.begin(LATE, start + LATE).unwrap();
        assert!(resolution.end(second, None, start + LATE));
        assert!(!resolution.end(first, None, start + LATE));
    }
}

//! The channel to come.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::error::ConnectError;
use super::pool::{Found, Target, Waiting};
use crate::driver::Channel;
use crate::observability::{Label, Opening};

/// The channel to come. Dropping it loses no dial for other callers.
///
/// Nothing is asked for before the first poll. A channel of a connection that is up comes
/// with that poll, and nothing is allocated for the future.
#[must_use = "futures do nothing unless polled"]
pub struct Connecting(State);

enum State {
    Asks(Arc<Target>, Vec<Label>),
    Waits(Waiting<Channel>, Opening),
    Over,
}

impl Connecting {
    pub(super) fn new(target: Arc<Target>, labels: Vec<Label>) -> Self {
        Connecting(State::Asks(target, labels))
    }
}

impl fmt::Debug for Connecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connecting").finish_non_exhaustive()
    }
}

impl Future for Connecting {
    type Output = Result<Channel, ConnectError>;

    /// # Panics
    ///
    /// After it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let State::Asks(..) = self.0
            && let State::Asks(target, labels) = std::mem::replace(&mut self.0, State::Over)
        {
            let mut opening = Opening::begin(labels);
            match target.open() {
                Found::Ready(result) => return Poll::Ready(ended(opening, result)),
                Found::Waits(waiting) => {
                    opening.waits();
                    self.0 = State::Waits(waiting, opening);
                }
            }
        }
        let State::Waits(waiting, _) = &mut self.0 else {
            panic!("`Connecting` was polled after it was ready");
        };
        let result = ready!(Pin::new(waiting).poll(cx));
        match std::mem::replace(&mut self.0, State::Over) {
            State::Waits(_, opening) => Poll::Ready(ended(opening, result)),
            State::Asks(..) | State::Over => Poll::Ready(result),
        }
    }
}

fn ended(opening: Opening, result: Result<Channel, ConnectError>) -> Result<Channel, ConnectError> {
    opening.ends(result.as_ref().err().map(ConnectError::word));
    result
}

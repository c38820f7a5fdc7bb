//! Where those who wait find their answers.

use std::collections::BTreeMap;
use std::task::Waker;

use super::waiters::WaiterId;
use crate::client::ConnectError;

pub(super) struct Answers<T>(BTreeMap<WaiterId, Waiting<T>>);

struct Waiting<T> {
    waker: Option<Waker>,
    answer: Option<Result<T, ConnectError>>,
}

impl<T> Default for Answers<T> {
    fn default() -> Self {
        Answers(BTreeMap::new())
    }
}

/// To wake or drop a waker or an answer may run anything, so none of it is done here:
/// the caller does it without a lock.
impl<T> Answers<T> {
    pub fn enter(&mut self, id: WaiterId) {
        let (waker, answer) = (None, None);
        self.0.insert(id, Waiting { waker, answer });
    }

    /// Leaves an answer; whom to wake.
    #[must_use]
    pub fn give(&mut self, id: WaiterId, answer: Result<T, ConnectError>) -> Option<Waker> {
        let waiting = self.0.get_mut(&id)?;
        waiting.answer = Some(answer);
        waiting.waker.take()
    }

    /// The answer, which is then forgotten, or else the waker is kept; and what was
    /// kept before.
    #[must_use]
    pub fn poll(
        &mut self,
        id: WaiterId,
        waker: &Waker,
    ) -> (Option<Result<T, ConnectError>>, Option<Waker>) {
        let Some(waiting) = self.0.get_mut(&id) else {
            return (None, None);
        };
        if let Some(answer) = waiting.answer.take() {
            let waiting = self.0.remove(&id);
            return (Some(answer), waiting.and_then(|waiting| waiting.waker));
        }
        match &waiting.waker {
            Some(there) if there.will_wake(waker) => (None, None),
            _ => (None, waiting.waker.replace(waker.clone())),
        }
    }

    /// One goes away; what was kept for it, if it had not got its answer.
    #[must_use]
    pub fn leave(&mut self, id: WaiterId) -> Option<impl Sized + use<T>> {
        self.0.remove(&id)
    }
}

//! Where those who wait find their answers.

use std::collections::BTreeMap;
use std::task::Waker;

use super::waiters::WaiterId;
use crate::client::ConnectError;

pub(super) struct Places<T>(BTreeMap<WaiterId, Place<T>>);

struct Place<T> {
    waker: Option<Waker>,
    answer: Option<Result<T, ConnectError>>,
}

impl<T> Default for Places<T> {
    fn default() -> Self {
        Places(BTreeMap::new())
    }
}

/// To wake or drop a waker or an answer may run anything, so none of it is done here:
/// the caller does it without a lock.
impl<T> Places<T> {
    pub fn enter(&mut self, id: WaiterId) {
        let (waker, answer) = (None, None);
        self.0.insert(id, Place { waker, answer });
    }

    /// Leaves an answer; whom to wake.
    #[must_use]
    pub fn give(&mut self, id: WaiterId, answer: Result<T, ConnectError>) -> Option<Waker> {
        let place = self.0.get_mut(&id)?;
        place.answer = Some(answer);
        place.waker.take()
    }

    /// The answer, whose place is gone with it, or else the waker is kept; and what was
    /// kept before.
    #[must_use]
    pub fn poll(
        &mut self,
        id: WaiterId,
        waker: &Waker,
    ) -> (Option<Result<T, ConnectError>>, Option<Waker>) {
        let Some(place) = self.0.get_mut(&id) else {
            return (None, None);
        };
        if let Some(answer) = place.answer.take() {
            let place = self.0.remove(&id);
            return (Some(answer), place.and_then(|place| place.waker));
        }
        match &place.waker {
            Some(there) if there.will_wake(waker) => (None, None),
            _ => (None, place.waker.replace(waker.clone())),
        }
    }

    /// One goes away; what was kept for it, if it had not got its answer.
    #[must_use]
    pub fn leave(&mut self, id: WaiterId) -> Option<impl Sized + use<T>> {
        self.0.remove(&id)
    }
}

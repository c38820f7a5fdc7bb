//! Callers that wait for a channel, in the order in which they came.

use std::collections::BTreeMap;
use std::task::Waker;

/// The place of a caller.
pub(super) type Place = u64;

#[derive(Default)]
pub(super) struct Queue {
    next: Place,
    waiting: usize,
    /// Those that are to be woken. One that was and found nothing comes back to
    /// its place.
    asleep: BTreeMap<Place, Waker>,
    /// Wakers for [`take_woken`](Self::take_woken): to wake or drop one may run
    /// anything, so that is not done under a lock.
    woken: Vec<Waker>,
}

impl Queue {
    /// Callers that wait.
    pub fn len(&self) -> usize {
        self.waiting
    }

    pub fn enter(&mut self) -> Place {
        self.waiting += 1;
        self.next += 1;
        self.next
    }

    pub fn sleep(&mut self, place: Place, waker: &Waker) {
        match self.asleep.get(&place) {
            Some(there) if there.will_wake(waker) => {}
            _ => self.woken.extend(self.asleep.insert(place, waker.clone())),
        }
    }

    pub fn leave(&mut self, place: Place) {
        self.waiting -= 1;
        self.woken.extend(self.asleep.remove(&place));
    }

    /// Wakes so many of them.
    pub fn wake(&mut self, most: usize) {
        for _ in 0..most {
            match self.asleep.pop_first() {
                Some((_, waker)) => self.woken.push(waker),
                None => return,
            }
        }
    }

    #[must_use]
    pub fn take_woken(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.woken)
    }
}

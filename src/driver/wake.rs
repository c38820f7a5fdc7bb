//! What the task wakes, and whether it runs again behind that.

use std::task::Waker;

use crate::observability::Noted;

/// What to wake once the locks are free.
#[derive(Debug, Default)]
pub(super) struct Wake {
    pub wakers: Vec<Waker>,
    /// Channels that have something to read.
    pub readable: usize,
    pub acceptable: bool,
    pub openable: bool,
    pub noted: Noted,
    /// One alone can read a message, so the task runs again behind it.
    pub is_for_one: bool,
    /// Behind the last of those there was nothing to send, as is so with events. Then it does not.
    pub is_unanswered: bool,
}

impl Wake {
    pub fn is_empty(&self) -> bool {
        let nobody = self.wakers.is_empty() && !self.acceptable && !self.openable;
        nobody && self.readable == 0 && self.noted.is_empty()
    }

    /// Something has changed that a pool acts on.
    pub fn note_changed(&mut self, changed: bool) {
        self.openable |= changed;
    }

    /// Channels whose readers and writers are to be woken.
    pub fn count(&self) -> usize {
        self.wakers.len()
    }

    /// Whether there is something to read for more than one channel that ends
    /// and one that begins.
    pub fn is_for_many(&self) -> bool {
        self.readable > 2
    }
}

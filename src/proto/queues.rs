//! The queues that name channels. One that is closed leaves them by and by.

use std::collections::VecDeque;

/// Entries that a queue may have beside those of living channels, so that a short queue
/// is never looked through.
const SLACK: usize = 16;

/// A queue that a channel may be in, once at a time.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(super) enum Queue {
    /// Control frames wait to leave.
    Control = 1,
    /// Bytes or the end wait to leave.
    Data = 2,
    /// Others must pay back what they have borrowed before this one sends.
    Budget = 4,
    /// A timer gives the WINDOW.
    Window = 8,
    /// [`Event::Readable`](super::Event::Readable) was not polled yet.
    Readable = 16,
    /// [`Event::Writable`](super::Event::Writable) was not polled yet.
    Writable = 32,
}

/// The queues that one channel is in.
#[derive(Debug, Default)]
pub(super) struct QueueSet(u8);

impl QueueSet {
    pub fn has(&self, queue: Queue) -> bool {
        self.0 & queue as u8 != 0
    }

    /// Whether it was not in it.
    pub fn insert(&mut self, queue: Queue) -> bool {
        let news = !self.has(queue);
        self.0 |= queue as u8;
        news
    }

    pub fn remove(&mut self, queue: Queue) {
        self.0 &= !(queue as u8);
    }
}

/// Throws out the entries of channels that are closed, once they are half of the queue. So
/// the `living` entries bound it, and each is looked at a few times at most.
pub(super) fn sweep<E>(queue: &mut VecDeque<E>, living: usize, lives: impl Fn(&E) -> bool) {
    let most = 2 * living + SLACK;
    if queue.len() > most {
        queue.retain(lives);
        queue.shrink_to(most);
    }
}

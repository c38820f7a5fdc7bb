//! The queues that name channels. One that is over leaves them by and by.

use std::collections::VecDeque;

use super::channel::State;
use super::table::Table;
use super::{Connection, Event, Key};

/// Entries that a queue may have beside those of living channels.
const SPARE: usize = 16;

/// What a queue holds.
pub(super) trait Entry {
    /// The most entries that one channel has in a queue.
    const EACH: usize = 1;

    /// The channel that it names, if it names one.
    fn channel(&self) -> Option<Key>;
}

impl Entry for Key {
    fn channel(&self) -> Option<Key> {
        Some(*self)
    }
}

impl Entry for Event {
    const EACH: usize = 2;

    fn channel(&self) -> Option<Key> {
        match self {
            Event::Readable(key) | Event::Writable(key) => Some(*key),
            _ => None,
        }
    }
}

/// Throws out what names channels that are over, once that is half of the queue. So
/// the living channels bound the queue, and each entry is looked at a few times at
/// most.
pub(super) fn sweep<E: Entry>(queue: &mut VecDeque<E>, channels: &Table) {
    let most = 2 * E::EACH * channels.len() + SPARE;
    if queue.len() > most {
        queue.retain(|entry| entry.channel().is_none_or(|key| channels.has(key)));
        queue.shrink_to(most);
    }
}

impl Connection {
    /// A channel has left the table. It may be in any queue but two: one whose OPEN
    /// has not left, or that was not accepted, can't be over. `parting` has a bound of
    /// its own. From the others nothing else may ever be taken, if the peer reads
    /// nothing. In version 1 a channel is over only once its end has left.
    pub(super) fn sweep(&mut self, gone: &State) {
        if gone.waits_for_budget {
            sweep(&mut self.send_budget.waiting, &self.channels);
        }
        if gone.window_delayed {
            sweep(&mut self.recv_budget.delayed, &self.channels);
        }
        if self.is_v0() {
            sweep(&mut self.owed.control, &self.channels);
            self.scheduler.sweep(&self.channels);
            self.events.sweep(&self.channels);
        }
    }
}

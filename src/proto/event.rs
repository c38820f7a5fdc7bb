use std::collections::VecDeque;

use super::key::Key;
use super::queues;

/// What [`Connection::poll_event`](super::Connection::poll_event) reports.
///
/// Events are hints to look again: each is reported at most once until it is
/// polled, so a queue of them is bounded by the number of channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Event {
    /// The hellos of both sides have been exchanged.
    Connected,
    /// The peer opened a channel: [`Connection::accept`](super::Connection::accept).
    Acceptable,
    /// The peer takes channels again, after none, or the last number was used:
    /// [`Connection::open`](super::Connection::open).
    Openable,
    /// A channel has bytes, an end or an error to read.
    Readable(Key),
    /// A channel takes bytes again, or failed.
    Writable(Key),
    /// The peer is late with an answer.
    Suspect,
    /// The peer was late and has been heard again.
    Recovered,
    /// The peer asks for no more channels.
    Draining,
    /// This side drained, and the peer has opened all that it ever will.
    Drained,
    /// The connection ended, and
    /// [`Connection::error`](super::Connection::error) says why; nothing follows.
    Closed,
}

/// Events that are not polled yet. A channel knows which of its own are among them.
#[derive(Debug, Default)]
pub(super) struct Events {
    queue: VecDeque<Event>,
    /// Those of the connection that are in the queue, and [`CLOSED`] for ever.
    queued: u16,
}

/// The bit of [`Event::Closed`], the last event: none is queued after it.
const CLOSED: u16 = 1;

impl Events {
    pub fn push(&mut self, event: Event) {
        let bit = event.bit();
        if self.queued & (bit | CLOSED) == 0 {
            self.queued |= bit;
            self.queue.push_back(event);
        }
    }

    #[cfg(feature = "tokio")]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub fn pop(&mut self) -> Option<Event> {
        let event = self.queue.pop_front()?;
        self.queued &= !event.bit() | CLOSED;
        Some(event)
    }

    /// A channel is closed. A living one has two entries at most.
    pub fn sweep(&mut self, living: usize, lives: impl Fn(&Key) -> bool) {
        queues::sweep(&mut self.queue, 2 * living, |event| match event {
            Event::Readable(key) | Event::Writable(key) => lives(key),
            _ => true,
        });
    }
}

impl Event {
    /// One for each kind of the connection's.
    fn bit(self) -> u16 {
        match self {
            Event::Readable(_) | Event::Writable(_) => 0,
            Event::Closed => CLOSED,
            Event::Connected => 1 << 1,
            Event::Acceptable => 1 << 2,
            Event::Openable => 1 << 3,
            Event::Suspect => 1 << 4,
            Event::Recovered => 1 << 5,
            Event::Draining => 1 << 6,
            Event::Drained => 1 << 7,
        }
    }
}

use super::Key;

/// What [`Connection::poll_event`](super::Connection::poll_event) reports.
///
/// Events are hints to look again: each is reported at most once until it is
/// polled, so a queue of them is bounded by the number of channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Event {
    /// Both hellos are through.
    Connected,
    /// The peer opened a channel: [`Connection::accept`](super::Connection::accept).
    Acceptable,
    /// The peer takes channels again, after none: [`Connection::open`](super::Connection::open).
    Openable,
    /// A channel has bytes, an end or an error to read.
    Readable(Key),
    /// A channel takes bytes again, or failed.
    Writable(Key),
    /// The peer is late with an answer.
    Suspect,
    /// The peer was late and has been heard again.
    Recovered,
    /// The transport carries little for its round-trip time, as a lossy link
    /// does: [`Stats::held_up`](super::Stats::held_up).
    HeldUp,
    /// The peer asks for no more channels.
    Draining,
    /// This side drained, and the peer has opened all that it ever will.
    Drained,
    /// The connection ended, and
    /// [`Connection::error`](super::Connection::error) says why; nothing follows.
    Closed,
}

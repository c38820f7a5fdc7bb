//! Channels that the application finished and let go of before the peer's end
//! came. The peer gets a FIN, so mostly ends them by itself: a STOP would only cost
//! a RESET. It follows where the peer sends more, and at the latest with the next
//! ping (a second after the last was answered), or when the connection is to close.

use std::collections::VecDeque;

use super::channel::{Half, State};
use super::error::code;
use super::{Connection, Drain, Key};

/// Channels that wait for that, those included that are over meanwhile; the first
/// gets its STOP for another. So many are under way at a thousand requests a second
/// over a second's round trip.
const MOST: usize = 1024;

impl State {
    /// Whether STOP is not needed yet, for a channel that is being let go of: the
    /// peer gets its FIN now, and has credit, so that it shows if it sends more.
    pub fn may_end_by_itself(&self) -> bool {
        let finished = match self.send.half {
            Half::Ending => self.send.buffer.is_empty(),
            half => half == Half::Done,
        };
        let credit = self.recv.credit.received < self.recv.credit.told().0 && !self.owed.window;
        finished && credit && !self.peer_ended && self.recv.half.is_alive()
    }
}

impl Connection {
    /// Waits for the peer's end of a channel, unless others wait for that: for the
    /// end of the connection, or for the peer's channels to become fewer.
    pub(super) fn part(&mut self, key: Key) {
        let ours = self.channels.get(key).is_some_and(|state| state.ours);
        if !self.is_open() || self.drain != Drain::No || !ours && self.is_peer_short() {
            return self.stop_parting(key);
        }
        self.liveness.on_sent(); // so that there is a ping
        self.parting.push_back(key);
        if self.parting.len() > MOST
            && let Some(first) = self.parting.pop_front()
        {
            self.stop_parting(first);
        }
    }

    /// Waits no more for the peer's end of a channel, if that is still to come.
    pub(super) fn stop_parting(&mut self, key: Key) {
        if let Some(state) = self.channels.get_mut(key)
            && std::mem::take(&mut state.parting)
            && !state.peer_ended
        {
            state.owed.stop = true;
            self.counters.give_up(state, code::NONE);
            self.queue_control(key);
        }
    }

    /// Waits no more for any.
    pub(crate) fn stop_all_parting(&mut self) {
        for key in std::mem::take(&mut self.parting) {
            self.stop_parting(key);
        }
    }
}

/// The channels that wait, the first of them first. Some may be over.
pub(super) type Parting = VecDeque<Key>;

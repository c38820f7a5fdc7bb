//! Channels that were finished and released before the peer's end came. The peer gets a
//! FIN, so mostly ends them by itself: a STOP would only cost a RESET. It follows where
//! the peer sends more, and at the latest with the next ping (a second after the last
//! was answered), or when the connection is to close.

use std::collections::VecDeque;

use super::channel::{Channel, Stop};
use super::key::Key;

/// Channels that wait for that, those included that are over meanwhile; the first
/// gets its STOP for another. So many are under way at a thousand requests a second
/// over a second's round trip.
const MOST: usize = 1024;

/// The channels that wait, the first of them first. Some may be over.
#[derive(Debug, Default)]
pub(super) struct DeferredStops(VecDeque<Key>);

impl DeferredStops {
    /// One more waits; the one that does so no longer for it.
    pub fn push(&mut self, key: Key) -> Option<Key> {
        self.0.push_back(key);
        match self.0.len() > MOST {
            true => self.0.pop_front(),
            false => None,
        }
    }

    pub fn take(&mut self) -> impl Iterator<Item = Key> + use<> {
        std::mem::take(&mut self.0).into_iter()
    }
}

impl Channel {
    /// Waits no more for the peer's end; whether that is still to come.
    pub fn send_deferred_stop(&mut self) -> bool {
        let deferred = self.pending.stop == Stop::Deferred;
        if deferred {
            self.pending.stop = Stop::Pending;
        }
        deferred
    }
}

//! What the application asks of a connection.

use super::channel::{Cause, Half, State};
use super::error::{REFUSED, code};
use super::{
    ChannelError, Connection, ConnectionError, Drain, Event, Key, MOST_ENDING, MOST_LEAVING,
    MOST_TAKEN, OpenError,
};
use crate::wire::Version;

/// What a read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Read {
    /// So many bytes, at least 1.
    Bytes(usize),
    /// Nothing yet: [`Event::Readable`] tells when to look again.
    Blocked,
    /// The clean end: the peer finished, and every byte was read.
    Finished,
}

impl Connection {
    /// Opens a channel. Costs no round trip: the open and what is written next
    /// leave together.
    ///
    /// # Errors
    ///
    /// [`OpenError::Blocked`] when the peer takes no more for now, or has yet to
    /// take 16 MiB of channels that were released; the others when it never
    /// will.
    pub fn open(&mut self) -> Result<Key, OpenError> {
        if let Some(error) = &self.end {
            return Err(OpenError::Connection(error.clone()));
        }
        if !self.is_open() {
            return Err(OpenError::Draining);
        }
        if self.room() == 0 {
            return Err(OpenError::Blocked);
        }
        let id = self.next_id();
        self.local.opened += 1;
        self.counters.opened += 1;
        let state = self.begin(id, true);
        let key = self.channels.insert(state);
        self.owed.opens.push_back(key);
        if self.ids_left() == 0 {
            self.events.push(Event::Openable); // those who wait for room learn of it
        }
        Ok(key)
    }

    /// Channels that can be opened now.
    pub(super) fn room(&self) -> u32 {
        match self.leaving < MOST_LEAVING {
            true => self
                .local
                .limit
                .saturating_sub(self.local.opened)
                .min(self.ids_left()),
            false => 0,
        }
    }

    /// Channels that can be opened at all. Version 0 uses numbers again.
    fn ids_left(&self) -> u32 {
        match self.is_v0() {
            true => u32::MAX,
            false => (i32::MAX as u32 + 2).saturating_sub(self.local.next) / 2,
        }
    }

    /// The next channel that the peer opened.
    #[must_use = "every channel must be released at last"]
    pub fn accept(&mut self) -> Option<Key> {
        while let Some(key) = self.incoming.pop_front() {
            if let Some(state) = self.channels.get_mut(key) {
                state.handed = true;
                self.unseen += 1;
                self.last_handed = state.id;
                return Some(key);
            }
        }
        None
    }

    /// Whether [`accept`](Self::accept) will never find a channel again.
    #[cfg(feature = "server")]
    pub(crate) fn has_accepted_all(&self) -> bool {
        self.incoming.is_empty() && (self.is_drained() || self.end.is_some())
    }

    /// Refuses the channels that wait to be accepted: the peer may try again
    /// elsewhere what they were for.
    pub fn refuse_waiting(&mut self) {
        while let Some(key) = self.incoming.pop_front() {
            self.release_with(key, REFUSED);
        }
    }

    /// Whether the application has accepted the channel and not begun with it, by
    /// reading, writing or finishing.
    #[cfg(feature = "server")]
    pub(crate) fn is_unseen(&self, key: Key) -> bool {
        self.channels.get(key).is_some_and(State::is_unseen)
    }

    /// Whether no channel is that.
    #[cfg(feature = "server")]
    pub(crate) fn has_seen_all(&self) -> bool {
        self.unseen == 0
    }

    /// Whether this side opened the channel and has not begun with it.
    #[cfg(feature = "hyper")]
    pub(crate) fn is_fresh(&self, key: Key) -> bool {
        let state = self.channels.get(key);
        state.is_some_and(|state| state.ours && !state.begun)
    }

    /// Of a channel that this side opened and wrote to, where the peer reads no more and
    /// its answer has not been read to the end: the bytes that wait for that.
    #[cfg(feature = "hyper")]
    pub(crate) fn unanswered(&self, key: Key) -> Option<usize> {
        let state = self.channels.get(key)?;
        let waits = state.ours && state.begun && state.may_be_answered();
        waits.then(|| state.recv.buffer.len())
    }

    /// Asks the peer to open no more channels. What it opened before it knew
    /// still arrives; [`Event::Drained`] tells when nothing more can.
    pub fn drain(&mut self) {
        if self.end.is_some() || self.drain != Drain::No {
            return;
        }
        match self.is_v0() {
            true => self.drained(),
            false => {
                self.drain = Drain::Asked(None);
                self.owed.drain = true;
                self.stop_all_parting();
            }
        }
    }

    /// Whether this side drained, and the peer has opened all that it will.
    pub fn is_drained(&self) -> bool {
        self.drain == Drain::Done
    }

    pub(super) fn drained(&mut self) {
        self.drain = Drain::Done;
        self.events.push(Event::Drained);
    }

    /// Ends the connection and every channel on it, now.
    pub fn close(&mut self, text: &str) {
        let text: String = text.chars().take(crate::wire::MAX_TEXT / 4).collect();
        self.go_away(code::NONE, &text, ConnectionError::Closed);
    }

    /// Whether channels can still be opened.
    pub fn is_open(&self) -> bool {
        self.end.is_none() && !self.local.draining && self.ids_left() > 0
    }

    /// Whether credit waits to be given back for what was read of the channel, so
    /// that a driver knows when a read gave it something to send.
    pub fn owes_credit(&self, key: Key) -> bool {
        let state = self.channels.get(key);
        self.recv_budget.owes_return() || state.is_some_and(|state| state.owed.window)
    }

    /// The number that the channel has on the wire. A version 0 peer may take
    /// the number of a channel whose open has not left yet; it gets another.
    pub fn id(&self, key: Key) -> Option<u32> {
        self.channels.get(key).map(|state| state.id)
    }

    /// Reads into `out`.
    ///
    /// # Errors
    ///
    /// The reason for which no more will come, where that isn't the peer's FIN.
    pub fn read(&mut self, key: Key, out: &mut [u8]) -> Result<Read, ChannelError> {
        let mut at = 0;
        self.read_with(key, out.len(), |bytes| {
            out[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        })
    }

    /// Reads up to `most` bytes, which go to `sink` in pieces.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn read_with(
        &mut self,
        key: Key,
        most: usize,
        sink: impl FnMut(&[u8]),
    ) -> Result<Read, ChannelError> {
        let state = self.channels.held(key).ok_or(ChannelError::Unknown)?;
        let n = state.recv.buffer.take(most, &mut self.spare, sink);
        if n == 0 {
            let half = state.recv.half;
            return match half {
                Half::Failed(cause) if state.recv.buffer.is_empty() => Err(self.error_of(cause)),
                Half::Ending | Half::Done if most > 0 => {
                    state.recv.half = Half::Done;
                    state.begin(&mut self.unseen);
                    Ok(Read::Finished)
                }
                _ => Ok(Read::Blocked),
            };
        }
        state.begin(&mut self.unseen);
        self.buffered -= n as u64;
        match self.version {
            Some(Version::V0) => state.recv.buffer.fit_content(), // no credit to give
            _ => {
                let (credit, waits) = (&state.recv.credit, state.window_delayed);
                let due = match state.peer_ended {
                    true => credit.borrowed() > 0,
                    false => self.recv_budget.is_due(credit, 0, waits),
                };
                if due {
                    self.pay(key);
                }
            }
        }
        Ok(Read::Bytes(n))
    }

    /// Gives back the credit for what was read of a channel, if it is enough.
    pub(super) fn pay(&mut self, key: Key) {
        let Some(state) = self.channels.get_mut(key) else {
            return;
        };
        let (buffer, credit) = (&mut state.recv.buffer, &mut state.recv.credit);
        let waits = state.window_delayed && self.recv_budget.left() > 0;
        // Of a frame whose header has come, the rest will need memory too.
        let coming = match self.receiving == Some(key) {
            true => self.decoder.data_left(),
            false => 0,
        };
        // A few bytes in large blocks hold no credit. To copy more would be dear.
        let unread = buffer.len() + coming;
        let few = buffer.len() <= self.config.settings.initial_window as usize;
        let due = !waits && self.recv_budget.is_due(credit, unread, false);
        if few && (state.peer_ended || due) {
            buffer.fit();
        }
        if state.peer_ended {
            return self.recv_budget.settle(credit, buffer.memory());
        }
        if state.recv.half != Half::Open {
            return; // the peer is asked to stop
        }
        let memory = buffer.memory() + coming;
        if self.recv_budget.pay(credit, memory, waits) && self.end.is_none() {
            state.owed.window = true;
            self.queue_control(key);
        }
    }

    /// Takes bytes to send; how many were taken, 0 if the channel's send
    /// buffer is full: [`Event::Writable`] tells when to try again.
    ///
    /// # Errors
    ///
    /// The reason for which the channel takes no more.
    pub fn write(&mut self, key: Key, bytes: &[u8]) -> Result<usize, ChannelError> {
        let state = self.channels.held(key).ok_or(ChannelError::Unknown)?;
        state.try_begin(&mut self.unseen);
        match state.send.half {
            Half::Open => {}
            Half::Failed(cause) => return Err(self.error_of(cause)),
            Half::Ending | Half::Cut(_) | Half::Done => return Err(ChannelError::Ended),
        }
        let most = self.config.send_buffer;
        let room = most.saturating_sub(state.send.buffer.len());
        let n = room.min(bytes.len());
        state.send.buffer.extend(&bytes[..n], most, &mut self.spare);
        self.queue_data(key);
        Ok(n)
    }

    /// Ends the send half cleanly: FIN follows the bytes that were written.
    /// Finishing twice is harmless.
    ///
    /// # Errors
    ///
    /// The reason for which the half has failed.
    pub fn finish(&mut self, key: Key) -> Result<(), ChannelError> {
        let state = self.channels.held(key).ok_or(ChannelError::Unknown)?;
        state.try_begin(&mut self.unseen);
        match state.send.half {
            Half::Open => state.send.half = Half::Ending,
            Half::Failed(cause) => return Err(self.error_of(cause)),
            Half::Ending | Half::Cut(_) | Half::Done => return Ok(()),
        }
        self.close_if_done_v0(key);
        self.queue_data(key);
        Ok(())
    }

    /// Gives up the send half: what was not sent yet is dropped, and the peer reads an
    /// error with this code. Under version 0 the channel is closed in both directions,
    /// without a code.
    ///
    /// [`REFUSED`] says that what the channel was for may be tried again. It gives up the
    /// receive half too, and only a channel of the peer's that was neither read from, nor
    /// written to or finished can be refused: for any other the code is 0.
    ///
    /// Behind [`finish`](Self::finish) the peer reads an error only if not all had left.
    pub fn reset(&mut self, key: Key, code: u32) {
        let Some(code) = self.living(key).map(|state| state.code(code)) else {
            return;
        };
        if code == REFUSED {
            self.stop_with(key, code);
        }
        self.give_up(key, code, |state| state.fail_send(Cause::Ended(code)));
    }

    /// Gives up the send half as [`reset`](Self::reset) does, but behind what
    /// was written, as far as the peer's window has room for that. One that was
    /// finished stays so.
    pub fn cut(&mut self, key: Key, code: u32) {
        let state = self.channels.get(key);
        if state.is_some_and(|state| state.send.half == Half::Open) {
            self.give_up(key, code, |state| state.cut(code));
        }
    }

    fn give_up(&mut self, key: Key, code: u32, how: impl FnOnce(&mut State)) {
        if self.end.is_some() {
            return;
        }
        let Some(state) = self.channels.held(key) else {
            return;
        };
        if state.send.half.is_alive() {
            how(state);
            self.counters.give_up(state, code);
            self.reset_v0(key);
            self.queue_control(key);
            self.queue_data(key);
        }
    }

    /// Gives up the receive half: the peer is asked to stop, with this code, or 0 where
    /// that is [`REFUSED`], which [`reset`](Self::reset) says.
    /// Under version 0 it is not; what it sends is dropped.
    pub fn stop(&mut self, key: Key, code: u32) {
        self.stop_with(key, if code == REFUSED { code::NONE } else { code });
    }

    fn stop_with(&mut self, key: Key, code: u32) {
        let Some(state) = self.living(key) else {
            return;
        };
        self.buffered -= dropped(state);
        if let Some(state) = self.channels.held(key) {
            state.stop(code, &mut self.recv_budget);
            if state.owed.stop {
                self.counters.give_up(state, code);
            }
            self.close_if_done_v0(key);
            self.queue_control(key);
        }
    }

    /// Lets go of a channel: a send half that was not finished is reset behind
    /// what was written, as far as the peer's window has room for that, and a
    /// receive half that has not ended is stopped; behind a FIN only if the peer
    /// sends more, or has not ended it by the next ping. The key is over after that.
    pub fn release(&mut self, key: Key) {
        self.release_with(key, code::NONE);
    }

    pub(super) fn release_with(&mut self, key: Key, code: u32) {
        let Some(state) = self.channels.held(key) else {
            return;
        };
        self.unseen -= usize::from(state.is_unseen());
        self.buffered -= dropped(state);
        if code == REFUSED {
            self.counters.give_up(state, code);
        }
        if self.end.is_some() {
            let state = self.channels.remove(key);
            self.counters.carried += state.map_or(0, |state| state.carried());
            return;
        }
        let cut = state.send.half == Half::Open;
        state.release(code, &mut self.recv_budget);
        if cut || state.owed.stop {
            self.counters.give_up(state, code);
        }
        self.leaving += state.send.buffer.len();
        self.ending += usize::from(state.ours);
        if state.parting && !self.is_v0() {
            self.part(key);
        } else {
            self.release_v0(key);
            self.queue_control(key);
            self.queue_data(key);
        }
        self.forget_if_over(key);
        if self.ending > MOST_ENDING + self.peer.max_channels.min(MOST_TAKEN) as usize {
            let text = "channels that were given up are not ended";
            self.go_away(
                code::LIMIT,
                text,
                ConnectionError::violation(code::LIMIT, text),
            );
        }
    }

    fn living(&mut self, key: Key) -> Option<&mut State> {
        let ended = self.end.is_some();
        self.channels.held(key).filter(|_| !ended)
    }

    fn error_of(&self, cause: Cause) -> ChannelError {
        match (cause, &self.end) {
            (Cause::Reset(code), _) => ChannelError::Reset(code),
            (Cause::Stopped(code), _) => ChannelError::Stopped(code),
            (Cause::Refused, end) => ChannelError::Refused(end.clone()),
            (Cause::Connection, Some(error)) => ChannelError::Connection(error.clone()),
            (Cause::Ended(_) | Cause::Connection, _) => ChannelError::Ended,
        }
    }
}

/// Bytes that go with a channel's receive half.
fn dropped(state: &State) -> u64 {
    state.recv.buffer.len() as u64
}

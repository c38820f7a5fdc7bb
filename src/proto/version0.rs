//! What is different with a version 0 peer, the Python package `tcpchan`.
//!
//! It knows CLOSE alone, which ends a channel in both directions at once: no
//! half-close, no reset and no flow control. It opens channels under random
//! numbers, raises when it gets an OPEN for a number that is in use, and drops
//! the connection at an op above 5.

use super::channel::{Cause, Half, State};
use super::error::code;
use super::flow_control::RecvCredit;
use super::receive::OPENED;
use super::{Connection, ConnectionError, Drain, Event, Key};
use crate::wire::Version;

/// Refusals that may wait for the peer to take them. An honest one that doesn't read
/// for a while opens fewer channels meanwhile.
const MOST_REFUSED: usize = 1 << 16;

impl Connection {
    /// The number for the next channel of this side.
    pub(super) fn next_id(&mut self) -> u32 {
        loop {
            let id = self.local.next;
            self.local.next = id.wrapping_add(2);
            // 0 is not used, since a version 1 side says its settings there.
            if id != 0 && !self.channels.contains(id) && !self.owed.refusals.contains(&id) {
                return id;
            }
        }
    }

    /// The peer speaks version 0: nothing is limited but by this side.
    pub(super) fn on_version0(&mut self) {
        self.version = Some(Version::V0);
        let full = self.room() == 0;
        self.local.limit = self.config.settings.max_channels;
        self.local.opened = 0;
        for key in self.channels.keys() {
            self.adapt(key);
            self.queue_data(key);
        }
        self.liveness.no_ping();
        if matches!(self.drain, Drain::Asked(_)) {
            self.owed.drain = false;
            self.drained(); // the peer can't be asked
        }
        self.openable_if(full);
    }

    /// Turns what a channel owes into what version 0 can say.
    fn adapt(&mut self, key: Key) {
        let Some(state) = self.channels.get_mut(key) else {
            return;
        };
        self.local.opened += u32::from(state.ours);
        state.send.credit.begin_at(u64::MAX);
        state.recv.credit.has_no_limit();
        state.owed.window = false;
        if state.released {
            self.release_v0(key);
        } else if state.owed.reset {
            self.reset_v0(key);
        } else {
            self.close_if_done_v0(key);
        }
    }

    /// A channel that begins, with the credit of both directions. Version 0 knows no
    /// limits.
    pub(super) fn begin(&self, id: u32, ours: bool) -> State {
        let limits = match self.is_v0() {
            true => (u64::MAX, RecvCredit::new(u64::MAX)),
            false => (self.send_budget.window(), self.recv_budget.credit()),
        };
        State::new(id, ours, limits.0, limits.1)
    }

    /// Tells of room for another channel of this side, if there was none.
    pub(super) fn openable_if(&mut self, was_full: bool) {
        if was_full && self.room() > 0 {
            self.events.push(Event::Openable);
        }
    }

    /// Version 0 opens channels under any number that is free.
    pub(super) fn on_open_v0(&mut self, id: u32) -> Result<(), ConnectionError> {
        let state = self.channels.by_id(id);
        let (key, opened) = state.map_or((None, false), |state| (Some(state.key), state.opened));
        if opened || self.owed.refusals.contains(&id) {
            let text = format!("channel {id} was opened twice");
            return Err(ConnectionError::violation(code::PROTOCOL, text));
        }
        if let Some(key) = key {
            let other = self.next_id();
            self.channels.renumber(key, other);
        }
        self.counters.accepted += 1;
        self.counters.work += OPENED;
        if self.remote.opened >= self.remote.limit || self.is_drained() {
            return self.refuse_v0(id);
        }
        self.remote.opened += 1;
        let state = self.begin(id, false);
        let key = self.channels.insert(state);
        self.offer(key)
    }

    /// The only refusal that the version knows is a CLOSE. The peer can't be told how
    /// many channels it may open, so an honest one may get many.
    fn refuse_v0(&mut self, id: u32) -> Result<(), ConnectionError> {
        self.counters.refused_by_self += 1;
        self.owed.refusals.insert(id);
        if self.owed.refusals.len() > MOST_REFUSED {
            let text = "refusals are not taken";
            return Err(ConnectionError::violation(code::LIMIT, text));
        }
        self.guards.cancels.take()
    }

    /// Both directions have ended, the peer's cleanly.
    pub(super) fn on_close_v0(&mut self, id: u32) -> Result<(), ConnectionError> {
        let Some(state) = self.channels.by_id(id).filter(|state| state.opened) else {
            return match self.owed.refusals.remove(&id) {
                true => Ok(()),
                false => self.guards.take_late(), // both sides closed it at once
            };
        };
        let (key, held) = (state.key, state.send.buffer.len());
        let cancel = state.is_cancel() && state.send.half.is_alive() && !state.counted;
        self.counters.unanswered += u64::from(state.is_unanswered());
        state.peer_ended = true;
        if state.recv.half == Half::Open {
            state.recv.half = Half::Ending;
        }
        state.fail_send_v0(Cause::Stopped(code::NONE));
        state.owed.close = false;
        if state.released {
            let left = held - state.send.buffer.len();
            self.on_left(left);
        }
        self.notify_writable(key);
        self.free_number_v0(key);
        self.ended(key);
        match cancel {
            true => self.guards.cancels.take(),
            false => Ok(()),
        }
    }

    /// After a CLOSE the peer may give the number to another channel, though
    /// the application here has not let go of this one.
    pub(super) fn free_number_v0(&mut self, key: Key) {
        if self.is_v0()
            && let Some(state) = self.channels.get(key)
            && state.peer_ended
            && !state.owed.close
        {
            self.channels.free_number(state.id, key);
        }
    }

    /// Under version 0 a reset is a close, now and in both directions.
    pub(super) fn reset_v0(&mut self, key: Key) {
        if self.is_v0()
            && let Some(state) = self.channels.get_mut(key)
        {
            if state.recv.half == Half::Open {
                state.recv.half = Half::Failed(Cause::Ended(code::NONE));
            }
            state.owe_close();
            self.notify_readable(key);
        }
    }

    /// Under version 0 neither a FIN nor a STOP can be said: a channel is
    /// closed when it was finished and is read no more.
    pub(super) fn close_if_done_v0(&mut self, key: Key) {
        if self.is_v0()
            && let Some(state) = self.channels.get_mut(key)
        {
            state.owed.stop = false;
            if state.send.half != Half::Open && matches!(state.recv.half, Half::Failed(_)) {
                state.owe_close();
                self.queue_control(key);
            }
        }
    }

    /// Under version 0 a channel is closed once its bytes have left, or at
    /// once if it was not finished.
    pub(super) fn release_v0(&mut self, key: Key) {
        if self.is_v0()
            && let Some(state) = self.channels.get_mut(key)
        {
            state.owe_close();
        }
    }
}

impl State {
    /// What a channel owes at its end, unless the peer closed it.
    fn owe_close(&mut self) {
        (self.owed.stop, self.owed.reset) = (false, false);
        self.owed.close |= !self.peer_ended;
        self.peer_ended = true;
    }

    fn fail_send_v0(&mut self, cause: Cause) {
        if self.send.half.is_alive() {
            self.fail_send(cause);
            self.owed.reset = false;
        }
    }
}

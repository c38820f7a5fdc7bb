//! What the application asks of a connection.

use std::time::Instant;

use super::channel::{Half, State};
use super::error::code;
use super::{ChannelError, Connection, ConnectionError, OpenError};

/// What a read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// So many bytes, at least 1.
    Bytes(usize),
    /// Nothing yet: [`Event::Readable`](super::Event) tells when to look again.
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
    /// [`OpenError::Blocked`] when the peer takes no more for now, the others
    /// when it never will.
    pub fn open(&mut self) -> Result<u32, OpenError> {
        if let Some(error) = &self.end {
            return Err(OpenError::Connection(error.clone()));
        }
        if self.local.draining || self.local.next > i32::MAX as u32 {
            return Err(OpenError::Draining);
        }
        if self.local.opened >= self.local.limit {
            self.local.blocked = true;
            return Err(OpenError::Blocked);
        }
        let id = self.local.next;
        self.local.next += 2;
        self.local.opened += 1;
        let window = self.budget.for_open();
        let initial = self.config.settings.initial_window.into();
        let mut state = State::new(self.peer.initial_window.into(), window);
        state.owed.window = window > initial;
        self.channels.insert(id, state);
        self.owed.opens.push_back(id);
        if window > initial {
            self.queue_control(id);
        }
        Ok(id)
    }

    /// The next channel that the peer opened.
    pub fn accept(&mut self) -> Option<u32> {
        self.incoming.pop_front()
    }

    /// Asks the peer to open no more channels.
    pub fn drain(&mut self) {
        if self.end.is_none() && !self.remote.draining {
            self.remote.draining = true;
            self.owed.drain = true;
        }
    }

    /// Ends the connection and every channel on it, now.
    pub fn close(&mut self, text: &str) {
        let text: String = text.chars().take(crate::wire::MAX_TEXT / 4).collect();
        self.go_away(code::NONE, &text, ConnectionError::Closed);
    }

    /// Whether channels can still be opened.
    pub fn is_open(&self) -> bool {
        self.end.is_none() && !self.local.draining && self.local.next <= i32::MAX as u32
    }

    /// Whether a window update waits to be sent for the channel.
    pub fn owes_window(&self, id: u32) -> bool {
        self.channels
            .get(&id)
            .is_some_and(|state| state.owed.window)
    }

    /// Channels that are not over.
    pub fn channels(&self) -> usize {
        self.channels.len()
    }

    /// Reads into `out`.
    ///
    /// # Errors
    ///
    /// The reason for which no more will come, where that isn't the peer's FIN.
    pub fn read(&mut self, id: u32, out: &mut [u8], now: Instant) -> Result<Read, ChannelError> {
        let state = self.channels.get_mut(&id).ok_or(ChannelError::Unknown)?;
        if let Half::Failed(error) = &state.recv.half
            && state.recv.buffer.is_empty()
        {
            return Err(error.clone());
        }
        let n = std::io::Read::read(&mut state.recv.buffer, out).unwrap_or(0);
        if n > 0 {
            let rtt = self.liveness.rtt();
            let more = state
                .recv
                .credit
                .on_read(n as u64, now, rtt, &mut self.budget);
            if more && !state.peer_ended && self.end.is_none() {
                state.owed.window = true;
                self.queue_control(id);
            }
            return Ok(Read::Bytes(n));
        }
        Ok(match state.recv.half {
            Half::Ending | Half::Done if !out.is_empty() => Read::Finished,
            _ => Read::Blocked,
        })
    }

    /// Takes bytes to send; how many were taken, 0 if the channel's send
    /// buffer is full: [`Event::Writable`](super::Event) tells when to try again.
    ///
    /// # Errors
    ///
    /// The reason for which the channel takes no more.
    pub fn write(&mut self, id: u32, bytes: &[u8]) -> Result<usize, ChannelError> {
        let state = self.channels.get_mut(&id).ok_or(ChannelError::Unknown)?;
        match &state.send.half {
            Half::Open => {}
            Half::Failed(error) => return Err(error.clone()),
            Half::Ending | Half::Done => return Err(ChannelError::Ended),
        }
        let room = self
            .config
            .send_buffer
            .saturating_sub(state.send.buffer.len());
        let n = room.min(bytes.len());
        state.send.buffer.extend(&bytes[..n]);
        self.queue_data(id);
        Ok(n)
    }

    /// Ends the send half cleanly: FIN follows the bytes that were written.
    /// Finishing twice is harmless.
    ///
    /// # Errors
    ///
    /// The reason for which the half has failed.
    pub fn finish(&mut self, id: u32) -> Result<(), ChannelError> {
        let state = self.channels.get_mut(&id).ok_or(ChannelError::Unknown)?;
        match &state.send.half {
            Half::Open => state.send.half = Half::Ending,
            Half::Failed(error) => return Err(error.clone()),
            Half::Ending | Half::Done => return Ok(()),
        }
        self.queue_data(id);
        Ok(())
    }

    /// Gives up the send half: what was not sent yet is dropped, and the peer
    /// reads an error with this code.
    pub fn reset(&mut self, id: u32, code: u32) {
        let ended = self.end.is_some();
        if let Some(state) = self.channels.get_mut(&id)
            && matches!(state.send.half, Half::Open | Half::Ending)
            && !ended
        {
            state.fail_send(ChannelError::Ended, code);
            self.queue_control(id);
        }
    }

    /// Gives up the receive half: the peer is asked to stop, with this code.
    pub fn stop(&mut self, id: u32, code: u32) {
        let ended = self.end.is_some();
        if let Some(state) = self.channels.get_mut(&id)
            && !ended
        {
            state.stop(code);
            self.queue_control(id);
        }
    }

    /// Lets go of a channel: a send half that was not finished is reset, a
    /// receive half that has not ended is stopped. The id is over after that.
    pub fn release(&mut self, id: u32) {
        if self.end.is_some() {
            self.channels.remove(&id);
            return;
        }
        if let Some(state) = self.channels.get_mut(&id) {
            state.release();
            self.queue_control(id);
            self.forget_if_over(id);
        }
    }
}

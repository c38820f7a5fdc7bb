//! The end of a connection: what brings it about, and who is told.

use std::fmt;
use std::io;

use super::channel::{Cause, Half};
use super::error::code;
use super::parting::Parting;
use super::scheduler::Scheduler;
use super::{Connection, ConnectionError, Event, Owed, Role};
use crate::wire::Control;

impl Connection {
    /// Gives up a peer that has not said its hello yet, before
    /// [`Config::handshake_timeout`](super::Config::handshake_timeout) does:
    /// for a driver that needs its place for another.
    pub fn give_up_hello(&mut self) {
        if !self.hello.settings {
            self.fail(ConnectionError::HandshakeTimeout);
        }
    }

    /// The transport ended. Without a GOAWAY before it, the connection was lost;
    /// within a frame, the peer is told so, in case that it still reads.
    pub fn handle_eof(&mut self) {
        if self.end.is_none() && self.is_greeted() && self.decoder.is_within_frame() {
            let (last, code) = (i32::MAX as u32, code::PROTOCOL); // any may be handed out
            let text = "the transport ended within a frame".to_owned();
            self.owed.go_away = (!self.is_v0()).then_some(Control::GoAway { last, code, text });
        }
        self.lost("the transport ended");
    }

    /// The transport failed; its error is told to whoever has a channel.
    pub fn handle_error(&mut self, error: &io::Error) {
        self.lost(error);
    }

    /// Whatever runs the connection lets go of it, without a word to the peer.
    pub fn abandon(&mut self) {
        self.fail(ConnectionError::Abandoned);
    }

    fn lost(&mut self, how: impl fmt::Display) {
        if self.end.is_none() {
            self.fail(match self.hello.received {
                true => ConnectionError::Lost(how.to_string()),
                false => ConnectionError::NoHello(how.to_string()),
            });
        }
    }

    pub(super) fn stalled(&mut self) {
        let text = "the peer reads nothing";
        let error = ConnectionError::violation(code::LIMIT, text);
        self.go_away(code::LIMIT, text, error);
    }

    /// The one way out: everyone is told why.
    pub(super) fn fail(&mut self, error: ConnectionError) {
        if self.end.is_some() {
            return;
        }
        for state in self.channels.iter_mut() {
            let cause = match state.ours && !state.opened {
                true => Cause::Refused,
                false => Cause::Connection,
            };
            if state.recv.half == Half::Open {
                state.recv.half = Half::Failed(cause);
            }
            if state.send.half.is_alive() {
                state.send.half = Half::Failed(cause);
            }
            state.send.buffer.clear();
        }
        self.counters.carried += self.channels.forget_released();
        self.leaving = 0;
        self.owed = Owed {
            go_away: self.owed.go_away.take(),
            ..Owed::default()
        };
        self.scheduler = Scheduler::default();
        self.parting = Parting::default();
        self.events.push(Event::Closed);
        self.end = Some(error);
    }

    /// Ends the connection with a GOAWAY of this code and text.
    pub(super) fn go_away(&mut self, code: u32, text: &str, error: ConnectionError) {
        if self.end.is_some() {
            return;
        }
        // Version 0 has no GOAWAY, and a client that speaks both versions does
        // not know yet which it may say.
        if !self.is_v0() && (self.role == Role::Server || self.version.is_some()) {
            let (last, text) = (self.last_handed, text.to_owned());
            self.owed.go_away = Some(Control::GoAway { last, code, text });
        }
        self.fail(error);
        // The peer may try these again, so they are never handed out here.
        self.refuse_waiting();
    }
}

//! The end of a connection: what brings it about, and who is told.

use std::io;

use super::channel::Origin;
use super::connection::Connection;
use super::error::{ConnectionError, ErrorCode, TransportError};
use super::event::Event;
use super::half::{Cause, Half};
use super::handshake::Role;
use super::pending::Pending;
use super::scheduler::Scheduler;
use super::shutdown::{Drain, LastFrame};
use crate::wire::{Control, MAX_TEXT};

impl Connection {
    /// Asks the peer to open no more channels. What it opened before it knew
    /// still arrives; [`Event::Drained`] tells when nothing more can.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// server.drain();
    /// carry(&mut client, &mut server, now);
    /// assert_eq!(client.open(), Err(OpenError::Draining));
    /// assert!(server.is_drained());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn drain(&mut self) {
        if self.shutdown.has_ended() || self.shutdown.drain != Drain::No {
            return;
        }
        match self.is_v0() {
            true => self.drained(),
            false => {
                self.shutdown.drain = Drain::Pending;
                self.send_deferred_stops();
            }
        }
    }

    /// Whether this side drained, and the peer has opened all that it will.
    pub fn is_drained(&self) -> bool {
        self.shutdown.drain == Drain::Done
    }

    pub(super) fn drained(&mut self) {
        self.shutdown.drain = Drain::Done;
        self.events.push(Event::Drained);
    }

    /// Ends the connection and every channel on it, now. The peer is told the first
    /// 254 characters of the text.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// server.close("done");
    /// carry(&mut client, &mut server, now);
    /// assert_eq!(server.error(), Some(&ConnectionError::Closed));
    /// assert!(matches!(client.error(), Some(ConnectionError::PeerClosed { code: ErrorCode::NO_ERROR, .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn close(&mut self, text: &str) {
        let text: String = text.chars().take(MAX_TEXT / 4).collect();
        self.go_away(ErrorCode::NO_ERROR, &text, ConnectionError::Closed);
    }

    /// Gives up a peer that has not said its hello yet, before
    /// [`Config::handshake_timeout`](super::Config::handshake_timeout) does:
    /// for a driver that needs its place for another.
    pub fn give_up_hello(&mut self) {
        if !self.is_connected() {
            self.fail(ConnectionError::HandshakeTimeout);
        }
    }

    /// The transport ended. Without a GOAWAY before it, the connection was lost;
    /// within a frame, the peer is told so, in case that it still reads.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// server.handle_eof();
    /// assert!(matches!(server.error(), Some(ConnectionError::Lost(_))));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn handle_eof(&mut self) {
        let within = self.is_connected() && self.input.decoder.is_within_frame();
        if !self.shutdown.has_ended() && within && !self.is_v0() {
            let (last, code) = (i32::MAX as u32, ErrorCode::PROTOCOL.0); // any may be accepted
            let text = "the transport ended within a frame".to_owned();
            let go_away = Control::GoAway { last, code, text };
            self.shutdown.last = Some(LastFrame::GoAway(go_away));
        }
        let ended = io::Error::new(io::ErrorKind::ConnectionAborted, "the transport ended");
        self.lost(ended);
    }

    /// The transport failed. All who have a channel get its error.
    ///
    /// ```
    #[doc = include_str!("example.md")]
    /// client.handle_error(std::io::ErrorKind::ConnectionReset.into());
    /// let Some(ConnectionError::Lost(how)) = client.error() else {
    ///     return Err("it is lost".into());
    /// };
    /// assert_eq!(how.get_ref().kind(), std::io::ErrorKind::ConnectionReset);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn handle_error(&mut self, error: io::Error) {
        self.lost(error);
    }

    /// Whatever runs the connection drops it, without a word to the peer.
    pub fn abandon(&mut self) {
        self.fail(ConnectionError::Abandoned);
    }

    fn lost(&mut self, how: io::Error) {
        if !self.shutdown.has_ended() {
            let how = TransportError::from(how);
            self.fail(match self.handshake.is_hello_received() {
                true => ConnectionError::Lost(how),
                false => ConnectionError::NoHello(how),
            });
        }
    }

    /// What the peer sent is an error, or ends the connection.
    pub(super) fn on_error(&mut self, error: ConnectionError) {
        // Also where the first frame is a bad one: what is said now must be said in its
        // version.
        self.handshake.learn(self.input.decoder.version());
        match error {
            ConnectionError::Violation { code, text } => {
                self.violated(self.handshake.violation_code(code), &text);
            }
            ConnectionError::Version(text)
                if self.handshake.is_hello_received() && !self.is_v0() =>
            {
                self.violated(self.handshake.violation_code(ErrorCode::PROTOCOL), &text);
            }
            error => {
                // Whatever version the peer speaks, a hello it understands.
                let mismatch = matches!(error, ConnectionError::Version(_));
                let silent = self.handshake.role == Role::Client || self.handshake.is_sent();
                self.fail(error);
                if mismatch && !silent {
                    self.shutdown.last = Some(LastFrame::Hello);
                }
            }
        }
    }

    /// The peer ends the connection and never gave these to its application.
    pub(super) fn refused_above(&mut self, last: u32) {
        for channel in self.channels.iter_mut() {
            if channel.origin == Origin::Opened && channel.id > last {
                channel.origin = Origin::Unprocessed;
                self.stats.refused_by_peer += u64::from(channel.give_up());
            }
        }
    }

    /// The one way out: everyone is told why.
    pub(super) fn fail(&mut self, error: ConnectionError) {
        if self.shutdown.has_ended() {
            return;
        }
        for channel in self.channels.iter_mut() {
            let cause = match channel.origin {
                Origin::Unprocessed => Cause::Refused,
                _ => Cause::Connection,
            };
            if channel.recv.half == Half::Open {
                channel.recv.half = Half::Failed(cause);
            }
            if channel.send.half.is_alive() {
                channel.send.half = Half::Failed(cause);
            }
            channel.send.buffer.clear();
            self.memory.count_less(channel);
        }
        self.channels.remove_released();
        self.memory
            .recount(self.channels.iter_mut().map(|channel| &*channel));
        self.pending = Pending::default();
        self.scheduler = Scheduler::default();
        self.events.push(Event::Closed);
        self.shutdown.error = Some(error);
    }

    /// Ends the connection for a rule that the peer has broken, and says so.
    pub(super) fn violated(&mut self, code: ErrorCode, text: &str) {
        self.go_away(code, text, ConnectionError::violation(code, text));
    }

    /// Ends the connection with a GOAWAY of this code and text.
    pub(super) fn go_away(&mut self, code: ErrorCode, text: &str, error: ConnectionError) {
        if self.shutdown.has_ended() {
            return;
        }
        // Version 0 has no GOAWAY, and a client that speaks both versions does
        // not know yet which it may say.
        let knows = self.handshake.role == Role::Server || self.version().is_some();
        if knows && !self.is_v0() {
            let (last, text) = (self.counts.last_accepted, text.to_owned());
            let go_away = Control::GoAway {
                last,
                code: code.0,
                text,
            };
            self.shutdown.last = Some(LastFrame::GoAway(go_away));
        }
        self.fail(error);
        // The peer may try these again, so they are never accepted here.
        self.refuse_waiting();
    }
}

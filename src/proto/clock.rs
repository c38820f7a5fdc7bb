//! What the connection does with the time: the life of the peer, the pace of the
//! transport, and how long answers take.

use std::time::{Duration, Instant};

use super::liveness::Due;
use super::{Connection, ConnectionError, Event, Round};

impl Connection {
    /// The smoothed round-trip time, once a first pong has come.
    pub fn rtt(&self) -> Option<Duration> {
        self.liveness.rtt()
    }

    /// Whether the peer is late with an answer: new work is better done on
    /// another connection.
    pub fn is_suspect(&self) -> bool {
        self.liveness.is_suspect()
    }

    /// The transport took bytes again after it had been full, so the peer's
    /// side is alive though it may say nothing.
    pub fn handle_progress(&mut self, now: Instant) {
        self.liveness.on_progress();
        self.heard(now);
    }

    /// The transport takes no more bytes for now. A peer that makes it stay so
    /// for [`Config::write_stall`](super::Config::write_stall) is given up,
    /// though it may say a lot. Calling it again changes nothing.
    pub fn handle_blocked(&mut self, now: Instant) {
        self.liveness.on_blocked(now);
    }

    pub(super) fn heard(&mut self, now: Instant) {
        if self.liveness.on_life(now) {
            self.events.push(Event::Recovered);
        }
    }

    /// Does what is due at `now`; too early is harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none() {
            return;
        }
        if self.recv_budget.due().is_some_and(|due| due <= now) {
            self.give_delayed_windows();
        }
        match self.liveness.due(now) {
            Due::Nothing => {}
            Due::Ping => self.spare.clear(), // nothing has come for a while
            Due::Suspect => self.events.push(Event::Suspect),
            Due::HandshakeTimeout => self.fail(ConnectionError::HandshakeTimeout),
            Due::Dead => self.fail(ConnectionError::Dead),
            Due::Stalled => self.stalled(),
        }
    }

    /// The shortest round-trip time of the last ten to twenty seconds, as in
    /// [`Stats::min_rtt`](super::Stats::min_rtt); zero with version 0, which can't measure
    /// it.
    pub fn min_rtt(&self) -> Option<Duration> {
        match self.is_v0() {
            true => Some(Duration::ZERO),
            false => self.liveness.min_rtt(),
        }
    }

    /// Asks the peer for an answer soon, unless it was asked already, so that
    /// [`round`](Self::round) tells how what is sent now fares.
    pub fn probe(&mut self, now: Instant) {
        if !self.is_v0() {
            self.liveness.probe(now);
        }
    }

    /// The last answer of the peer to a ping, and what was sent before that.
    pub fn round(&self) -> Option<Round> {
        self.liveness.round()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Instant> {
        // Version 0 has no ping, so nothing is due once the hello is through.
        let waits = self.end.is_none() && !(self.is_v0() && self.hello.settings);
        let due = waits.then(|| self.liveness.deadline())?;
        Some(
            self.recv_budget
                .due()
                .map_or(due, |windows| windows.min(due)),
        )
    }
}

use std::time::{Duration, Instant};

use super::channel::{Cause, Half, State};
use super::error::REFUSED;
use super::{Connection, Role};
use crate::wire::Version;

/// What a connection has done and how it is: a copy, cheap to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// When the connection began.
    pub since: Instant,
    /// By what both sides name the connection, once it is known: a random number of the
    /// client's. Version 0 has none.
    pub connection_id: Option<u64>,
    /// When the peer was last heard, or else when the connection began.
    pub heard: Instant,
    /// The version that both sides speak, once it is known.
    pub version: Option<Version>,
    /// The smoothed round-trip time.
    pub rtt: Option<Duration>,
    /// The shortest round-trip time of the last ten to twenty seconds, of the last two
    /// pings if those are longer ago, or of the last sixteen round trips if all took half
    /// as long again.
    pub min_rtt: Option<Duration>,
    /// Whether the peer is late with an answer.
    pub suspect: bool,
    /// Whether no more channels can be opened.
    pub draining: bool,
    /// Channels that are not over.
    pub channels: usize,
    /// Those of them that this side opened and let go of: the peer has yet to end them.
    pub released: usize,
    /// Channels that this side may open before it has to wait for the peer.
    pub room: u32,
    /// Channels that this side opened so far.
    pub opened: u64,
    /// Channels that the peer opened so far.
    pub accepted: u64,
    /// Channels of this side that the peer refused.
    pub refused_by_peer: u64,
    /// Channels of the peer's that this side refused.
    pub refused_by_self: u64,
    /// Channels that the peer gave up before their end: it reset them, or asked this
    /// side to stop. A channel that both sides gave up counts for the first one that this
    /// side knew of.
    pub reset_by_peer: u64,
    /// Channels that this side gave up before their end.
    pub reset_by_self: u64,
    /// Channels of this side on which the peer has sent something.
    pub answered: u64,
    /// Channels of this side that the peer refused, reset or finished before it had sent
    /// anything, while this side still waited for that.
    pub unanswered: u64,
    /// Bytes of the channels that are over, both ways.
    pub carried: u64,
    /// Bytes that were received, with the protocol's own.
    pub bytes_received: u64,
    /// Bytes that were sent, with the protocol's own.
    pub bytes_sent: u64,
    /// Frames of the peer that changed nothing
    /// ([`Config::idle_frames_per_second`](super::Config::idle_frames_per_second)); an
    /// honest peer of version 1 sends none.
    pub idle_frames: u64,
    /// Received bytes that wait to be read.
    pub buffered: u64,
    /// Bytes of [`Config::receive_budget`](super::Config::receive_budget) that the
    /// peer has not borrowed.
    pub budget_left: u64,
}

/// The counters behind [`Stats`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub opened: u64,
    pub accepted: u64,
    pub refused_by_peer: u64,
    pub refused_by_self: u64,
    pub reset_by_peer: u64,
    pub reset_by_self: u64,
    pub answered: u64,
    pub unanswered: u64,
    /// Of channels that are over.
    pub carried: u64,
    pub received: u64,
    pub sent: u64,
    /// Of channels, as they left by their turns.
    pub data: u64,
    /// See [`Connection::work_received`].
    pub work: u64,
}

/// How the peer gave up a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GivenUp {
    No,
    Refused,
    Reset,
}

impl Counters {
    pub fn count(&mut self, given_up: GivenUp) {
        match given_up {
            GivenUp::No => {}
            GivenUp::Refused => self.refused_by_peer += 1,
            GivenUp::Reset => self.reset_by_peer += 1,
        }
    }

    /// This side gives a channel up, with this code.
    pub fn give_up(&mut self, state: &mut State, code: u32) {
        if std::mem::replace(&mut state.counted, true) {
            return;
        }
        match code {
            REFUSED => self.refused_by_self += 1,
            _ => self.reset_by_self += 1,
        }
    }
}

impl State {
    /// Whether this side waits for the peer's first byte.
    pub fn is_unanswered(&self) -> bool {
        let over = matches!(
            self.send.half,
            Half::Failed(Cause::Refused | Cause::Ended(_))
        );
        self.ours && !self.released && !over && self.recv.credit.received == 0
    }

    /// How the peer has given the channel up; told once.
    pub fn given_up(&mut self) -> GivenUp {
        let found = match (self.recv.half, self.send.half) {
            (Half::Failed(Cause::Refused), _) | (_, Half::Failed(Cause::Refused)) => {
                GivenUp::Refused
            }
            (Half::Failed(Cause::Reset(_)), _) | (_, Half::Failed(Cause::Stopped(_))) => {
                GivenUp::Reset
            }
            _ => return GivenUp::No,
        };
        match std::mem::replace(&mut self.counted, true) {
            true => GivenUp::No,
            false => found,
        }
    }
}

impl Connection {
    /// The work that what was received came to, in frames: each frame or piece of
    /// a body is one, a DATA one more, an OPEN four more, and a RESET 64 more. So
    /// a driver knows when others should have their turn.
    pub fn work_received(&self) -> u64 {
        self.counters.work
    }

    /// Whether the rest of a DATA frame is still to come.
    pub fn is_within_data(&self) -> bool {
        self.decoder.data_left() > 0
    }

    fn connection_id(&self) -> Option<u64> {
        let id = match self.role {
            Role::Client => self.config.settings.connection_id,
            Role::Server => self.peer.connection_id,
        };
        (id != 0 && !self.is_v0()).then_some(id)
    }

    /// What the connection has done and how it is.
    pub fn stats(&self) -> Stats {
        let counters = &self.counters;
        Stats {
            since: self.since,
            connection_id: self.connection_id(),
            heard: self.liveness.heard(),
            version: self.version,
            rtt: self.liveness.rtt(),
            min_rtt: self.liveness.min_rtt(),
            suspect: self.liveness.is_suspect(),
            draining: !self.is_open(),
            channels: self.channels.len(),
            released: self.ending,
            room: self.room(),
            opened: counters.opened,
            accepted: counters.accepted,
            refused_by_peer: counters.refused_by_peer,
            refused_by_self: counters.refused_by_self,
            reset_by_peer: counters.reset_by_peer,
            reset_by_self: counters.reset_by_self,
            answered: counters.answered,
            unanswered: counters.unanswered,
            carried: counters.carried,
            bytes_received: counters.received,
            bytes_sent: counters.sent,
            idle_frames: self.guards.idle.taken,
            buffered: self.buffered,
            budget_left: self.recv_budget.left(),
        }
    }
}

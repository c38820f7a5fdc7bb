use std::time::{Duration, Instant};

use super::channel::Channel;
use super::error::REFUSED;
use super::half::{Cause, Half};
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
    /// Channels that are not closed.
    pub channels: usize,
    /// Those of them that this side opened and released: the peer has yet to end them.
    pub awaiting_end: usize,
    /// Channels of the peer that wait to be accepted.
    pub waiting: usize,
    /// Channels that this side may open before it has to wait for the peer.
    pub available: u32,
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
    /// Those of them whose peer was slower than
    /// [`Config::min_rate`](super::Config::min_rate).
    pub too_slow: u64,
    /// Channels of this side on which the peer has sent something.
    pub answered: u64,
    /// Channels of this side that the peer refused, reset or finished before it had sent
    /// anything, while this side still waited for that.
    pub unanswered: u64,
    /// Bytes that were received, with the protocol's own.
    pub bytes_received: u64,
    /// Bytes that were sent, with the protocol's own.
    pub bytes_sent: u64,
    /// Frames of the peer that changed nothing
    /// ([`Config::no_op_frames_per_second`](super::Config::no_op_frames_per_second)); an
    /// honest peer of version 1 sends none.
    pub no_op_frames: u64,
    /// Received bytes that wait to be read.
    pub buffered: u64,
    /// Bytes of memory that the connection holds:
    /// [`Connection::memory`](super::Connection::memory).
    pub memory: u64,
    /// Bytes of [`Config::receive_budget`](super::Config::receive_budget) that the
    /// peer has not borrowed.
    pub budget_left: u64,
}

impl Stats {
    /// Those of a connection that begins.
    pub(super) fn new(now: Instant) -> Self {
        Stats {
            since: now,
            connection_id: None,
            heard: now,
            version: None,
            rtt: None,
            min_rtt: None,
            suspect: false,
            draining: false,
            channels: 0,
            awaiting_end: 0,
            waiting: 0,
            available: 0,
            opened: 0,
            accepted: 0,
            refused_by_peer: 0,
            refused_by_self: 0,
            reset_by_peer: 0,
            reset_by_self: 0,
            too_slow: 0,
            answered: 0,
            unanswered: 0,
            bytes_received: 0,
            bytes_sent: 0,
            no_op_frames: 0,
            buffered: 0,
            memory: 0,
            budget_left: 0,
        }
    }

    /// Channels that came to their end and were not given up. One that was given up and is not
    /// closed yet counts twice against it, for so long.
    #[cfg(feature = "server")]
    pub(crate) fn served(&self) -> u64 {
        let refused = self.refused_by_peer + self.refused_by_self;
        let others = self.channels as u64 + refused + self.reset_by_peer + self.reset_by_self;
        (self.opened + self.accepted).saturating_sub(others)
    }

    /// Counts a channel if the peer has given it up, and nobody had before; whether that
    /// is so.
    pub(super) fn on_peer(&mut self, channel: &mut Channel) -> bool {
        let count = match (channel.recv.half, channel.send.half) {
            (Half::Failed(Cause::Refused), _) | (_, Half::Failed(Cause::Refused)) => {
                &mut self.refused_by_peer
            }
            (Half::Failed(Cause::Reset(_)), _) | (_, Half::Failed(Cause::Stopped(_))) => {
                &mut self.reset_by_peer
            }
            _ => return false,
        };
        let first = channel.give_up();
        *count += u64::from(first);
        first
    }

    /// Counts a channel that this side gives up with this code, if nobody had before.
    pub(super) fn on_give_up(&mut self, channel: &mut Channel, code: u32) {
        let count = match code {
            REFUSED => &mut self.refused_by_self,
            _ => &mut self.reset_by_self,
        };
        *count += u64::from(channel.give_up());
    }
}

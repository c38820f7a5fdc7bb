//! What the pool asks of a connection. It asks when it decides, so it never depends
//! on a task that may have ended with its runtime.

use std::time::{Duration, Instant};

use crate::client::ConnectError;
use crate::driver::{Channel, Connection, Look, ThroughputLimited};
use crate::proto::ConnectionError;

/// A connection, as the pool knows it.
pub(super) trait Link: Clone {
    type Channel;

    fn look(&self, now: Instant) -> Seen;

    /// `None` where the connection has just ended, drains or is full.
    fn open(&self) -> Option<Self::Channel>;
}

/// What a connection shows at one moment.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub health: Health,
    /// The peer has answered the hello.
    pub greeted: bool,
    /// How long the connection's task has had something to do and was not run.
    pub overdue: Duration,
    /// Channels that are in use.
    pub channels: usize,
    /// Channels that the peer takes beside those.
    pub available: u32,
    /// Channels opened so far; those of them that the peer has answered, and those that
    /// it ended without an answer.
    pub opened: u64,
    pub answered: u64,
    pub unanswered: u64,
    /// Bytes, both ways.
    pub bytes: u64,
    pub rtt: Option<Duration>,
    /// When the peer was last heard.
    pub heard: Instant,
    /// A transfer fills a direction.
    pub saturated: bool,
    /// When the transport was last found to hold it back, and at what rate.
    pub throughput_limited: Option<ThroughputLimited>,
}

#[derive(Clone, Debug)]
pub(super) enum Health {
    Well,
    /// The peer is late with an answer.
    Suspect,
    /// The peer takes no more channels.
    Draining,
    Ended(ConnectError),
    /// It ended with the runtime that ran it, which says nothing about the peer.
    Abandoned,
}

impl Link for Connection {
    type Channel = Channel;

    fn look(&self, now: Instant) -> Seen {
        let Look {
            stats,
            throughput,
            greeted,
            overdue,
            error,
        } = Connection::look(self, now);
        Seen {
            health: match error {
                Some(ConnectionError::Abandoned) => Health::Abandoned,
                Some(error) => Health::Ended(ConnectError::dial(error)),
                None if stats.draining => Health::Draining,
                None if stats.suspect => Health::Suspect,
                None => Health::Well,
            },
            greeted,
            overdue,
            // Those that wait for the peer's end alone are no work.
            channels: stats.channels.saturating_sub(stats.awaiting_end),
            available: stats.available,
            opened: stats.opened,
            answered: stats.answered,
            unanswered: stats.unanswered,
            bytes: stats.bytes_received + stats.bytes_sent,
            // Not the smoothed one: after a transfer that has its own queue in it, and a
            // connection whose window has just been opened would be passed over.
            rtt: stats.min_rtt,
            heard: stats.heard,
            saturated: throughput.saturated,
            throughput_limited: throughput.limited,
        }
    }

    fn open(&self) -> Option<Channel> {
        self.try_open().ok()
    }
}

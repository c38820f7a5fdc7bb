//! One connection of a target, as its pool sees it.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::config::PoolConfig;
use crate::driver::{Channel, Connection};
use crate::proto::{OpenError, Stats};
use crate::wire::Version;

/// Below it, differences between round-trip times are chance.
const FLOOR: Duration = Duration::from_millis(1);

/// A connection that ends sooner than this is not replaced at once.
const SHORT: Duration = Duration::from_secs(1);

pub(super) struct Slot {
    pub id: u64,
    pub connection: Connection,
    since: Instant,
    /// When it was last seen to have a channel.
    pub used: Instant,
    /// To be replaced: it gets channels only while no other can.
    pub retiring: bool,
    /// The peer has answered: the dial was a success.
    pub proven: bool,
    /// When it got the first channel since the peer was heard.
    asked: Option<Instant>,
    expires: Option<Instant>,
    most_opened: u64,
    /// Ends the slot's watcher when it is dropped.
    pub _watched: oneshot::Sender<()>,
}

/// What matters for the choice of a connection, at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    pub usable: bool,
    pub retiring: bool,
    pub channels: usize,
    pub rtt: Option<Duration>,
    /// When the peer was last heard.
    pub heard: Instant,
    /// How long it has said nothing since it got a channel.
    owes: Duration,
    /// The peer has answered for the first time.
    pub proves: bool,
}

impl View {
    /// The work that the connection has, in time; the least is chosen. A peer
    /// that is silent counts as that slow already before it is suspect.
    pub fn load(&self, quickest: Duration) -> u128 {
        let rtt = self.rtt.unwrap_or(quickest).max(self.owes).max(FLOOR);
        (self.channels as u128 + 1) * rtt.as_nanos()
    }

    pub fn is_fresh(&self) -> bool {
        self.usable && !self.retiring
    }
}

impl Slot {
    pub fn new(
        id: u64,
        connection: Connection,
        pool: &PoolConfig,
        now: Instant,
        watched: oneshot::Sender<()>,
    ) -> Self {
        let age = pool.max_age.map(|age| age.mul_f64(some_chance()));
        Slot {
            id,
            connection,
            since: now,
            used: now,
            retiring: false,
            proven: false,
            asked: None,
            expires: age.and_then(|age| now.checked_add(age)),
            most_opened: (f64::from(pool.max_opened) * some_chance()).max(1.0) as u64,
            _watched: watched,
        }
    }

    /// Looks at the connection and notes what it shows. A peer that leaves the
    /// hello unanswered for `late` is no better than a suspect one.
    pub fn look(&mut self, now: Instant, late: Duration) -> View {
        let stats = self.connection.stats();
        if stats.channels > 0 {
            self.used = now;
        }
        self.retiring |= self.expires.is_some_and(|at| at <= now);
        self.retiring |= stats.opened >= self.most_opened;
        let heard = stats.heard.into();
        self.asked = self.asked.filter(|asked| *asked > heard);
        let silent = stats.bytes_received == 0 && now >= self.since + late;
        let answers = self.answers(&stats, now);
        View {
            usable: !stats.draining && !stats.suspect && !silent,
            retiring: self.retiring,
            channels: stats.channels,
            rtt: stats.rtt,
            heard,
            owes: self.asked.map_or(Duration::ZERO, |asked| now - asked),
            proves: answers && !std::mem::replace(&mut self.proven, true),
        }
    }

    pub fn open(&mut self, now: Instant) -> Result<Channel, OpenError> {
        let channel = self.connection.try_open()?;
        self.asked.get_or_insert(now);
        Ok(channel)
    }

    /// Whether the peer has answered. Version 0 knows no ping; it counts when
    /// it has said something and stayed for a while.
    fn answers(&self, stats: &Stats, now: Instant) -> bool {
        match stats.version {
            Some(Version::V0) => stats.bytes_received > 0 && now >= self.since + SHORT,
            _ => stats.rtt.is_some(),
        }
    }

    /// Whether the connection is too young for its end to be chance.
    pub fn is_young(&self, now: Instant) -> bool {
        now < self.since + SHORT
    }

    /// When to look again though nothing is heard of it.
    pub fn next_look(&self, now: Instant, late: Duration, idle: Instant) -> Instant {
        let age = self.expires.filter(|_| !self.retiring);
        let hello = Some(self.since + late);
        let times = [age, hello, Some(idle)];
        let next = times.into_iter().flatten().filter(|at| *at > now).min();
        next.unwrap_or(now + late)
    }

    pub fn stats(&self) -> Stats {
        self.connection.stats()
    }
}

/// From 0.9 to 1.1, so that what began together does not end together.
fn some_chance() -> f64 {
    0.9 + fastrand::f64() / 5.0
}

//! One connection of a target, as its pool sees it.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::choice::View;
use super::config::PoolConfig;
use super::hold::Lately;
use crate::backoff::SHORT;
use crate::driver::{Channel, Connection};
use crate::proto::{OpenError, Stats};
use crate::wire::Version;

/// How long a connection gets few channels at first. Those that stay, such as web
/// sockets, are spread evenly after that.
const NEW: Duration = Duration::from_secs(10);

pub(super) struct Slot {
    pub id: u64,
    pub connection: Connection,
    since: Instant,
    /// When it was last seen to have a channel.
    pub used: Instant,
    /// To be replaced: it gets channels only while no other can.
    pub retiring: bool,
    /// The peer has answered, and has stayed for a while or served a channel.
    pub good: bool,
    /// When it got the first channel since the peer was heard.
    asked: Option<Instant>,
    expires: Option<Instant>,
    most_opened: u64,
    lately: Lately,
    /// Ends the slot's watcher when it is dropped.
    pub _watched: oneshot::Sender<()>,
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
            good: false,
            asked: None,
            expires: age.and_then(|age| now.checked_add(age)),
            most_opened: (f64::from(pool.max_opened) * some_chance()).max(1.0) as u64,
            lately: Lately::new(now),
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
        self.lately.look(&stats, over(&stats), now);
        let answered = has_answered(&stats);
        self.good |= answered && (!self.is_young(now) || served(&stats) > 0);
        let heard = stats.heard.into();
        self.asked = self.asked.filter(|asked| *asked > heard);
        let silent = stats.bytes_received == 0 && now >= self.since + late;
        View {
            well: !stats.draining && !stats.suspect && !silent,
            answered,
            retiring: self.retiring,
            is_new: now < self.since + NEW,
            channels: stats.channels,
            at_work: self.lately.at_work(stats.channels),
            served: served(&stats),
            carried: self.lately.carried(),
            sated: false,
            room: stats.room,
            rtt: stats.rtt,
            min_rtt: stats.min_rtt,
            heard,
            filled: stats.filled,
            held_up: stats.held_up,
            owes: self.asked.map_or(Duration::ZERO, |asked| now - asked),
        }
    }

    pub fn open(&mut self, now: Instant) -> Result<Channel, OpenError> {
        let channel = self.connection.try_open()?;
        self.asked.get_or_insert(now);
        self.lately.on_open(now);
        Ok(channel)
    }

    /// Whether the connection is too young for its end to be chance.
    pub fn is_young(&self, now: Instant) -> bool {
        now < self.since + SHORT
    }

    /// When to look again though nothing is heard of it.
    pub fn next_look(&self, now: Instant, late: Duration, idle: Instant) -> Instant {
        let age = self.expires.filter(|_| !self.retiring);
        let (hello, old) = (Some(self.since + late), Some(self.since + SHORT));
        let times = [age, hello, old, Some(idle)];
        let next = times.into_iter().flatten().filter(|at| *at > now).min();
        next.unwrap_or(now + late)
    }

    pub fn stats(&self) -> Stats {
        self.connection.stats()
    }
}

/// Version 0 knows no ping: whatever it says is an answer.
fn has_answered(stats: &Stats) -> bool {
    match stats.version {
        Some(Version::V0) => stats.bytes_received > 0,
        _ => stats.rtt.is_some(),
    }
}

/// Channels of this side that are over.
fn over(stats: &Stats) -> u64 {
    stats.opened.saturating_sub(stats.channels as u64)
}

/// Those that came to their own end.
fn served(stats: &Stats) -> u64 {
    over(stats).saturating_sub(stats.refused + stats.reset)
}

/// From 0.9 to 1.1, so that what began together does not end together.
fn some_chance() -> f64 {
    0.9 + fastrand::f64() / 5.0
}

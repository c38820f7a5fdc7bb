//! A connection of the world, which the pool asks how it is.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::super::link::{Health, Link, Seen};
use super::{SECOND, SUSPECT_AFTER};
use crate::client::ConnectError;
use crate::driver::ThroughputLimited;

#[derive(Clone)]
pub struct Fake(pub Rc<RefCell<Connection>>);

pub struct Connection {
    pub addr: Option<SocketAddr>,
    pub now: Instant,
    pub since: Instant,
    pub greeted: bool,
    pub suspect: bool,
    pub draining: bool,
    /// With the runtime that ran it, or not.
    pub ended: Option<bool>,
    pub stalled: Option<Instant>,
    /// The server fails each channel.
    pub fails: bool,
    /// Bytes a second, while the transport limits it.
    pub limited: Option<u64>,
    pub bytes: f64,
    pub channels: usize,
    pub limit: usize,
    pub opened: u64,
    pub answered: u64,
    pub unanswered: u64,
}

impl Connection {
    fn overdue(&self, now: Instant) -> Duration {
        self.stalled.map_or(Duration::ZERO, |since| now - since)
    }

    fn available(&self) -> usize {
        self.limit - self.channels
    }

    /// Whether the pool should give it channels.
    pub fn is_available(&self, now: Instant) -> bool {
        let up = self.greeted || now < self.since + SUSPECT_AFTER;
        let well = !self.suspect && !self.draining && self.ended.is_none();
        up && well && self.overdue(now) < SUSPECT_AFTER && self.available() > 0
    }
}

impl Link for Fake {
    type Channel = Fake;

    fn look(&self, now: Instant) -> Seen {
        let mut one = self.0.borrow_mut();
        let passed = now - one.now;
        one.now = now;
        let limited = one.limited.filter(|_| one.channels > 0);
        one.bytes += limited.unwrap_or_default() as f64 * passed.as_secs_f64();
        Seen {
            health: match one.ended {
                Some(true) => Health::Abandoned,
                Some(false) => Health::Ended(ConnectError::dial("it ended")),
                None if one.draining => Health::Draining,
                None if one.suspect => Health::Suspect,
                None => Health::Well,
            },
            greeted: one.greeted,
            overdue: one.overdue(now),
            channels: one.channels,
            available: one.available() as u32,
            opened: one.opened,
            answered: one.answered,
            unanswered: one.unanswered,
            bytes: one.opened + one.bytes as u64,
            rtt: one.greeted.then_some(SECOND / 50),
            heard: one.since,
            saturated: false,
            throughput_limited: limited.map(|rate| ThroughputLimited::at(now, rate)),
        }
    }

    fn open(&self) -> Option<Fake> {
        let mut one = self.0.borrow_mut();
        let now = one.now;
        assert!(one.is_available(now), "a connection was chosen that is not");
        one.channels += 1;
        one.opened += 1;
        Some(self.clone())
    }
}

//! When to ping, when to give up, and the round-trip time.

use std::time::{Duration, Instant};

use crate::config::Config;

#[derive(Debug)]
pub(super) struct Liveness {
    started: Instant,
    heard: Instant,
    connected: bool,
    handshake: Duration,
    ping_after: Duration,
    dead_after: Duration,
    /// The ping under way: its token and when it left.
    pinged: Option<(u64, Instant)>,
    token: u64,
    rtt: Option<Duration>,
}

/// What a deadline asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    Ping,
    HandshakeTimeout,
    Dead,
}

impl Liveness {
    pub fn new(config: &Config, now: Instant) -> Self {
        Liveness {
            started: now,
            heard: now,
            connected: false,
            handshake: config.handshake_timeout,
            ping_after: config.ping_after,
            dead_after: config.dead_after,
            pinged: None,
            token: 0,
            rtt: None,
        }
    }

    pub fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    /// Any byte counts as life.
    pub fn on_bytes(&mut self, now: Instant) {
        self.heard = self.heard.max(now);
    }

    pub fn on_connected(&mut self) {
        self.connected = true;
    }

    /// The token of a ping that leaves now.
    pub fn ping(&mut self, now: Instant) -> u64 {
        self.token += 1;
        self.pinged = Some((self.token, now));
        self.token
    }

    /// A pong: a round-trip sample, smoothed as TCP does it (RFC 6298, 1/8).
    pub fn on_pong(&mut self, token: u64, now: Instant) {
        let Some((sent, at)) = self.pinged else {
            return;
        };
        if sent != token {
            return;
        }
        self.pinged = None;
        let sample = now.saturating_duration_since(at);
        self.rtt = Some(match self.rtt {
            Some(rtt) => (rtt * 7 + sample) / 8,
            None => sample,
        });
    }

    pub fn deadline(&self, ping_owed: bool) -> Instant {
        let next = if ping_owed || self.pinged.is_some() {
            self.dead_after
        } else {
            self.ping_after
        };
        if self.connected {
            return self.heard + next;
        }
        self.started + self.handshake
    }

    pub fn due(&self, ping_owed: bool, now: Instant) -> Due {
        if now < self.deadline(ping_owed) {
            return Due::Nothing;
        }
        match (self.connected, ping_owed || self.pinged.is_some()) {
            (false, _) => Due::HandshakeTimeout,
            (true, false) => Due::Ping,
            (true, true) => Due::Dead,
        }
    }
}

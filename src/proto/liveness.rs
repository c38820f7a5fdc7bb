//! When to ping, when to doubt, when to give up, and the round-trip time.
//!
//! Any byte counts as life. A ping leaves when nothing was heard for the
//! configured time, and already after [`PROBE_AFTER`] if something was sent
//! since, so that a request into a black hole is noticed. While it is
//! unanswered and nothing is heard, the connection first becomes suspect and
//! then dead.

use std::time::{Duration, Instant};

use crate::config::Config;

/// How long after the last byte something that is sent asks for an answer.
/// Several times the longest round trip on Earth.
const PROBE_AFTER: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Liveness {
    started: Instant,
    heard: Instant,
    connected: bool,
    handshake: Duration,
    ping_after: Duration,
    suspect_after: Duration,
    dead_after: Duration,
    write_stall: Duration,
    /// Since when the transport takes nothing.
    blocked: Option<Instant>,
    /// Something was sent since the last byte was heard.
    unanswered: bool,
    /// The ping under way: its token and when it left.
    pinged: Option<(u64, Instant)>,
    token: u64,
    suspect: bool,
    rtt: Option<Duration>,
    min_rtt: Option<Duration>,
}

/// What a deadline asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    Ping,
    Suspect,
    HandshakeTimeout,
    Dead,
    Stalled,
}

impl Liveness {
    pub fn new(config: &Config, now: Instant) -> Self {
        Liveness {
            started: now,
            heard: now,
            connected: false,
            handshake: config.handshake_timeout,
            ping_after: config.ping_after,
            suspect_after: config.suspect_after,
            dead_after: config.dead_after,
            write_stall: config.write_stall,
            blocked: None,
            unanswered: false,
            pinged: None,
            token: 0,
            suspect: false,
            rtt: None,
            min_rtt: None,
        }
    }

    pub fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    pub fn min_rtt(&self) -> Option<Duration> {
        self.min_rtt
    }

    pub fn heard(&self) -> Instant {
        self.heard
    }

    pub fn is_suspect(&self) -> bool {
        self.suspect
    }

    /// A sign of life; whether the connection was suspect until now.
    pub fn on_life(&mut self, now: Instant) -> bool {
        self.heard = self.heard.max(now);
        self.unanswered = false;
        std::mem::take(&mut self.suspect)
    }

    pub fn on_blocked(&mut self, now: Instant) {
        self.blocked.get_or_insert(now);
    }

    pub fn on_progress(&mut self) {
        self.blocked = None;
    }

    pub fn on_sent(&mut self) {
        self.unanswered = true;
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
    /// Whether it answers the last ping.
    pub fn on_pong(&mut self, token: u64, now: Instant) -> bool {
        let Some((_, at)) = self.pinged.filter(|(sent, _)| *sent == token) else {
            return false;
        };
        self.pinged = None;
        let sample = now.saturating_duration_since(at);
        self.min_rtt = Some(self.min_rtt.map_or(sample, |rtt| rtt.min(sample)));
        self.rtt = Some(self.rtt.map_or(sample, |rtt| (rtt * 7 + sample) / 8));
        true
    }

    /// What is due next, and when.
    fn next(&self, ping_owed: bool) -> (Instant, Due) {
        let (at, due) = self.next_of_peer(ping_owed);
        match self.blocked.map(|since| since + self.write_stall) {
            Some(end) if end < at && self.connected => (end, Due::Stalled),
            _ => (at, due),
        }
    }

    fn next_of_peer(&self, ping_owed: bool) -> (Instant, Due) {
        if !self.connected {
            return (self.started + self.handshake, Due::HandshakeTimeout);
        }
        if let Some((_, sent)) = self.pinged {
            let since = self.heard.max(sent);
            return match self.suspect {
                false => (since + self.suspect_after, Due::Suspect),
                true => (since + self.dead_after, Due::Dead),
            };
        }
        if ping_owed {
            // It can't leave: the transport takes nothing.
            return (self.heard + self.ping_after + self.dead_after, Due::Dead);
        }
        let wait = match self.unanswered {
            true => self.ping_after.min(PROBE_AFTER),
            false => self.ping_after,
        };
        (self.heard + wait, Due::Ping)
    }

    pub fn deadline(&self, ping_owed: bool) -> Instant {
        self.next(ping_owed).0
    }

    /// What is due at `now`. Being suspect is noted.
    pub fn due(&mut self, ping_owed: bool, now: Instant) -> Due {
        let (at, due) = self.next(ping_owed);
        if now < at {
            return Due::Nothing;
        }
        self.suspect |= due == Due::Suspect;
        due
    }
}

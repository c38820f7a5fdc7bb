//! When to ping, when to doubt, when to give up, and the round-trip time.
//!
//! Any byte counts as life. A ping leaves when nothing was heard for the configured time,
//! and each [`PROBE_EVERY`] while something is sent. So a request into a black hole is
//! noticed, and a connection that is never silent knows its round-trip time. While the ping is unanswered and nothing
//! is heard, the connection first becomes suspect and then dead. A ping that
//! can't leave counts as well, and so does a transport that takes bytes again:
//! a peer that only takes them slowly is alive. Where this side looks late,
//! because the machine is busy, the peer has the time between suspect and dead
//! from then on.

use std::time::{Duration, Instant};

use super::config::Config;

/// How long after an answer something that is sent asks for another. Several
/// times the longest round trip on Earth.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// How long the shortest round trip holds at least, as in BBR, and half of how long it
/// does at most: a route that has become longer must be noticed.
const MIN_RTT_HOLDS: Duration = Duration::from_secs(10);

/// It is noticed sooner if so many round trips in a row have all taken half as long
/// again: more than a queue makes of a link that is paced.
const LONGER: u32 = 16;

#[derive(Debug)]
pub(super) struct Keepalive {
    /// When the peer was last heard, or else when the connection began.
    pub heard: Instant,
    /// Until when the hello may take; none once it has come.
    handshake: Option<Instant>,
    /// Since when the transport is write-blocked.
    blocked: Option<Instant>,
    /// Since when the transport is not read for want of memory.
    no_memory: Option<Instant>,
    /// Something was sent since the last ping left.
    asks: bool,
    ping: Ping,
    /// When the last ping was answered.
    answered: Instant,
    /// Of the last ping, and of the last that was answered.
    token: u64,
    answered_token: u64,
    /// Since when it is.
    suspect: Option<Instant>,
    /// The smoothed round-trip time.
    pub rtt: Option<Duration>,
    min_rtt: MinRtt,
    /// The last ping that was answered.
    pub sample: Option<DeliverySample>,
}

/// The shortest round-trip time, of now and of the time before.
#[derive(Debug)]
struct MinRtt {
    now: Option<Duration>,
    before: Option<Duration>,
    since: Instant,
    /// Round trips since then.
    count: u32,
}

/// A ping and its answer, behind everything that was sent before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeliverySample {
    /// Bytes that [`poll_transmit`](super::Connection::poll_transmit) had appended
    /// before the ping.
    pub sent: u64,
    /// When the ping left.
    pub left: Instant,
    /// When the answer came.
    pub answered: Instant,
}

/// Whether the peer is asked for an answer.
#[derive(Clone, Copy, Debug)]
enum Ping {
    No,
    /// Since when a ping waits for its turn. It may not get any, if the
    /// transport takes nothing.
    Pending(Instant),
    /// The ping with the last token is under way: when it left, behind so many bytes.
    Sent(Instant, u64),
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
    OutOfMemory,
}

impl MinRtt {
    fn on_sample(&mut self, sample: Duration, now: Instant) {
        let longer = self.now > self.before.map(|before| before * 3 / 2);
        if now >= self.since + MIN_RTT_HOLDS || longer && self.count >= LONGER {
            (self.since, self.before) = (now, self.now.take());
            self.count = 0;
        }
        self.now = Some(self.now.map_or(sample, |rtt| rtt.min(sample)));
        self.count += 1;
    }
}

impl Keepalive {
    pub fn new(config: &Config, now: Instant) -> Self {
        Keepalive {
            heard: now,
            handshake: Some(now + config.handshake_timeout),
            blocked: None,
            no_memory: None,
            asks: false,
            ping: Ping::Pending(now), // the first round-trip sample
            answered: now,
            token: 0,
            answered_token: 0,
            suspect: None,
            rtt: None,
            min_rtt: MinRtt {
                now: None,
                before: None,
                since: now,
                count: 0,
            },
            sample: None,
        }
    }

    /// The shortest round-trip time of the last ten to twenty seconds, or of the last
    /// two pings if those are longer ago.
    pub fn min_rtt(&self) -> Option<Duration> {
        match (self.min_rtt.now, self.min_rtt.before) {
            (Some(now), Some(before)) => Some(now.min(before)),
            (now, before) => now.or(before),
        }
    }

    pub fn is_suspect(&self) -> bool {
        self.suspect.is_some()
    }

    /// A sign of life; whether the connection was suspect until now.
    pub fn on_life(&mut self, now: Instant) -> bool {
        self.heard = self.heard.max(now);
        self.suspect.take().is_some()
    }

    /// The hello has come, which had a deadline.
    pub fn on_connected(&mut self) {
        self.handshake = None;
    }

    /// Something was sent that a ping is to follow.
    pub fn on_sent(&mut self) {
        self.asks = true;
    }

    pub fn on_blocked(&mut self, now: Instant) {
        self.blocked.get_or_insert(now);
    }

    /// Whether the transport is write-blocked.
    pub fn is_blocked(&self) -> bool {
        self.blocked.is_some()
    }

    pub fn on_progress(&mut self) {
        self.blocked = None;
    }

    pub fn on_no_memory(&mut self, now: Instant) {
        self.no_memory.get_or_insert(now);
    }

    /// Whether the transport was not read until now.
    pub fn on_memory(&mut self) -> bool {
        self.no_memory.take().is_some()
    }

    /// Asks for a ping, unless one is under way.
    pub fn probe(&mut self, now: Instant) {
        if matches!(self.ping, Ping::No) && self.handshake.is_none() {
            self.ping = Ping::Pending(now);
        }
    }

    /// The token of a ping that leaves now, behind so many bytes.
    pub fn ping(&mut self, sent: u64, now: Instant) -> u64 {
        self.token += 1;
        self.ping = Ping::Sent(now, sent);
        self.asks = false;
        self.token
    }

    /// The peer knows none.
    pub fn no_ping(&mut self) {
        self.ping = Ping::No;
    }

    pub fn is_ping_pending(&self) -> bool {
        matches!(self.ping, Ping::Pending(_))
    }

    /// A pong: a round-trip sample, smoothed as TCP does it (RFC 6298, 1/8).
    /// Whether it answers a ping; of several under way the last counts, which a drain
    /// sends behind another.
    pub fn on_pong(&mut self, token: u64, now: Instant) -> bool {
        // A pong for a ping that has not left, or a second one, would forge a round trip.
        if !(self.answered_token + 1..=self.token).contains(&token) {
            return false;
        }
        self.answered_token = token;
        let Ping::Sent(left, sent) = self.ping else {
            return true;
        };
        if token != self.token {
            return true;
        }
        self.ping = Ping::No;
        self.answered = now;
        self.sample = Some(DeliverySample {
            sent,
            left,
            answered: now,
        });
        let rtt = now.saturating_duration_since(left);
        self.min_rtt.on_sample(rtt, now);
        self.rtt = Some(self.rtt.map_or(rtt, |smoothed| (smoothed * 7 + rtt) / 8));
        true
    }

    /// What is due next, and when.
    fn next(&self, config: &Config) -> (Instant, Due) {
        if let Some(until) = self.handshake {
            return (until, Due::HandshakeTimeout);
        }
        let (at, due) = match self.no_memory {
            Some(since) => (since + config.dead_after, Due::OutOfMemory),
            None => self.next_of_peer(config),
        };
        match self.blocked.map(|since| since + config.write_stall) {
            Some(end) if end < at => (end, Due::Stalled),
            _ => (at, due),
        }
    }

    fn next_of_peer(&self, config: &Config) -> (Instant, Due) {
        let ping_after = config.ping_after;
        let asked = match self.ping {
            Ping::Pending(since) | Ping::Sent(since, _) => self.heard.max(since),
            // Whoever sends into a black hole is to notice within a second.
            Ping::No if self.asks => {
                return (self.answered + ping_after.min(PROBE_EVERY), Due::Ping);
            }
            Ping::No => return (self.heard + ping_after, Due::Ping),
        };
        match self.suspect {
            None => (asked + config.suspect_after, Due::Suspect),
            // From when it was noticed: a process that was not run for long must not give
            // up a peer that it has had no time to hear.
            Some(since) => {
                let rest = config.dead_after - config.suspect_after;
                (since + rest, Due::Dead)
            }
        }
    }

    pub fn deadline(&self, config: &Config) -> Instant {
        self.next(config).0
    }

    /// What is due at `now`. Being suspect is noted, and that a ping waits.
    pub fn due(&mut self, config: &Config, now: Instant) -> Due {
        let (at, due) = self.next(config);
        if now < at {
            return Due::Nothing;
        }
        match due {
            Due::Ping => self.ping = Ping::Pending(now),
            Due::Suspect => self.suspect = Some(now),
            _ => {}
        }
        due
    }
}

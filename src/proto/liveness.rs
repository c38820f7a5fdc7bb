//! When to ping, when to doubt, when to give up, and the round-trip time.
//!
//! Any byte counts as life. A ping leaves when nothing was heard for the
//! configured time, and each [`PROBE_EVERY`] while something is sent: so a
//! request into a black hole is noticed, and the round-trip time is known of a
//! connection that is never silent. While the ping is unanswered and nothing
//! is heard, the connection first becomes suspect and then dead. A ping that
//! can't leave counts as well, and so does a transport that takes bytes again:
//! a peer that only takes them slowly is alive. Where this side looks late,
//! because the machine is busy, the peer has the time between suspect and dead
//! from then on.

use std::time::{Duration, Instant};

use super::Config;

/// How long after an answer something that is sent asks for another. Several
/// times the longest round trip on Earth.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// How long the shortest round trip holds at least, as in BBR, and half of how long it
/// does at most. A way that has become longer must be noticed: sooner if so many round
/// trips in a row have all taken half as long again, more than a queue makes of a link
/// that is paced.
const MIN_RTT_HOLDS: Duration = Duration::from_secs(10);
const LONGER: u32 = 16;

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
    rtt: Option<Duration>,
    /// The shortest since then, and of the time before.
    min_rtt: Option<Duration>,
    min_rtt_before: Option<Duration>,
    min_rtt_since: Instant,
    /// Round trips since then.
    rounds: u32,
    /// Bytes that had been sent when the last ping left.
    sent: u64,
    round: Option<Round>,
}

/// A ping and its answer, behind everything that was sent before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Round {
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
    Owed(Instant),
    /// The ping under way: its token and when it left.
    Sent(u64, Instant),
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
            asks: false,
            // The first round-trip sample.
            ping: Ping::Owed(now),
            answered: now,
            token: 0,
            answered_token: 0,
            suspect: None,
            rtt: None,
            min_rtt: None,
            min_rtt_before: None,
            min_rtt_since: now,
            rounds: 0,
            sent: 0,
            round: None,
        }
    }

    pub fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    /// The shortest round-trip time of the last ten to twenty seconds, or of the last
    /// two pings if those are longer ago.
    pub fn min_rtt(&self) -> Option<Duration> {
        self.min_rtt.into_iter().chain(self.min_rtt_before).min()
    }

    pub fn heard(&self) -> Instant {
        self.heard
    }

    pub fn is_suspect(&self) -> bool {
        self.suspect.is_some()
    }

    /// A sign of life; whether the connection was suspect until now.
    pub fn on_life(&mut self, now: Instant) -> bool {
        self.heard = self.heard.max(now);
        self.suspect.take().is_some()
    }

    pub fn on_blocked(&mut self, now: Instant) {
        self.blocked.get_or_insert(now);
    }

    pub fn on_progress(&mut self) {
        self.blocked = None;
    }

    pub fn on_sent(&mut self) {
        self.asks = true;
    }

    pub fn on_connected(&mut self) {
        self.connected = true;
    }

    /// The last ping that was answered.
    pub fn round(&self) -> Option<Round> {
        self.round
    }

    /// Asks for a ping, unless one is under way.
    pub fn probe(&mut self, now: Instant) {
        if matches!(self.ping, Ping::No) && self.connected {
            self.ping = Ping::Owed(now);
        }
    }

    /// The token of a ping that leaves now, behind so many bytes.
    pub fn ping(&mut self, sent: u64, now: Instant) -> u64 {
        self.token += 1;
        self.sent = sent;
        self.ping = Ping::Sent(self.token, now);
        self.asks = false;
        self.token
    }

    /// The peer knows none.
    pub fn no_ping(&mut self) {
        self.ping = Ping::No;
    }

    pub fn owes_ping(&self) -> bool {
        matches!(self.ping, Ping::Owed(_))
    }

    /// A pong: a round-trip sample, smoothed as TCP does it (RFC 6298, 1/8).
    /// Whether it answers a ping; of several under way the last counts, which a drain
    /// sends behind another.
    pub fn on_pong(&mut self, token: u64, now: Instant) -> bool {
        if !(self.answered_token + 1..=self.token).contains(&token) {
            return false;
        }
        self.answered_token = token;
        let at = match self.ping {
            Ping::Sent(sent, at) if sent == token => at,
            _ => return true,
        };
        self.ping = Ping::No;
        self.answered = now;
        let sample = now.saturating_duration_since(at);
        self.round = Some(Round {
            sent: self.sent,
            left: at,
            answered: now,
        });
        let longer = self.min_rtt > self.min_rtt_before.map(|before| before * 3 / 2);
        if now >= self.min_rtt_since + MIN_RTT_HOLDS || longer && self.rounds >= LONGER {
            (self.min_rtt_since, self.min_rtt_before) = (now, self.min_rtt.take());
            self.rounds = 0;
        }
        self.min_rtt = Some(self.min_rtt.map_or(sample, |rtt| rtt.min(sample)));
        self.rounds += 1;
        self.rtt = Some(self.rtt.map_or(sample, |rtt| (rtt * 7 + sample) / 8));
        true
    }

    /// What is due next, and when.
    fn next(&self) -> (Instant, Due) {
        let (at, due) = self.next_of_peer();
        match self.blocked.map(|since| since + self.write_stall) {
            Some(end) if end < at && self.connected => (end, Due::Stalled),
            _ => (at, due),
        }
    }

    fn next_of_peer(&self) -> (Instant, Due) {
        if !self.connected {
            return (self.started + self.handshake, Due::HandshakeTimeout);
        }
        let asked = match self.ping {
            Ping::Owed(since) | Ping::Sent(_, since) => self.heard.max(since),
            Ping::No if self.asks => {
                return (self.answered + self.ping_after.min(PROBE_EVERY), Due::Ping);
            }
            Ping::No => return (self.heard + self.ping_after, Due::Ping),
        };
        match self.suspect {
            None => (asked + self.suspect_after, Due::Suspect),
            Some(since) => (since + (self.dead_after - self.suspect_after), Due::Dead),
        }
    }

    pub fn deadline(&self) -> Instant {
        self.next().0
    }

    /// What is due at `now`. Being suspect is noted, and that a ping is owed.
    pub fn due(&mut self, now: Instant) -> Due {
        let (at, due) = self.next();
        if now < at {
            return Due::Nothing;
        }
        match due {
            Due::Ping => self.ping = Ping::Owed(now),
            Due::Suspect => self.suspect = Some(now),
            _ => {}
        }
        due
    }
}

//! How fast a long link is filled.
//!
//! TCP fills a link until packets wait on it or are lost. What was handed to TCP
//! can't be overtaken any more, so small messages beside a transfer wait with it,
//! and each loss holds up all channels. So on links where a round trip is 20 ms or
//! more, bytes are handed over at the pace at which the link [`carries`](link)
//! them, once that is known.

mod link;

use std::time::{Duration, Instant};

use self::link::{LEAST_RTT, Link, Seen};
use crate::proto::Round;

/// How long it is remembered what the link carries.
const MEMORY: Duration = Duration::from_secs(10);

/// The part of a round trip whose bytes may leave at once after a pause.
const PAUSE: u32 = 8;

/// Seconds whose bytes leave at once: timers are no finer.
const PIECE: f64 = 0.001;

#[derive(Debug)]
pub(super) struct Pacer {
    on: bool,
    link: Link,
    rtt: Duration,
    /// Bytes a second; none while the transport gets all that it takes.
    pace: Option<f64>,
    /// Bytes that might leave at that time.
    allowed: f64,
    at: Instant,
    last: Option<Round>,
    /// Since when more is to be sent than may leave.
    waiting: Option<Instant>,
    /// How long that was so since the last round.
    waited: Duration,
    /// It was so for most of the last round.
    full: bool,
    /// When such a round last ended.
    filled: Instant,
}

impl Pacer {
    pub fn new(on: bool, now: Instant) -> Self {
        Pacer {
            on,
            link: Link::new(now),
            rtt: Duration::ZERO,
            pace: None,
            allowed: 0.0,
            at: now,
            last: None,
            waiting: None,
            waited: Duration::ZERO,
            full: false,
            filled: now,
        }
    }

    /// Whether bytes are spaced.
    pub fn is_on(&self) -> bool {
        self.pace.is_some()
    }

    /// The transport gets all from now on.
    pub fn stop(&mut self) {
        self.on = false;
        self.pace = None;
    }

    /// Whether a ping should go along.
    pub fn asks(&self) -> bool {
        self.on && self.waiting.is_some() && self.rtt >= LEAST_RTT
    }

    /// Whether more is to be sent than may leave, or than the transport takes.
    pub fn note(&mut self, waits: bool, now: Instant) {
        if let Some(since) = self.waiting {
            self.waited += now.saturating_duration_since(since);
        }
        self.waiting = waits.then_some(now);
    }

    /// Bytes that may leave now.
    pub fn room(&mut self, now: Instant) -> usize {
        let Some(pace) = self.pace else {
            return usize::MAX;
        };
        if now.saturating_duration_since(self.filled) > MEMORY {
            self.pace = None;
            self.link.forget();
            return usize::MAX;
        }
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        let most = pace * (self.rtt / PAUSE).as_secs_f64();
        self.allowed = (self.allowed + pace * passed).min(most);
        self.at = now;
        match self.allowed > 0.0 {
            true => self.allowed.max(pace * PIECE) as usize,
            false => 0,
        }
    }

    /// So many bytes have left.
    pub fn spend(&mut self, bytes: usize) {
        self.allowed -= bytes as f64;
    }

    /// When more may leave, if none may now.
    pub fn until(&mut self, now: Instant) -> Option<Instant> {
        if self.room(now) > 0 {
            return None;
        }
        let pace = self.pace?;
        let lacks = pace * PIECE - self.allowed;
        Some(now + Duration::from_secs_f64(lacks / pace))
    }

    /// The last ping that was answered, and the shortest round trip.
    pub fn on_round(&mut self, round: Option<Round>, rtt: Option<Duration>, now: Instant) {
        let (Some(round), Some(rtt)) = (round, rtt) else {
            return;
        };
        if self.last == Some(round) || !self.on {
            return;
        }
        self.rtt = rtt;
        self.note(self.waiting.is_some(), now);
        let waited = std::mem::take(&mut self.waited);
        let Some(before) = self.last.replace(round) else {
            return;
        };
        let passed = round.answered.saturating_duration_since(before.answered);
        let asked = round.left.saturating_duration_since(before.left);
        if passed.is_zero() || rtt < LEAST_RTT {
            return;
        }
        let full = waited * 4 >= passed * 3;
        let was_full = std::mem::replace(&mut self.full, full);
        if full {
            self.filled = now;
        }
        let seen = Seen {
            // Neither faster than it was sent nor than it arrived.
            rate: (round.sent - before.sent) as f64 / passed.max(asked).as_secs_f64(),
            delay: (round.answered - round.left).saturating_sub(rtt),
            full: was_full && full,
        };
        let pace = self.link.on_round(seen, rtt, self.pace, now);
        if self.pace.is_none() {
            (self.at, self.allowed) = (now, 0.0);
        }
        self.pace = pace;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(80);
    const MS: Duration = Duration::from_millis(1);

    /// One that spaces a million bytes a second.
    fn paced(now: Instant) -> Pacer {
        let mut pacer = Pacer::new(true, now);
        (pacer.rtt, pacer.pace) = (RTT, Some(1e6));
        pacer
    }

    #[test]
    fn the_bytes_of_a_second_are_the_pace() {
        let start = Instant::now();
        let mut pacer = paced(start);
        let (mut now, mut left) = (start, 0);
        while now < start + Duration::from_secs(1) {
            let room = pacer.room(now).min(64 * 1024);
            pacer.spend(room);
            left += room;
            now = pacer.until(now).unwrap_or(now);
        }
        assert!((995_000..1_005_000).contains(&left), "{left}");
    }

    #[test]
    fn a_pause_allows_the_bytes_of_an_eighth_of_a_round_trip_at_once() {
        let start = Instant::now();
        let mut pacer = paced(start);
        assert_eq!(pacer.room(start + Duration::from_secs(1)), 10_000);
    }

    #[test]
    fn a_frame_too_much_is_made_up_for() {
        let start = Instant::now();
        let mut pacer = paced(start);
        assert_eq!(pacer.room(start + MS), 1_000);
        pacer.spend(16_000);
        assert_eq!(pacer.until(start + MS), Some(start + 17 * MS));
    }

    #[test]
    fn what_the_link_carries_is_forgotten_after_ten_seconds_that_did_not_fill_it() {
        let start = Instant::now();
        let mut pacer = paced(start);
        assert!(pacer.room(start + MEMORY) < usize::MAX);
        assert_eq!(pacer.room(start + MEMORY + MS), usize::MAX);
    }

    #[test]
    fn nothing_is_asked_on_a_short_link() {
        let start = Instant::now();
        let mut pacer = Pacer::new(true, start);
        for (rtt, asks) in [(LEAST_RTT - MS, false), (LEAST_RTT, true)] {
            pacer.rtt = rtt;
            pacer.note(true, start);
            assert_eq!(pacer.asks(), asks);
        }
    }
}

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
use crate::proto::DeliverySample;

/// How long it is remembered what the link carries.
const MEMORY: Duration = Duration::from_secs(10);

/// The part of a round trip whose bytes may leave at once after a pause, and when
/// they waited for the task, which had no turn.
const PAUSE: u32 = 8;
const LATE_TURN: u32 = 2;

/// Of longer links, which are none on Earth, nothing is known in time.
const LONGEST_RTT: Duration = Duration::from_secs(2);

/// What leaves at once: timers are no finer.
const TICK: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub struct Pacer {
    on: bool,
    link: Link,
    rtt: Duration,
    /// Bytes a second; none while the transport gets all that it takes.
    pace: Option<f64>,
    /// Bytes that might leave at that time.
    allowed: f64,
    at: Instant,
    last: Option<DeliverySample>,
    /// Since when more is to be sent than may leave.
    waiting: Option<Instant>,
    /// How long that was so since the last round.
    waited: Duration,
    /// Nothing left for so long that some that was allowed did not.
    cut: bool,
    /// More was to be sent, and all that was allowed left, for most of the last
    /// round.
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
            cut: false,
            full: false,
            filled: now,
        }
    }

    /// The shortest round trip; zero until it is known.
    #[cfg(feature = "net")]
    pub fn rtt(&self) -> Duration {
        self.rtt
    }

    /// Bytes a second, if they are.
    pub fn pace(&self) -> Option<u64> {
        self.pace.map(|pace| pace as u64)
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
        let part = match self.waiting {
            Some(_) => LATE_TURN,
            None => PAUSE,
        };
        let most = pace * (self.rtt / part).as_secs_f64();
        self.allowed += pace * passed;
        self.cut |= self.allowed > most && self.waiting.is_some();
        self.allowed = self.allowed.min(most);
        self.at = self.at.max(now);
        match self.allowed > 0.0 {
            true => self.allowed.max(pace * TICK.as_secs_f64()).max(1.0) as usize,
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
        let lacks = (pace * TICK.as_secs_f64() - self.allowed).max(0.0);
        let until = now + Duration::from_secs_f64(lacks / pace);
        Some(until.min(self.filled + MEMORY + TICK))
    }

    /// The last ping that was answered, and the shortest round trip.
    pub fn on_round(&mut self, round: Option<DeliverySample>, rtt: Option<Duration>, now: Instant) {
        let (Some(round), Some(rtt)) = (round, rtt) else {
            return;
        };
        self.rtt = rtt;
        if self.last == Some(round) || !self.on {
            return;
        }
        self.note(self.waiting.is_some(), now);
        let waited = std::mem::take(&mut self.waited);
        let Some(before) = self.last.replace(round) else {
            return;
        };
        let passed = round.answered.saturating_duration_since(before.answered);
        let asked = round.left.saturating_duration_since(before.left);
        if !(LEAST_RTT..=LONGEST_RTT).contains(&rtt) {
            self.pace = None;
            return;
        }
        let cut = std::mem::take(&mut self.cut);
        let full = waited * 4 >= passed * 3 && !cut;
        let was_full = std::mem::replace(&mut self.full, full);
        if full {
            self.filled = now;
        }
        let seen = Seen {
            // Neither faster than it was sent nor than it arrived.
            rate: (round.sent - before.sent) as f64 / passed.max(asked).max(TICK).as_secs_f64(),
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

    #[test]
    fn what_waited_while_the_task_had_no_turn_leaves_for_up_to_half_a_round_trip() {
        let start = Instant::now();
        let mut pacer = paced(start);
        pacer.note(true, start);
        assert_eq!(pacer.room(start + RTT / 2), 40_000);
        assert!(!pacer.cut);
        pacer.spend(40_000);
        assert_eq!(pacer.room(start + 3 * RTT), 40_000);
        assert!(pacer.cut);
    }

    #[test]
    fn a_pace_of_less_than_a_byte_a_millisecond_has_an_end_of_the_wait() {
        let start = Instant::now();
        let mut pacer = paced(start);
        (pacer.pace, pacer.allowed) = (Some(400.0), 0.9);
        assert_eq!(pacer.room(start), 1);
        pacer.allowed = -0.1;
        assert!(pacer.until(start).unwrap() > start);
    }

    #[test]
    fn nothing_waits_for_longer_than_is_remembered() {
        let start = Instant::now();
        let mut pacer = paced(start);
        pacer.pace = Some(1000.0);
        pacer.spend(64 * 1024);
        assert_eq!(pacer.until(start), Some(start + MEMORY + TICK));
    }

    #[test]
    #[cfg(feature = "net")]
    fn the_round_trip_is_known_though_nothing_is_spaced() {
        let left = Instant::now();
        let mut pacer = Pacer::new(false, left);
        let answered = left + RTT;
        let round = DeliverySample {
            sent: 0,
            left,
            answered,
        };
        pacer.on_round(Some(round), Some(RTT), answered);
        assert_eq!(pacer.rtt(), RTT);
    }

    #[test]
    fn a_link_that_gets_short_is_not_spaced() {
        let start = Instant::now();
        let mut pacer = paced(start);
        let mut answer = |sent, left, rtt| {
            let answered = left + rtt;
            let round = DeliverySample {
                sent,
                left,
                answered,
            };
            pacer.on_round(Some(round), Some(rtt), answered);
            pacer.pace().is_some()
        };
        assert!(answer(0, start, RTT));
        assert!(!answer(9, start + RTT, MS));
    }
}

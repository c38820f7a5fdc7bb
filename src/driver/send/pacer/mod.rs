//! Pacing: bytes leave no faster than a long link delivers them.
//!
//! TCP by itself fills a link until packets queue or are lost. Bytes that TCP has taken can't
//! be overtaken, so small messages wait behind a transfer, and each loss holds up all
//! channels. So on links with a round trip of 20 ms or more, bytes are handed to TCP at the
//! rate that the [link](link) delivers, once that is known.

mod link;

use std::time::{Duration, Instant};

use self::link::{LEAST_RTT, Link, Seen};
use crate::proto::DeliverySample;

/// How long a rate is kept after the link was last saturated. The link may have changed
/// since then.
const MEMORY: Duration = Duration::from_secs(10);

/// The largest burst, as a part of a round trip's bytes: after a pause of the sender, and
/// after the task was scheduled late.
const PAUSE: u32 = 8;
const LATE_TASK: u32 = 2;

/// The longest round trip that is paced: there is none on Earth above it.
const LONGEST_RTT: Duration = Duration::from_secs(2);

/// Bytes of so much time leave together: timers are no finer.
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
    /// How long that was so since the last sample.
    waited: Duration,
    /// A burst was cut to its maximum, because the task was scheduled too late.
    burst_cut: bool,
    /// The link was saturated by this side for most of the last sample.
    saturated: bool,
    /// When such a sample last ended.
    saturated_at: Instant,
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
            burst_cut: false,
            saturated: false,
            saturated_at: now,
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
        if now.saturating_duration_since(self.saturated_at) > MEMORY {
            self.pace = None;
            self.link.forget();
            return usize::MAX;
        }
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        let part = match self.waiting {
            Some(_) => LATE_TASK,
            None => PAUSE,
        };
        let most = pace * (self.rtt / part).as_secs_f64();
        self.allowed += pace * passed;
        self.burst_cut |= self.allowed > most && self.waiting.is_some();
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
        Some(until.min(self.saturated_at + MEMORY + TICK))
    }

    /// The last ping that was answered, and the shortest round trip.
    pub fn on_sample(
        &mut self,
        sample: Option<DeliverySample>,
        rtt: Option<Duration>,
        now: Instant,
    ) {
        let (Some(sample), Some(rtt)) = (sample, rtt) else {
            return;
        };
        self.rtt = rtt;
        if self.last == Some(sample) || !self.on {
            return;
        }
        self.note(self.waiting.is_some(), now);
        let waited = std::mem::take(&mut self.waited);
        let Some(before) = self.last.replace(sample) else {
            return;
        };
        let passed = sample.answered.saturating_duration_since(before.answered);
        let asked = sample.left.saturating_duration_since(before.left);
        if !(LEAST_RTT..=LONGEST_RTT).contains(&rtt) {
            self.pace = None;
            return;
        }
        let burst_cut = std::mem::take(&mut self.burst_cut);
        let saturated = waited * 4 >= passed * 3 && !burst_cut;
        let was_saturated = std::mem::replace(&mut self.saturated, saturated);
        if saturated {
            self.saturated_at = now;
        }
        let seen = Seen {
            // Neither faster than it was sent nor than it arrived.
            rate: (sample.sent - before.sent) as f64 / passed.max(asked).max(TICK).as_secs_f64(),
            delay: (sample.answered - sample.left).saturating_sub(rtt),
            saturated: was_saturated && saturated,
        };
        let pace = self.link.on_sample(seen, rtt, self.pace, now);
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
        assert!(!pacer.burst_cut);
        pacer.spend(40_000);
        assert_eq!(pacer.room(start + 3 * RTT), 40_000);
        assert!(pacer.burst_cut);
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
        let sample = DeliverySample {
            sent: 0,
            left,
            answered,
        };
        pacer.on_sample(Some(sample), Some(RTT), answered);
        assert_eq!(pacer.rtt(), RTT);
    }

    #[test]
    fn a_link_that_gets_short_is_not_spaced() {
        let start = Instant::now();
        let mut pacer = paced(start);
        let mut answer = |sent, left, rtt| {
            let answered = left + rtt;
            let sample = DeliverySample {
                sent,
                left,
                answered,
            };
            pacer.on_sample(Some(sample), Some(rtt), answered);
            pacer.pace().is_some()
        };
        assert!(answer(0, start, RTT));
        assert!(!answer(9, start + RTT, MS));
    }
}

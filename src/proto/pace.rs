//! Whether the transport is what holds one direction up, and at what pace.
//!
//! A transport that loses packets carries little for each round trip, however
//! much there is to carry, and several of them carry several times as much.
//! What shows it needs no knowledge of TCP. While a peer has more to send, its
//! bytes stop in the middle of a frame; while this side has more, the transport
//! takes no more. If that is so most of the time, over two looks in a row, and
//! the pace neither grows as in a slow start nor is one that a healthy long link
//! has, the direction is held up.

use std::time::{Duration, Instant};

/// Round trips from one look to the next.
const LOOK: u32 = 4;

/// Bytes a round trip from which a connection is not held up: with 80 ms,
/// 50 Mbit/s.
pub(crate) const HEALTHY: u64 = 512 << 10;

/// Loss on shorter links is repaired before it is noticed.
pub(crate) const LEAST_ROUND: Duration = Duration::from_millis(20);

/// One direction.
#[derive(Debug)]
pub(super) struct Pace {
    /// Of the last look: when it was, and how many bytes had passed.
    since: Instant,
    bytes: u64,
    /// The next is not before that.
    soonest: Instant,
    /// Since when the transport is waited for.
    waiting: Option<Instant>,
    /// How long it was waited for since the last look.
    waited: Duration,
    /// The pace before the last look, if the transport set it.
    before: Option<u64>,
    /// At the last look the transport set the pace of a healthy long link.
    full: bool,
}

/// The transport was found to carry little for its round-trip time, as one that
/// loses packets does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeldUp {
    /// When.
    pub at: Instant,
    /// Bytes a round trip that it carried in the direction that was looked at.
    pub pace: u64,
    /// The same in bytes a second.
    pub rate: u64,
}

#[cfg(all(test, feature = "client"))]
impl HeldUp {
    pub(crate) fn at(at: Instant, pace: u64) -> Self {
        let rate = pace;
        HeldUp { at, pace, rate }
    }
}

impl Pace {
    pub fn new(now: Instant) -> Self {
        Pace {
            since: now,
            bytes: 0,
            soonest: now + LEAST_ROUND * LOOK,
            waiting: None,
            waited: Duration::ZERO,
            before: None,
            full: false,
        }
    }

    /// Whether a transfer fills the direction: what comes to it now waits.
    pub fn is_full(&self) -> bool {
        self.full && self.waiting.is_some()
    }

    /// So many bytes have passed in all, and the transport is waited for now or
    /// is not. `rtt` is the shortest round-trip time.
    pub fn on(
        &mut self,
        bytes: u64,
        waits: bool,
        now: Instant,
        rtt: Option<Duration>,
    ) -> Option<HeldUp> {
        if let Some(since) = self.waiting {
            self.waited += now.saturating_duration_since(since);
        }
        self.waiting = waits.then_some(now);
        if now < self.soonest {
            return None;
        }
        let elapsed = now.saturating_duration_since(self.since);
        let round = rtt?.max(LEAST_ROUND);
        if elapsed < round * LOOK {
            return None;
        }
        let passed = u128::from(bytes - self.bytes);
        let pace = (passed * round.as_nanos() / elapsed.as_nanos()) as u64;
        let waited = std::mem::take(&mut self.waited) * 4 >= elapsed * 3;
        self.full = waited && pace >= HEALTHY && rtt >= Some(LEAST_ROUND);
        let before = std::mem::replace(&mut self.before, waited.then_some(pace));
        (self.since, self.bytes) = (now, bytes);
        self.soonest = now + LEAST_ROUND * LOOK;
        let before = before.filter(|_| waited)?;
        // One that carries nothing at all is late: that is for the liveness.
        let held_up = pace > 0 && pace < before + before / 2 && pace < HEALTHY;
        let rate = (passed * 1_000_000_000 / elapsed.as_nanos()) as u64;
        held_up.then_some(HeldUp {
            at: now,
            pace,
            rate,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(80);

    /// What is found of a direction that carries so many bytes in each round
    /// trip and is waited for in this share of it, in percent.
    fn found(rounds: &[u64], waited: u32) -> Vec<u64> {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let (mut bytes, mut found) = (0, Vec::new());
        for (round, carried) in rounds.iter().enumerate() {
            let begin = start + RTT * round as u32;
            bytes += carried;
            found.extend(pace.on(bytes, true, begin, Some(RTT)));
            found.extend(pace.on(bytes, false, begin + RTT * waited / 100, Some(RTT)));
        }
        found.into_iter().map(|found| found.pace).collect()
    }

    #[test]
    fn a_steady_small_pace_that_the_transport_sets_is_held_up() {
        let found = found(&[20_000; 13], 90);
        assert!(!found.is_empty() && found.iter().all(|pace| (19_000..26_000).contains(pace)));
    }

    #[test]
    fn a_pace_that_the_peer_sets_is_not_held_up() {
        assert!(found(&[20_000; 40], 10).is_empty());
    }

    #[test]
    fn a_transport_that_carries_nothing_is_late_and_not_held_up() {
        assert!(found(&[0; 40], 100).is_empty());
    }

    #[test]
    fn a_slow_start_is_not_held_up() {
        let doubling: Vec<u64> = (0..12).map(|round| 14_000 << round).collect();
        assert!(found(&doubling, 90).is_empty());
    }

    #[test]
    fn a_large_pace_is_not_held_up() {
        assert!(found(&[HEALTHY + 100_000; 40], 90).is_empty());
    }

    #[test]
    fn a_large_pace_that_the_transport_sets_fills_the_link_until_it_is_over() {
        let (start, mut pace) = (Instant::now(), Pace::new(Instant::now()));
        for round in 0..10 {
            let now = start + RTT * round;
            pace.on(HEALTHY * u64::from(round) * 2, true, now, Some(RTT));
        }
        assert!(pace.is_full());
        pace.on(HEALTHY * 20, false, start + RTT * 10, Some(RTT));
        assert!(!pace.is_full());
    }

    #[test]
    fn a_short_link_is_not_filled() {
        let (start, mut pace) = (Instant::now(), Pace::new(Instant::now()));
        for round in 0..10 {
            let now = start + RTT * round;
            pace.on(HEALTHY * u64::from(round) * 9, true, now, Some(RTT / 8));
        }
        assert!(!pace.is_full());
    }

    #[test]
    fn a_transfer_of_a_few_round_trips_is_not_held_up() {
        assert!(found(&[20_000; 8], 90).is_empty());
    }
}

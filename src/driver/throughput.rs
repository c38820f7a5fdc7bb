//! Whether the transport is what limits the throughput, and at what rate.
//!
//! A transport that loses packets carries little in each round trip, however much is to
//! be sent, and several such transports carry several times as much. Two signs show it
//! without any knowledge of TCP:
//!
//! - While the peer has more to send, its bytes stop in the middle of a frame.
//! - While this side has more to send, the transport is write-blocked.
//!
//! A direction is throughput-limited if both of these hold over two samples in a row:
//!
//! - One sign is there most of the time.
//! - The rate is steady, and below that of a healthy long link. In a slow start it grows.
//!   Where loss begins it falls.

use std::time::{Duration, Instant};

use crate::proto;

/// Round trips that a sample covers: one alone varies too much by chance.
const SAMPLE: u32 = 4;

/// Bytes a round trip from which a direction is not limited: 50 Mbit/s over 80 ms.
const HEALTHY: u64 = 512 << 10;

/// The shortest round trip that counts: loss on shorter links is repaired before it is
/// noticed.
const LEAST_RTT: Duration = Duration::from_millis(20);

/// How much the transport carries: [`Connection::throughput`](crate::Connection::throughput).
///
/// ```
/// # fn look(connection: &tcpchan::Connection) {
/// let throughput = connection.throughput();
/// if let Some(limited) = throughput.limited {
///     println!("the transport carries {} bytes a second", limited.bytes_per_second);
/// }
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Throughput {
    /// When the transport was last found to limit a direction, and at what rate.
    pub limited: Option<ThroughputLimited>,
    /// Whether a transfer saturates a direction. Small messages wait with it if packets are
    /// lost.
    ///
    /// It holds if the round trip is 20 ms or more, and the transport carried 512 KiB or more in
    /// each of four round trips and was waited for all that time.
    pub saturated: bool,
    /// Bytes a second that this side sends at most, while it paces what it sends so
    /// that it doesn't wait on the link ([`Config::pacing`](crate::Config::pacing)).
    pub pace: Option<u64>,
}

/// A direction in which the transport carries little for its round-trip time, as one
/// that loses packets does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ThroughputLimited {
    /// When it was found.
    pub at: Instant,
    /// Bytes that it carried in a round trip.
    pub bytes_per_round_trip: u64,
    /// Bytes that it carried in a second.
    pub bytes_per_second: u64,
}

/// What is measured of both directions of a connection.
#[derive(Debug)]
pub(super) struct Monitor {
    received: Direction,
    bytes_received: u64,
    sent: Direction,
    limited: Option<ThroughputLimited>,
    pub pace: Option<u64>,
}

/// One direction.
#[derive(Debug)]
struct Direction {
    /// When the last sample ended, and how many bytes had passed.
    since: Instant,
    bytes: u64,
    /// The next does not end before that.
    soonest: Instant,
    /// Since when the transport is waited for.
    waiting: Option<Instant>,
    /// How long it was waited for since the last sample.
    waited: Duration,
    /// Bytes a round trip in the last sample, if the transport set that.
    before: Option<u64>,
    /// In the last sample the transport set the rate of a healthy long link.
    saturated: bool,
}

impl Monitor {
    pub fn new(now: Instant) -> Self {
        Monitor {
            received: Direction::new(now),
            bytes_received: 0,
            sent: Direction::new(now),
            limited: None,
            pace: None,
        }
    }

    /// So many bytes were received. Whether that direction was found to be limited.
    pub fn on_received(&mut self, len: usize, core: &proto::Connection, now: Instant) -> bool {
        self.bytes_received += len as u64;
        let (waits, rtt) = (core.is_within_data(), core.min_rtt());
        let found = self.received.on(self.bytes_received, waits, now, rtt);
        self.note(found)
    }

    /// The transport is write-blocked, or is so no more. Whether that direction was
    /// found to be limited.
    pub fn on_blocked(&mut self, core: &proto::Connection, blocked: bool, now: Instant) -> bool {
        let (bytes, rtt) = (core.stats().bytes_sent, core.min_rtt());
        let found = self.sent.on(bytes, blocked, now, rtt);
        self.note(found)
    }

    fn note(&mut self, found: Option<ThroughputLimited>) -> bool {
        self.limited = found.or(self.limited);
        found.is_some()
    }

    pub fn throughput(&self) -> Throughput {
        Throughput {
            limited: self.limited,
            saturated: self.received.is_saturated() || self.sent.is_saturated(),
            pace: self.pace,
        }
    }
}

#[cfg(all(test, feature = "client"))]
impl ThroughputLimited {
    pub(crate) fn at(at: Instant, bytes: u64) -> Self {
        ThroughputLimited {
            at,
            bytes_per_round_trip: bytes,
            bytes_per_second: bytes,
        }
    }
}

impl Direction {
    fn new(now: Instant) -> Self {
        Direction {
            since: now,
            bytes: 0,
            soonest: now + LEAST_RTT * SAMPLE,
            waiting: None,
            waited: Duration::ZERO,
            before: None,
            saturated: false,
        }
    }

    /// Whether a transfer fills the direction: what comes to it now waits.
    fn is_saturated(&self) -> bool {
        self.saturated && self.waiting.is_some()
    }

    /// So many bytes have passed in all, and the transport is waited for now or
    /// is not. `rtt` is the shortest round-trip time.
    fn on(
        &mut self,
        bytes: u64,
        waits: bool,
        now: Instant,
        rtt: Option<Duration>,
    ) -> Option<ThroughputLimited> {
        if let Some(since) = self.waiting {
            self.waited += now.saturating_duration_since(since);
        }
        self.waiting = waits.then_some(now);
        if now < self.soonest {
            return None;
        }
        let elapsed = now.saturating_duration_since(self.since);
        let long = rtt >= Some(LEAST_RTT);
        let rtt = rtt?.max(LEAST_RTT);
        if elapsed < rtt * SAMPLE {
            return None;
        }
        let passed = u128::from(bytes - self.bytes);
        let carried = (passed * rtt.as_nanos() / elapsed.as_nanos()) as u64;
        let waited = std::mem::take(&mut self.waited) * 4 >= elapsed * 3;
        self.saturated = waited && carried >= HEALTHY && long;
        let before = std::mem::replace(&mut self.before, waited.then_some(carried));
        (self.since, self.bytes) = (now, bytes);
        self.soonest = now + LEAST_RTT * SAMPLE;
        let before = before.filter(|_| waited && long)?;
        // A transport that carries nothing at all is late: the core's keepalive sees that.
        // While a window collapses, what the transport carries is no measure.
        let steady = carried < before + before / 2 && before < carried + carried / 2;
        let limited = carried > 0 && steady && carried < HEALTHY;
        limited.then_some(ThroughputLimited {
            at: now,
            bytes_per_round_trip: carried,
            bytes_per_second: (passed * 1_000_000_000 / elapsed.as_nanos()) as u64,
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
        let mut direction = Direction::new(start);
        let (mut bytes, mut found) = (0, Vec::new());
        for (round, carried) in rounds.iter().enumerate() {
            let begin = start + RTT * round as u32;
            bytes += carried;
            found.extend(direction.on(bytes, true, begin, Some(RTT)));
            found.extend(direction.on(bytes, false, begin + RTT * waited / 100, Some(RTT)));
        }
        found
            .into_iter()
            .map(|found| found.bytes_per_round_trip)
            .collect()
    }

    #[test]
    fn a_steady_small_rate_that_the_transport_sets_is_limited() {
        let found = found(&[20_000; 13], 90);
        assert!(!found.is_empty() && found.iter().all(|pace| (19_000..26_000).contains(pace)));
    }

    #[test]
    fn a_rate_that_the_peer_sets_is_not_limited() {
        assert!(found(&[20_000; 40], 10).is_empty());
    }

    #[test]
    fn a_transport_that_carries_nothing_is_late_and_not_limited() {
        assert!(found(&[0; 40], 100).is_empty());
    }

    #[test]
    fn a_slow_start_is_not_limited() {
        let doubling: Vec<u64> = (0..12).map(|round| 14_000 << round).collect();
        assert!(found(&doubling, 90).is_empty());
    }

    #[test]
    fn a_collapsing_window_is_no_measure() {
        let halving: Vec<u64> = (0..10).map(|round| 400_000 >> round).collect();
        assert!(found(&halving, 90).is_empty());
    }

    #[test]
    fn a_large_rate_is_not_limited() {
        assert!(found(&[HEALTHY + 100_000; 40], 90).is_empty());
    }

    #[test]
    fn a_large_rate_that_the_transport_sets_saturates_the_link_until_it_is_over() {
        let (start, mut direction) = (Instant::now(), Direction::new(Instant::now()));
        for round in 0..10 {
            let now = start + RTT * round;
            direction.on(HEALTHY * u64::from(round) * 2, true, now, Some(RTT));
        }
        assert!(direction.is_saturated());
        direction.on(HEALTHY * 20, false, start + RTT * 10, Some(RTT));
        assert!(!direction.is_saturated());
    }

    #[test]
    fn a_short_link_is_not_saturated() {
        let (start, mut direction) = (Instant::now(), Direction::new(Instant::now()));
        for round in 0..10 {
            let now = start + RTT * round;
            direction.on(HEALTHY * u64::from(round) * 9, true, now, Some(RTT / 8));
        }
        assert!(!direction.is_saturated());
    }

    #[test]
    fn a_transfer_of_a_few_round_trips_is_not_limited() {
        assert!(found(&[20_000; 8], 90).is_empty());
    }
}

//! When a few bytes wait a moment for more.
//!
//! On a long link packets are dear. A connection that was idle may send ten,
//! full or not, and what follows waits a round trip. So what is written within
//! a small part of a round trip leaves together, and not as a packet each: the
//! requests of a burst, the answers to it, the ends of its channels. A message
//! that is alone does not wait, nor one that follows the end of a channel.

use std::time::{Duration, Instant};

/// The part of a round trip that something may wait.
const PART: u32 = 128;

/// On links where that is less, a timer is too coarse for it.
const LEAST: Duration = Duration::from_micros(250);

/// On links where that is more, or whose first answer was late.
const MOST: Duration = Duration::from_millis(3);

/// How long it may wait while the round trip is not known, as between the first
/// requests of a burst.
const UNKNOWN: Duration = Duration::from_micros(500);

/// Bytes that don't wait: the last of so many packets may be half full.
const ENOUGH: usize = 16 * 1024;

#[derive(Debug)]
pub struct Coalescer {
    /// When data was written, or many channels came to be answered.
    since: Option<Instant>,
    time: Duration,
}

impl Coalescer {
    pub fn new() -> Self {
        Coalescer {
            since: None,
            time: UNKNOWN,
        }
    }

    /// Whether this is a link on which anything waits.
    pub fn is_on(&self) -> bool {
        self.time > Duration::ZERO
    }

    /// The shortest round trip, once it is known.
    pub fn measure(&mut self, rtt: Option<Duration>) {
        self.time = match rtt.map(|rtt| rtt / PART) {
            None => UNKNOWN,
            Some(time) if time < LEAST => Duration::ZERO,
            Some(time) => time.min(MOST),
        };
    }

    /// More is to be expected from now on.
    pub fn begin(&mut self, now: Instant) {
        self.since = Some(now);
    }

    /// Until when so many bytes wait for more, if they do.
    pub fn until(&self, bytes: usize, now: Instant) -> Option<Instant> {
        let until = self.since? + self.time;
        (self.is_on() && bytes < ENOUGH && now < until).then_some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(80);

    fn coalescer(rtt: Duration) -> (Coalescer, Instant) {
        let now = Instant::now();
        let mut coalescer = Coalescer::new();
        coalescer.measure(Some(rtt));
        (coalescer, now)
    }

    #[test]
    fn a_message_that_is_alone_does_not_wait() {
        let (coalescer, now) = coalescer(RTT);
        assert_eq!(coalescer.until(100, now), None);
    }

    #[test]
    fn what_follows_another_message_waits_a_small_part_of_a_round_trip() {
        let (mut coalescer, now) = coalescer(RTT);
        coalescer.begin(now);
        let until = coalescer.until(100, now).unwrap();
        assert_eq!(until, now + RTT / PART);
        assert_eq!(coalescer.until(100, until), None);
    }

    #[test]
    fn what_fills_many_packets_does_not_wait() {
        let (mut coalescer, now) = coalescer(RTT);
        coalescer.begin(now);
        assert_eq!(coalescer.until(ENOUGH, now), None);
    }

    #[test]
    fn nothing_waits_more_than_three_milliseconds() {
        let (mut coalescer, now) = coalescer(Duration::from_secs(2));
        coalescer.begin(now);
        assert_eq!(coalescer.until(100, now), Some(now + MOST));
    }

    #[test]
    fn on_a_short_link_nothing_waits() {
        let (mut coalescer, now) = coalescer(Duration::from_millis(30));
        coalescer.begin(now);
        assert_eq!(coalescer.until(100, now), None);
    }
}

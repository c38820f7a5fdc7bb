//! One direction of the link, without I/O: what happens to a packet, and when.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use crate::conditions::Conditions;

/// The most lateness that is told apart, in microseconds: a minute.
const LATEST: u64 = 60_000_000;

/// A delay line behind a rate limiter with a tail-drop queue, behind a lossy
/// hop. Packets are never reordered.
pub struct Line {
    conditions: Conditions,
    loss: f64,
    random: Xoshiro256PlusPlus,
    waiting: VecDeque<(Instant, Vec<u8>)>,
    spare: Vec<Vec<u8>>,
    /// When the rate limiter has sent all that it took.
    free_at: Instant,
    last_due: Instant,
    counts: Counts,
}

/// The two directions, by the device that a packet comes from.
pub type Lines = Arc<Mutex<[Line; 2]>>;

/// What became of the packets of one direction.
#[derive(Clone)]
pub struct Counts {
    pub arrived: u64,
    pub lost: u64,
    pub queue_drops: u64,
    pub delivered: u64,
    pub refused: u64,
    /// How long after its due time each packet left, in microseconds.
    pub lateness: Histogram<u64>,
}

impl Line {
    pub fn new(conditions: &Conditions, direction: u64, now: Instant) -> anyhow::Result<Self> {
        Ok(Line {
            conditions: conditions.clone(),
            loss: conditions.loss,
            random: Xoshiro256PlusPlus::seed_from_u64(conditions.seed * 2 + direction),
            waiting: VecDeque::new(),
            spare: Vec::new(),
            free_at: now,
            last_due: now,
            counts: Counts {
                arrived: 0,
                lost: 0,
                queue_drops: 0,
                delivered: 0,
                refused: 0,
                lateness: Histogram::new_with_max(LATEST, 3)?,
            },
        })
    }

    /// Takes a packet that arrived `now`.
    pub fn push(&mut self, now: Instant, packet: &[u8]) {
        self.counts.arrived += 1;
        if self.random.random::<f64>() < self.loss {
            self.counts.lost += 1;
            return;
        }
        let Some(sent) = self.enqueue(now, packet.len()) else {
            self.counts.queue_drops += 1;
            return;
        };
        let jitter = self.conditions.jitter.mul_f64(self.random.random());
        let due = (sent + self.conditions.delay() + jitter).max(self.last_due);
        self.last_due = due;
        let mut buffer = self.spare.pop().unwrap_or_default();
        buffer.clear();
        buffer.extend_from_slice(packet);
        self.waiting.push_back((due, buffer));
    }

    /// When the rate limiter will have sent the packet; `None` if its queue is
    /// full.
    fn enqueue(&mut self, now: Instant, length: usize) -> Option<Instant> {
        if self.conditions.rate == 0 {
            return Some(now);
        }
        let time = Duration::from_nanos(length as u64 * 8_000_000_000 / self.conditions.rate);
        let sent = self.free_at.max(now) + time;
        if sent - now > self.conditions.queue {
            return None;
        }
        self.free_at = sent;
        Some(sent)
    }

    /// Hands over each packet that is due by `now`; `send` says whether it
    /// could. Returns when the next one is due.
    pub fn deliver(
        &mut self,
        now: Instant,
        mut send: impl FnMut(&[u8]) -> bool,
    ) -> Option<Instant> {
        let due_now = self.waiting.partition_point(|(due, _)| *due <= now);
        for (due, packet) in self.waiting.drain(..due_now) {
            match send(&packet) {
                true => self.counts.delivered += 1,
                false => self.counts.refused += 1,
            }
            let late = (now - due).as_micros() as u64;
            self.counts.lateness.saturating_record(late);
            self.spare.push(packet);
        }
        self.waiting.front().map(|(due, _)| *due)
    }

    /// The share of packets that are lost from now on.
    pub fn set_loss(&mut self, loss: f64) {
        self.loss = loss;
    }

    /// The round trip of packets that arrive from now on.
    pub fn set_round_trip(&mut self, round_trip: Duration) {
        self.conditions.round_trip = round_trip;
    }

    pub fn counts(&self) -> &Counts {
        &self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(conditions: Conditions) -> (Line, Instant) {
        let now = Instant::now();
        (Line::new(&conditions, 0, now).unwrap(), now)
    }

    fn clean() -> Conditions {
        Conditions {
            rate: 0,
            loss: 0.0,
            ..Conditions::default()
        }
    }

    /// How many packets leave by `now`.
    fn delivered(line: &mut Line, now: Instant) -> usize {
        let mut count = 0;
        line.deliver(now, |_| {
            count += 1;
            true
        });
        count
    }

    #[test]
    fn a_packet_leaves_after_the_delay_and_not_before() {
        let (mut line, start) = line(clean());
        line.push(start, &[0; 100]);
        let due = start + clean().delay();
        assert_eq!(delivered(&mut line, due - Duration::from_nanos(1)), 0);
        assert_eq!(delivered(&mut line, due), 1);
    }

    #[test]
    fn a_shorter_delay_is_of_the_next_packets_and_never_reorders() {
        let (mut line, start) = line(clean());
        line.push(start, &[0; 100]);
        line.set_round_trip(clean().round_trip / 4);
        line.push(start, &[0; 100]);
        let due = start + clean().delay();
        assert_eq!(delivered(&mut line, due - Duration::from_nanos(1)), 0);
        assert_eq!(delivered(&mut line, due), 2);
        line.push(due, &[0; 100]);
        assert_eq!(delivered(&mut line, due + clean().delay() / 4), 1);
    }

    #[test]
    fn a_packet_that_leaves_late_counts_with_all_its_lateness() {
        let (mut line, start) = line(clean());
        line.push(start, &[0; 100]);
        delivered(
            &mut line,
            start + clean().delay() + Duration::from_millis(500),
        );
        let latest = line.counts().lateness.max();
        assert!((499_000..501_000).contains(&latest), "{latest}");
    }

    #[test]
    fn a_rate_spaces_packets_by_their_length() {
        let rate = Conditions {
            rate: 8_000_000,
            ..clean()
        };
        let (mut line, start) = line(rate);
        line.push(start, &[0; 1000]);
        line.push(start, &[0; 1000]);
        let due = start + clean().delay();
        assert_eq!(delivered(&mut line, due + Duration::from_millis(1)), 1);
        assert_eq!(delivered(&mut line, due + Duration::from_millis(2)), 1);
    }

    #[test]
    fn a_full_queue_drops_its_tail() {
        let narrow = Conditions {
            rate: 8_000_000,
            queue: Duration::from_millis(10),
            ..clean()
        };
        let (mut line, start) = line(narrow);
        for _ in 0..25 {
            line.push(start, &[0; 1000]);
        }
        assert_eq!(line.counts().queue_drops, 15);
        line.push(start + Duration::from_millis(1), &[0; 1000]);
        assert_eq!(line.counts().queue_drops, 15);
    }

    #[test]
    fn jitter_never_reorders() {
        let jittery = Conditions {
            jitter: Duration::from_millis(10),
            ..clean()
        };
        let (mut line, start) = line(jittery);
        for number in 0..100 {
            line.push(start + Duration::from_micros(number), &[number as u8]);
        }
        let mut order = Vec::new();
        line.deliver(start + Duration::from_secs(1), |packet| {
            order.push(packet[0]);
            true
        });
        assert!(order.is_sorted() && order.len() == 100);
    }

    #[test]
    fn the_loss_of_a_seed_is_always_the_same_and_of_the_share_asked_for() {
        let lossy = Conditions {
            loss: 0.01,
            ..clean()
        };
        let lost = |seed| {
            let (mut line, start) = line(Conditions {
                seed,
                ..lossy.clone()
            });
            for _ in 0..100_000 {
                line.push(start, &[0]);
            }
            line.counts().lost
        };
        assert_eq!(lost(1), lost(1));
        assert_ne!(lost(1), lost(2));
        assert!((900..1100).contains(&lost(1)), "{}", lost(1));
    }
}

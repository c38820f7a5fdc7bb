//! The law on a model of a link.

use super::*;

const RTT: Duration = Duration::from_millis(80);
const RATE: f64 = 25e6;

/// A sender with more to send than leaves, and a link with a queue before it.
struct Model {
    link: Link,
    now: Instant,
    rate: f64,
    /// Seconds that bytes wait.
    queue: f64,
    /// Of those, what others cause.
    others: f64,
    /// As TCP sends, if nothing is paced.
    unpaced: f64,
    pace: Option<f64>,
    /// The answer is late by a round trip.
    before: Option<f64>,
}

impl Model {
    fn new() -> Self {
        let now = Instant::now();
        Model {
            link: Link::new(now),
            now,
            rate: RATE,
            queue: 0.0,
            others: 0.0,
            unpaced: 2.0 * RATE,
            pace: None,
            before: None,
        }
    }

    /// A round; what it delivered, as a part of what the link carries.
    fn round(&mut self, saturated: bool) -> f64 {
        let sends = self.before.unwrap_or(self.unpaced);
        let time = (RTT.as_secs_f64() + self.queue).min(2.0 * RTT.as_secs_f64());
        let queue =
            (self.queue + (sends / self.rate - 1.0) * time).clamp(0.0, 0.5 * RTT.as_secs_f64());
        let rate = sends.min(self.rate).max(match self.queue > 0.0 {
            true => self.rate.min(sends + self.queue * self.rate / time),
            false => 0.0,
        });
        self.queue = queue;
        let delay = Duration::from_secs_f64(queue + self.others);
        self.now += Duration::from_secs_f64(time);
        self.before = self.pace;
        let seen = Seen {
            rate,
            delay,
            saturated,
        };
        self.pace = self.link.on_sample(seen, RTT, self.pace, self.now);
        rate / self.rate
    }

    fn rounds(&mut self, count: usize) {
        for _ in 0..count {
            self.round(true);
        }
    }

    /// Of so many rounds, the least that was delivered and the longest queue.
    fn worst(&mut self, count: usize) -> (f64, Duration) {
        let (mut least, mut longest) = (f64::MAX, 0.0);
        for _ in 0..count {
            least = self.round(true).min(least);
            longest = self.queue.max(longest);
        }
        (least, Duration::from_secs_f64(longest))
    }
}

#[test]
fn a_link_is_filled_without_a_long_queue() {
    let mut model = Model::new();
    model.rounds(20);
    let (least, longest) = model.worst(100);
    assert!(least > 0.95, "{least}");
    assert!(longest < RTT / TOO_LONG, "{longest:?}");
}

/// Else the shortest round trip that is remembered would grow with each queue.
#[test]
fn a_long_transfer_sees_the_empty_link_every_ten_seconds() {
    let mut model = Model::new();
    model.rounds(20);
    let (mut seen, mut carried, mut rounds) = (model.now, 0.0, 0);
    let end = model.now + Duration::from_secs(120);
    while model.now < end {
        carried += model.round(true);
        rounds += 1;
        if model.queue < 0.001 {
            seen = model.now;
        }
        assert!(model.now - seen < Duration::from_secs(10));
    }
    assert!(carried / f64::from(rounds) > 0.98);
}

#[test]
fn what_a_link_gains_is_found() {
    let mut model = Model::new();
    model.rounds(20);
    model.rate *= 4.0;
    model.rounds(24);
    let (least, longest) = model.worst(20);
    assert!(least > 0.9, "{least}");
    assert!(longest < RTT / TOO_LONG, "{longest:?}");
}

#[test]
fn a_link_that_carries_less_gets_less() {
    let mut model = Model::new();
    model.rounds(20);
    model.rate /= 3.0;
    model.unpaced = 2.0 * model.rate;
    model.rounds(100);
    let (least, longest) = model.worst(20);
    assert!(least > 0.95, "{least}");
    assert!(longest < RTT / TOO_LONG, "{longest:?}");
}

#[test]
fn what_starts_is_not_spaced() {
    let mut model = Model::new();
    model.others = 0.02;
    model.unpaced = 1e5;
    for _ in 0..8 {
        model.unpaced *= 1.5;
        model.round(true);
        assert_eq!(model.pace, None);
    }
}

#[test]
fn a_link_without_a_queue_is_not_spaced() {
    let mut model = Model::new();
    model.unpaced = RATE / 2.0;
    model.rounds(20);
    assert_eq!(model.pace, None);
}

#[test]
fn few_bytes_a_round_are_not_spaced() {
    let mut model = Model::new();
    model.rate = MIN_BYTES / RTT.as_secs_f64() / 2.0;
    model.unpaced = 2.0 * model.rate;
    model.rounds(20);
    assert_eq!(model.pace, None);
}

#[test]
fn where_others_fill_the_link_nothing_is_spaced_for_a_while() {
    let mut model = Model::new();
    model.others = 0.04;
    let mut paced = 0;
    for _ in 0..40 {
        model.round(true);
        paced += u32::from(model.pace.is_some());
    }
    assert!((1..=2 * PATIENCE).contains(&paced), "{paced}");
    model.now += BACKOFF;
    model.rounds(2);
    assert!(model.pace.is_some());
}

#[test]
fn the_back_off_grows_while_pacing_does_not_help() {
    let mut model = Model::new();
    model.others = 0.04;
    for expected in [5, 10, 20, 40, 80, 160, 320, 320] {
        while model.pace.is_none() {
            model.round(true);
        }
        while model.pace.is_some() {
            model.round(true);
        }
        assert_eq!(model.link.off - model.now, Duration::from_secs(expected));
    }
}

#[test]
fn an_answer_that_is_late_once_changes_nothing() {
    let mut model = Model::new();
    model.rounds(40);
    model.others = 0.07;
    let pace = model.pace;
    model.round(true);
    assert_eq!(model.pace, pace);
}

/// What waits behind a packet that is sent again is late by up to a round trip.
#[test]
fn where_packets_are_lost_nothing_is_spaced_for_a_while() {
    let mut model = Model::new();
    model.rounds(20);
    assert!(model.pace.is_some());
    for round in 0..20 {
        model.others = f64::from(round % 3 / 2) * 0.07;
        model.round(true);
    }
    assert_eq!(model.pace, None);
}

/// As after another way was taken through the net: too little to be late.
#[test]
fn a_way_that_gets_a_little_longer_does_not_slow_down_the_link() {
    let mut model = Model::new();
    model.rounds(40);
    model.others = 0.008;
    let rounds = 200;
    let carried: f64 = (0..rounds).map(|_| model.round(true)).sum();
    assert!(carried > 0.95 * f64::from(rounds), "{carried}");
}

#[test]
fn what_the_application_holds_up_says_nothing_of_the_link() {
    let mut model = Model::new();
    model.rounds(20);
    let pace = model.pace;
    model.before = Some(RATE / 100.0);
    model.round(false);
    assert_eq!(model.pace, pace);
}

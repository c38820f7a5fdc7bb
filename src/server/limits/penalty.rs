//! What a network has to wait for its violations: a growing time that is forgiven.

use std::time::{Duration, Instant};

/// Violations that cost nothing. So a rare one behind a shared address delays nobody.
const FREE: u32 = 4;

/// One violation is forgiven in this time.
const FORGIVEN: Duration = Duration::from_secs(1);

/// The time between two connections after the first violation that is not free. It doubles
/// with each further one, up to [`MOST`].
const LEAST: Duration = Duration::from_millis(10);
const MOST: Duration = Duration::from_millis(500);

/// Violations that are remembered. At this number the time is [`MOST`], so a network that
/// ends its violations is rid of the penalty after seven seconds.
const REMEMBERED: u32 = 11;

/// The longest that a connection is held back. A client finds a server suspect that is silent
/// for two seconds.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// The violations of one network.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Penalty {
    count: u32,
    /// When the next of them is forgiven.
    forgiven_at: Option<Instant>,
    /// When the next connection may be served.
    next: Option<Instant>,
}

impl Penalty {
    /// A connection has broken a rule.
    pub fn violated(&mut self, now: Instant) {
        self.forgive(now);
        if self.count == 0 {
            self.forgiven_at = Some(now + FORGIVEN);
        }
        self.count = REMEMBERED.min(self.count + 1);
        if let Some(delay) = self.delay() {
            let at = now + delay;
            self.next = Some(self.next.map_or(at, |next| next.max(at)));
        }
    }

    /// How long the connection that has come now is held back; none if it is too long.
    pub fn admit(&mut self, now: Instant) -> Option<Duration> {
        self.forgive(now);
        let Some(delay) = self.delay() else {
            return Some(Duration::ZERO);
        };
        let at = self.next.map_or(now, |next| next.max(now));
        let wait = at - now;
        if wait > PATIENCE {
            return None;
        }
        self.next = Some(at + delay);
        Some(wait)
    }

    /// Between two connections.
    fn delay(&self) -> Option<Duration> {
        let beyond = self.count.checked_sub(FREE + 1)?;
        Some(MOST.min(LEAST * 2u32.pow(beyond)))
    }

    fn forgive(&mut self, now: Instant) {
        while self.count > 0
            && let Some(at) = self.forgiven_at
            && at <= now
        {
            self.count -= 1;
            self.forgiven_at = Some(at + FORGIVEN);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(violations: u32, now: Instant) -> Penalty {
        let mut penalty = Penalty::default();
        (0..violations).for_each(|_| penalty.violated(now));
        penalty
    }

    #[test]
    fn four_violations_are_free_and_then_the_time_doubles_up_to_half_a_second() {
        let now = Instant::now();
        let waits = (0..14).map(|violations| after(violations, now).admit(now).unwrap());
        let millis: Vec<u128> = waits.map(|wait| wait.as_millis()).collect();
        let expected = [0, 0, 0, 0, 0, 10, 20, 40, 80, 160, 320, 500, 500, 500];
        assert_eq!(millis, expected);
    }

    #[test]
    fn one_violation_a_second_is_forgiven() {
        let mut now = Instant::now();
        let mut penalty = Penalty::default();
        for _ in 0..1_000 {
            penalty.violated(now);
            assert_eq!(penalty.admit(now), Some(Duration::ZERO));
            now += FORGIVEN;
        }
    }

    #[test]
    fn a_network_that_stops_is_rid_of_its_penalty_after_seven_seconds() {
        let start = Instant::now();
        let mut penalty = after(1_000_000, start);
        let later = start + Duration::from_secs(7);
        for _ in 0..100 {
            assert_eq!(penalty.admit(later), Some(Duration::ZERO));
        }
    }

    /// So an honest client of the same network waits a second at most, if it is served.
    #[test]
    fn connections_are_served_one_by_one_and_none_waits_above_a_second() {
        let now = Instant::now();
        let mut penalty = after(100, now);
        let waits: Vec<_> = (0..4).map(|_| penalty.admit(now)).collect();
        let millis = |millis| Some(Duration::from_millis(millis));
        assert_eq!(waits, [millis(500), millis(1_000), None, None]);
    }

    /// It breaks a rule as soon as it is served.
    #[test]
    fn a_flooder_that_comes_again_at_once_is_served_twice_a_second() {
        let mut now = Instant::now();
        let (end, mut penalty, mut served) = (now + Duration::from_secs(60), after(0, now), 0);
        while now < end {
            now += penalty.admit(now).unwrap();
            served += 1;
            penalty.violated(now);
        }
        assert!((120..=132).contains(&served), "{served}");
    }
}

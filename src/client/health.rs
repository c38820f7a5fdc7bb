//! What its requests tell of a target, for a balancer.

use std::time::Duration;

use tokio::time::Instant;

/// The shortest round trip that is compared. Below a millisecond the load of two targets
/// differs by more than their links.
const FLOOR: Duration = Duration::from_millis(1);

/// The round trip of a target that never answered: more than any that does, with any
/// number of requests under way that a connection takes.
const UNKNOWN: Duration = Duration::from_secs(3600);

/// How long a target that fails is avoided before one request tries it again. With
/// 50 requests a second that one is half a percent of them.
const AVOIDED: Duration = Duration::from_secs(4);

/// Channels that end without a response, one after another, from which that is the
/// target's fault. One may be a handler that panicked.
const CHANNELS: u32 = 3;

/// A request that was dropped sooner says nothing: its caller may have changed its
/// mind.
const PATIENCE: Duration = Duration::from_millis(100);

/// The state of one target.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// When a response last came.
    answered: Option<Instant>,
    /// Requests that were dropped without a response, and channels that ended without
    /// one, since the last response.
    dropped: u32,
    lost: u32,
    /// When a request was last dropped.
    dropped_at: Option<Instant>,
    /// The target is avoided until then; then one request tries it.
    avoided_until: Option<Instant>,
    /// The last round trip that was measured.
    rtt: Option<Duration>,
}

impl Health {
    /// What a request is expected to wait, the least for the best target. `connected`
    /// is the shortest round trip of connections that answer, and `under_way` how many
    /// requests wait.
    pub fn load(
        &mut self,
        connected: Option<Duration>,
        under_way: usize,
        now: Instant,
    ) -> Duration {
        self.rtt = connected.or(self.rtt);
        let rtt = match self.avoided_until {
            Some(until) if now < until => return Duration::MAX,
            Some(_) if connected.is_some() => return Duration::ZERO, // one tries it
            Some(_) => UNKNOWN,                                      // until a dial has succeeded
            // A connection that was good and is gone is no failure.
            None => self.rtt.unwrap_or(UNKNOWN),
        };
        let waiting = u32::try_from(under_way).unwrap_or(u32::MAX);
        // Only for a time: a target that gets no requests has no response that ends it.
        let dropped = match self.dropped_at {
            Some(at) if now < at + AVOIDED => self.dropped,
            _ => 0,
        };
        let waiting = waiting.saturating_add(dropped).saturating_add(1);
        rtt.max(FLOOR).saturating_mul(waiting)
    }

    /// A request begins.
    pub fn on_request(&mut self, now: Instant) {
        if self.avoided_until.is_some_and(|until| until <= now) {
            self.avoided_until = Some(now + AVOIDED);
        }
    }

    /// The head of a response came, of a connection with this round trip.
    pub fn on_response(&mut self, rtt: Option<Duration>, now: Instant) {
        *self = Health {
            answered: Some(now),
            rtt: rtt.or(self.rtt),
            ..Health::default()
        };
    }

    /// A request was dropped without a response that had started at `started`.
    pub fn on_drop(&mut self, started: Instant, now: Instant) {
        self.dropped = self.dropped.saturating_add(1);
        self.dropped_at = Some(now);
        let patient = now.saturating_duration_since(started) >= PATIENCE;
        if patient && self.answered < Some(started) {
            self.avoid(started);
        }
    }

    /// The connection of a request was lost, or there was none.
    pub fn on_connection_lost(&mut self, now: Instant) {
        self.avoid(now);
    }

    /// The channel of a request ended without a response.
    pub fn on_channel_lost(&mut self, now: Instant) {
        self.lost += 1;
        if self.lost >= CHANNELS {
            self.avoid(now);
        }
    }

    fn avoid(&mut self, since: Instant) {
        self.avoided_until = self.avoided_until.max(Some(since + AVOIDED));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A target that answered at 0 ms with a round trip of 10 ms.
    fn good(start: Instant) -> Health {
        let mut health = Health::default();
        health.on_request(start);
        health.on_response(Some(10 * MS), start);
        health
    }

    #[test]
    fn a_target_that_never_answered_is_not_cheaper_than_one_that_does() {
        let start = Instant::now();
        let mut unknown = Health::default();
        let busy = good(start).load(Some(10 * MS), 1_000, start);
        assert!(unknown.load(None, 0, start) > busy);
        unknown.on_request(start);
        assert!(unknown.load(None, 1, start) > busy);
    }

    #[test]
    fn a_target_that_was_never_used_is_known_by_its_connection() {
        let start = Instant::now();
        let mut health = Health::default();
        assert_eq!(health.load(Some(10 * MS), 0, start), 10 * MS);
        assert_eq!(health.load(None, 0, start), 10 * MS);
    }

    #[test]
    fn one_that_could_not_be_reached_is_tried_by_no_request_until_it_was_dialled() {
        let start = Instant::now();
        let mut health = good(start);
        health.on_connection_lost(start);
        let later = start + AVOIDED;
        assert!(health.load(None, 0, later) >= UNKNOWN);
        assert_eq!(health.load(Some(10 * MS), 0, later), Duration::ZERO);
    }

    #[test]
    fn a_target_without_a_connection_costs_what_it_did() {
        let start = Instant::now();
        assert_eq!(good(start).load(None, 0, start), 10 * MS);
        assert_eq!(good(start).load(Some(5 * MS), 0, start), 5 * MS);
    }

    #[test]
    fn what_was_dropped_counts_until_a_response_comes_and_for_a_time() {
        let start = Instant::now();
        let mut health = good(start);
        health.on_drop(start + MS, start + 2 * MS);
        assert_eq!(health.load(Some(10 * MS), 0, start + 2 * MS), 20 * MS);
        assert_eq!(health.load(Some(10 * MS), 0, start + 4_002 * MS), 10 * MS);
        health.on_response(None, start);
        assert_eq!(health.load(Some(10 * MS), 0, start), 10 * MS);
    }

    #[test]
    fn one_that_is_silent_is_avoided_and_then_tried_by_one_request() {
        let start = Instant::now();
        let mut health = good(start);
        health.on_drop(start + MS, start + 1_000 * MS);
        assert_eq!(
            health.load(Some(10 * MS), 0, start + 4_000 * MS),
            Duration::MAX
        );
        let later = start + 4_001 * MS;
        assert_eq!(health.load(Some(10 * MS), 0, later), Duration::ZERO);
        health.on_request(later);
        assert_eq!(health.load(Some(10 * MS), 1, later), Duration::MAX);
    }

    #[test]
    fn one_that_answers_others_meanwhile_is_not_silent() {
        let start = Instant::now();
        let mut health = good(start);
        health.on_response(None, start + 500 * MS);
        health.on_drop(start, start + 1_000 * MS);
        assert!(health.load(None, 0, start + 1_000 * MS) < Duration::MAX);
    }

    #[test]
    fn one_channel_that_is_lost_is_not_the_targets_fault_and_three_are() {
        let start = Instant::now();
        let mut health = good(start);
        health.on_channel_lost(start);
        health.on_channel_lost(start);
        assert!(health.load(None, 0, start) < Duration::MAX);
        health.on_channel_lost(start);
        assert_eq!(health.load(None, 0, start), Duration::MAX);
    }
}

//! How fast connections carry, between two looks at them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tcpchan::ConnectionStats;

/// Looks that are closer together share a measurement, so that several viewers see the same.
const LEAST: Duration = Duration::from_millis(500);

/// Looks that are further apart measure nothing: a mean over an hour would look like a rate.
const MOST: Duration = Duration::from_secs(30);

/// A connection has no number that both protocol versions know.
type Key = (Instant, Option<SocketAddr>);

#[derive(Default)]
pub struct Rates {
    last: HashMap<Key, Sample>,
    numbers: u64,
}

#[derive(Clone, Copy)]
pub struct Sample {
    /// Names the connection while it lasts.
    pub number: u64,
    at: Instant,
    sent: u64,
    received: u64,
    /// Bytes a second, sent and received.
    pub rates: Option<(f64, f64)>,
}

impl Rates {
    /// Notes what is there now. What is gone is forgotten.
    pub fn look(&mut self, connections: &[&ConnectionStats], now: Instant) -> Vec<Sample> {
        let mut last = std::mem::take(&mut self.last);
        let samples = connections.iter().map(|connection| {
            let key = (connection.stats.since, connection.peer_addr);
            let sample = match last.remove(&key) {
                Some(before) => before.next(connection, now),
                None => {
                    self.numbers += 1;
                    Sample::first(self.numbers, connection, now)
                }
            };
            self.last.insert(key, sample);
            sample
        });
        samples.collect()
    }
}

impl Sample {
    fn first(number: u64, connection: &ConnectionStats, now: Instant) -> Self {
        Sample {
            number,
            at: now,
            sent: connection.stats.bytes_sent,
            received: connection.stats.bytes_received,
            rates: None,
        }
    }

    fn next(self, connection: &ConnectionStats, now: Instant) -> Self {
        let passed = now.saturating_duration_since(self.at);
        if passed < LEAST {
            return self;
        }
        let first = Sample::first(self.number, connection, now);
        let rate = |more: u64| more as f64 / passed.as_secs_f64();
        let sent = rate(first.sent.saturating_sub(self.sent));
        let received = rate(first.received.saturating_sub(self.received));
        Sample {
            rates: (passed <= MOST).then_some((sent, received)),
            ..first
        }
    }
}

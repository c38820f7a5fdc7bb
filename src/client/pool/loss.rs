//! More connections where the link loses packets and TCP takes that for a full link.
//!
//! TCP does not tell of loss. A connection is throughput-limited if its transport held it
//! back over eight round trips at a low rate. A slow link does that, too. So it is an
//! experiment: try twice as many connections, and keep them if together they carry more.
//! On a slow link, or on one that is shared, they don't.

use std::time::{Duration, Instant};

use super::select::Snapshot;

/// So many are tried at most: more were not measured.
const MAX_CONNECTIONS: usize = 16;

/// Samples that are averaged: what each carries while packets are lost varies much.
const ENOUGH: u64 = 6;

/// After such a pause the samples begin anew: older ones may be of another state of the
/// link.
const RECENT: Duration = Duration::from_secs(5);

/// Twice the connections help if they carry this many percent of what half of them did.
/// 200 would be ideal; 100 means that something else is the limit.
const HELPS: u64 = 140;

/// A trial that shows nothing for so long is over: there is too little to carry.
const TRIAL: Duration = Duration::from_secs(30);

/// Without a sign for so long the loss has ended. It is longer than the pauses between
/// transfers, which show nothing.
const KEEP: Duration = Duration::from_secs(60);

/// A connection that carries so many times what it did under loss shows no loss. One
/// that carries so many times less shows more of it.
const OTHER: u64 = 2;

/// How long no more are tried after they were of no use, at first and at most.
const REST: Duration = Duration::from_secs(60);
const LONGEST_REST: Duration = Duration::from_secs(32 * 60);

#[derive(Debug)]
pub(super) struct Loss {
    /// So many were found to carry more than half as many; 1 without loss.
    proven: usize,
    /// Bytes a second of each connection at the last verdict.
    rate: u64,
    samples: Samples,
    trial: Option<Trial>,
    /// When there was a sign.
    seen: Instant,
    rests_until: Instant,
    rest: Duration,
}

/// Twice as many connections are tried.
#[derive(Debug)]
struct Trial {
    since: Instant,
    from: usize,
    /// Bytes a second that each of them carried.
    rate: u64,
    to: usize,
    /// There are as many.
    ready: bool,
}

/// What connections carried, each sample once.
#[derive(Debug)]
struct Samples {
    sum: u64,
    count: u64,
    newest: Instant,
}

impl Samples {
    fn new(now: Instant) -> Self {
        Samples {
            sum: 0,
            count: 0,
            newest: now,
        }
    }

    /// Takes the new ones; the least of their rates.
    fn take(&mut self, snapshots: &[Snapshot], now: Instant) -> Option<u64> {
        let since = self.newest;
        if now >= since + RECENT {
            *self = Samples::new(since);
        }
        let mut least = None;
        for snapshot in snapshots.iter().filter(|snapshot| snapshot.is_fresh()) {
            if let Some(sign) = snapshot.throughput_limited.filter(|sign| sign.at > since) {
                self.sum += sign.bytes_per_second;
                self.count += 1;
                self.newest = self.newest.max(sign.at);
                least = Some(sign.bytes_per_second.min(least.unwrap_or(u64::MAX)));
            }
        }
        least
    }

    fn mean(&self) -> Option<u64> {
        (self.count >= ENOUGH).then(|| self.sum / self.count)
    }
}

impl Loss {
    pub fn new(now: Instant) -> Self {
        Loss {
            proven: 1,
            rate: 0,
            samples: Samples::new(now),
            trial: None,
            seen: now,
            rests_until: now,
            rest: REST,
        }
    }

    /// How many connections loss asks for; 1 without loss.
    pub fn look(&mut self, snapshots: &[Snapshot], most: usize, now: Instant) -> usize {
        let (least, most) = (self.samples.take(snapshots, now), most.min(MAX_CONNECTIONS));
        if least.is_some_and(|least| least < self.rate * OTHER) {
            self.seen = now;
        } else if now >= self.seen + KEEP {
            self.proven = 1;
        }
        let fresh = || snapshots.iter().filter(|snapshot| snapshot.is_fresh());
        let there = fresh().count();
        let channels: usize = fresh().map(|snapshot| snapshot.channels).sum();
        match self.trial {
            Some(_) => self.judge(there, now),
            // One transfer at a time can't use another connection.
            None if there < most && channels > there => self.begin(there, most, now),
            None => {}
        }
        self.wanted()
    }

    fn wanted(&self) -> usize {
        self.trial.as_ref().map_or(self.proven, |trial| trial.to)
    }

    fn begin(&mut self, there: usize, most: usize, now: Instant) {
        let Some(rate) = self.samples.mean() else {
            return;
        };
        if now >= self.rests_until || rate * OTHER < self.rate {
            self.samples = Samples::new(now);
            self.trial = Some(Trial {
                since: now,
                from: there,
                rate,
                to: most.min(2 * there),
                ready: false,
            });
        }
    }

    fn judge(&mut self, there: usize, now: Instant) {
        let Some(trial) = &mut self.trial else { return };
        if !trial.ready && there >= trial.to {
            trial.ready = true;
            self.samples = Samples::new(now);
        }
        let found = self.samples.mean().filter(|_| trial.ready);
        if let Some(rate) = found {
            let (before, after) = (trial.rate * trial.from as u64, rate * trial.to as u64);
            if after * 100 >= before * HELPS {
                (self.proven, self.rest) = (trial.to, REST);
                self.seen = now;
            } else {
                self.rests_until = now + self.rest;
                self.rest = (self.rest * 2).min(LONGEST_REST);
            }
            self.rate = rate;
        }
        if found.is_some() || now >= trial.since + TRIAL {
            self.trial = None;
        }
    }

    /// When to look again though there is no sign.
    pub fn next(&self) -> Option<Instant> {
        let keep = (self.proven > 1).then_some(self.seen + KEEP);
        let trial = self.trial.as_ref().map(|trial| trial.since + TRIAL);
        keep.into_iter().chain(trial).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::ThroughputLimited;

    fn snapshots(count: usize, pace: Option<u64>, now: Instant) -> Vec<Snapshot> {
        let snapshot = Snapshot {
            throughput_limited: pace.map(|pace| ThroughputLimited::at(now, pace)),
            ..Snapshot::with(10)
        };
        vec![snapshot; count]
    }

    /// How many there are after some minutes on a link where so many connections carry
    /// so much each, and the most that there were.
    fn after(minutes: u64, begin: usize, pace: impl Fn(usize) -> u64) -> (usize, usize) {
        let start = Instant::now();
        let mut loss = Loss::new(start);
        let (mut there, mut most) = (begin, begin);
        for second in 0..60 * minutes {
            let now = start + Duration::from_secs(second);
            let wanted = loss.look(
                &snapshots(there, Some(pace(there)), now),
                MAX_CONNECTIONS,
                now,
            );
            // Dials take a moment; what is not needed goes after half a minute.
            if wanted > there || second % 30 == 0 {
                there = wanted;
            }
            most = most.max(there);
        }
        (there, most)
    }

    #[test]
    fn where_packets_are_lost_each_connection_carries_as_much_so_there_are_many() {
        assert_eq!(after(2, 1, |_| 16_000), (MAX_CONNECTIONS, MAX_CONNECTIONS));
    }

    #[test]
    fn a_slow_link_carries_no_more_so_there_is_one() {
        assert_eq!(after(20, 1, |there| 50_000 / there as u64).1, 2);
        assert_eq!(after(5, 1, |there| 50_000 / there as u64).0, 1);
    }

    #[test]
    fn a_link_that_a_few_connections_fill_has_a_few() {
        let (_, most) = after(20, 1, |there| 16_000.min(64_000 / there as u64));
        assert_eq!(most, 8, "one more step showed that they are of no use");
    }

    /// A few seconds of loss, and what each connection carries from then on.
    fn later(pace: Option<u64>) -> Vec<usize> {
        let start = Instant::now();
        let mut loss = Loss::new(start);
        (loss.proven, loss.rate) = (MAX_CONNECTIONS, 16_000);
        let look = |seconds| {
            let now = start + Duration::from_secs(seconds);
            loss.look(&snapshots(MAX_CONNECTIONS, pace, now), MAX_CONNECTIONS, now)
        };
        [0, 30, 59, 60, 300].map(look).into()
    }

    #[test]
    fn they_stay_while_each_carries_little_and_go_a_minute_after() {
        assert_eq!(later(Some(16_000)), [MAX_CONNECTIONS; 5]);
        for over in [None, Some(40_000)] {
            assert_eq!(
                later(over),
                [MAX_CONNECTIONS, MAX_CONNECTIONS, MAX_CONNECTIONS, 1, 1]
            );
        }
    }

    #[test]
    fn a_trial_without_a_verdict_leaves_nothing() {
        let start = Instant::now();
        let mut loss = Loss::new(start);
        let found = (1..=3).map(|second| {
            let now = start + Duration::from_secs(second);
            loss.look(&snapshots(2, Some(16_000), now), MAX_CONNECTIONS, now)
        });
        assert_eq!(found.last(), Some(4));
        let end = start + 2 * TRIAL;
        assert_eq!(loss.look(&snapshots(4, None, end), MAX_CONNECTIONS, end), 1);
    }

    #[test]
    fn one_transfer_at_a_time_tries_nothing() {
        let now = Instant::now();
        let mut alone = snapshots(1, Some(16_000), now);
        alone[0].channels = 1;
        assert_eq!(Loss::new(now).look(&alone, MAX_CONNECTIONS, now), 1);
    }
}

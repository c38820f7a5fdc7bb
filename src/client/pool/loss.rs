//! More connections where the link loses packets and TCP takes that for a full link.
//!
//! TCP does not tell of loss. A connection is throughput-limited if its transport held it
//! back over eight round trips at a low rate. A slow link does that, too. So it is an
//! experiment: try as many as there may be, and keep them if all connections together carry
//! more. Under loss each connection carries what it did before, beside however many. On a
//! slow link they carry together what they did before. Where many flows of others share the
//! link, more connections get more of it, so those stay, too.

use std::time::{Duration, Instant};

use super::select::Snapshot;

/// So many are tried at most: more were not measured.
const MAX_CONNECTIONS: usize = 16;

/// Samples that are averaged: what each carries while packets are lost varies much. That more
/// are of no use is said after twice as many.
const ENOUGH: u32 = 6;

/// After such a pause the samples begin anew: older ones may be of another state of the
/// link.
const RECENT: Duration = Duration::from_secs(5);

/// A trial that shows nothing for so long is over: there is too little to carry.
const TRIAL: Duration = Duration::from_secs(30);

/// Without a sign for so long the loss has ended. It is longer than the pauses between
/// transfers, which show nothing.
const KEEP: Duration = Duration::from_secs(60);

/// A connection that carries so many times what it did under loss shows no loss. One
/// that carries so many times less shows more of it.
const OTHER: u64 = 2;

/// While so many times as many drain, nothing is tried: what those of the last trial still
/// carry is missing in what all carry.
const DRAINING: usize = 2;

/// How long no more are tried after they were of no use, at first and at most.
const REST: Duration = Duration::from_secs(60);
const LONGEST_REST: Duration = Duration::from_secs(32 * 60);

#[derive(Debug)]
pub(super) struct Loss {
    /// So many were found to carry more than fewer; 1 without loss.
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

/// More connections are tried.
#[derive(Debug)]
struct Trial {
    since: Instant,
    before: Sample,
    /// Samples with at least so many connections at work count.
    wider: f64,
    to: usize,
}

/// What all connections carried when the transport was found to limit one of them.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    /// Bytes a second, of that one.
    one: f64,
    /// Bytes a second, of all.
    all: f64,
    /// How many connections carried that: those that carry little count for little.
    at_work: f64,
}

/// Samples of so many connections.
#[derive(Debug)]
struct Samples {
    there: usize,
    sum: Sample,
    count: u32,
    newest: Instant,
}

impl Samples {
    fn new(there: usize, newest: Instant) -> Self {
        Samples {
            there,
            sum: Sample::default(),
            count: 0,
            newest,
        }
    }

    /// What there is to be sampled, if there is a new sign.
    fn take(&mut self, snapshots: &[Snapshot], now: Instant) -> Option<Sample> {
        let since = self.newest;
        let fresh = || snapshots.iter().filter(|snapshot| snapshot.is_fresh());
        let there = fresh().count();
        if now >= since + RECENT || there != self.there {
            *self = Samples::new(there, since);
        }
        let signs = fresh().filter_map(|snapshot| snapshot.throughput_limited);
        let new = signs.filter(|sign| sign.at > since);
        let least = new.clone().map(|sign| sign.bytes_per_second).min()?;
        self.newest = new.map(|sign| sign.at).max()?;
        let rates = || fresh().map(|snapshot| snapshot.rate as f64);
        let (all, squares): (f64, f64) = (rates().sum(), rates().map(|rate| rate * rate).sum());
        Some(Sample {
            one: least as f64,
            all,
            at_work: if all > 0.0 { all * all / squares } else { 0.0 },
        })
    }

    fn add(&mut self, sample: Sample) {
        self.sum.one += sample.one;
        self.sum.all += sample.all;
        self.sum.at_work += sample.at_work;
        self.count += 1;
    }

    fn mean(&self) -> Option<Sample> {
        let of = |sum: f64| sum / f64::from(self.count);
        (self.count >= ENOUGH).then(|| Sample {
            one: of(self.sum.one),
            all: of(self.sum.all),
            at_work: of(self.sum.at_work),
        })
    }
}

impl Loss {
    pub fn new(now: Instant) -> Self {
        Loss {
            proven: 1,
            rate: 0,
            samples: Samples::new(0, now),
            trial: None,
            seen: now,
            rests_until: now,
            rest: REST,
        }
    }

    /// So many connections were found to carry more; 1 without loss.
    pub fn proven(&self) -> usize {
        self.proven
    }

    /// The same with those that are tried.
    pub fn wanted(&self) -> usize {
        self.trial.as_ref().map_or(self.proven, |trial| trial.to)
    }

    /// So many connections are `draining`, and have no snapshots.
    pub fn look(&mut self, snapshots: &[Snapshot], draining: usize, most: usize, now: Instant) {
        let sample = self.samples.take(snapshots, now);
        if sample.is_some_and(|sample| sample.one < (self.rate * OTHER) as f64) {
            self.seen = now;
        } else if now >= self.seen + KEEP {
            self.proven = 1;
        }
        match (&self.trial, sample) {
            (Some(trial), _) if now >= trial.since + TRIAL => {
                // What was worse than that is known now.
                self.rate = self.rate.min(trial.before.one as u64);
                self.give_up(now);
            }
            (Some(trial), Some(sample)) if sample.at_work >= trial.wider => {
                self.samples.add(sample);
                self.judge(now);
            }
            (None, Some(sample)) => {
                self.samples.add(sample);
                let channels = snapshots.iter().map(|snapshot| snapshot.channels).sum();
                if draining < DRAINING * self.samples.there {
                    self.begin(most.min(MAX_CONNECTIONS).min(channels), now);
                }
            }
            _ => {}
        }
    }

    /// Tries so many, if those that there are have work and half of that would not do.
    fn begin(&mut self, to: usize, now: Instant) {
        let Some(before) = self.samples.mean() else {
            return;
        };
        let there = self.samples.there;
        let worse = before.one * (OTHER as f64) < self.rate as f64;
        let at_work = before.at_work * 2.0 >= there as f64;
        if at_work && to >= 2 * there && (now >= self.rests_until || worse) {
            let wider = before.at_work * (to as f64 / there as f64).sqrt();
            self.trial = Some(Trial {
                since: now,
                before,
                wider,
                to,
            });
        }
        self.samples = Samples::new(there, self.samples.newest);
    }

    /// Where loss limits each, all carry as many times more as there are more at work. Where the
    /// link is full, each carries as many times less. Halfway between, the product of both
    /// stays.
    fn judge(&mut self, now: Instant) {
        let (Some(trial), Some(after)) = (&self.trial, self.samples.mean()) else {
            return;
        };
        self.rate = after.one as u64;
        if after.all * after.one >= trial.before.all * trial.before.one {
            (self.proven, self.rest) = (trial.to, REST);
            (self.trial, self.seen) = (None, now);
        } else if self.samples.count >= 2 * ENOUGH {
            self.give_up(now);
        }
    }

    fn give_up(&mut self, now: Instant) {
        self.trial = None;
        self.rests_until = now + self.rest;
        self.rest = (self.rest * 2).min(LONGEST_REST);
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

    /// Connections that carry so much each, and whether the transport limits them.
    fn snapshots(count: usize, rate: u64, limited: bool, now: Instant) -> Vec<Snapshot> {
        let snapshot = Snapshot {
            rate,
            throughput_limited: limited.then(|| ThroughputLimited::at(now, rate)),
            ..Snapshot::with(16)
        };
        vec![snapshot; count]
    }

    /// A pool on a link where so many connections carry so much each. The load asks for `least`.
    struct Pool<F> {
        now: Instant,
        loss: Loss,
        least: usize,
        there: usize,
        rate: F,
        trials: usize,
    }

    impl<F: Fn(usize) -> u64> Pool<F> {
        fn new(least: usize, rate: F) -> Self {
            let now = Instant::now();
            Pool {
                now,
                loss: Loss::new(now),
                least,
                there: least,
                rate,
                trials: 0,
            }
        }

        fn pass(&mut self, seconds: u64) {
            for _ in 0..seconds {
                self.now += Duration::from_secs(1);
                let snapshots = snapshots(self.there, (self.rate)(self.there), true, self.now);
                let tried = self.loss.trial.is_some();
                self.loss.look(&snapshots, 0, MAX_CONNECTIONS, self.now);
                self.trials += usize::from(!tried && self.loss.trial.is_some());
                self.there = self.loss.wanted().max(self.least);
            }
        }
    }

    #[test]
    fn where_packets_are_lost_each_connection_carries_as_much_so_there_are_many() {
        for least in [1, 6, 8] {
            let mut pool = Pool::new(least, |_| 16_000);
            pool.pass(60);
            assert_eq!((pool.there, pool.trials), (MAX_CONNECTIONS, 1));
        }
    }

    #[test]
    fn a_slow_link_carries_no_more_so_what_was_tried_goes_and_is_tried_ever_less_often() {
        let mut pool = Pool::new(4, |there| 50_000 / there as u64);
        let mut after = |minutes| {
            pool.pass(60 * minutes);
            (pool.there, pool.trials)
        };
        assert_eq!(
            [1u64, 1, 2, 5].map(&mut after),
            [(4, 1), (4, 2), (4, 3), (4, 4)]
        );
    }

    #[test]
    fn connections_that_gain_little_go() {
        let mut pool = Pool::new(1, |there| 16_000.min(48_000 / there as u64));
        pool.pass(60);
        assert_eq!((pool.there, pool.trials), (1, 1), "16 carry what 3 do");
    }

    #[test]
    fn what_old_connections_carry_before_new_ones_have_work_does_not_count() {
        let start = Instant::now();
        let mut loss = Loss::new(start);
        let mut look = |seconds, at_work, there| {
            let now = start + Duration::from_secs(seconds);
            let mut all = snapshots(at_work, 16_000, true, now);
            all.resize(there, Snapshot::idle());
            loss.look(&all, 0, MAX_CONNECTIONS, now);
            loss.wanted()
        };
        assert_eq!((1..=6).map(|second| look(second, 4, 4)).last(), Some(16));
        let tried = (7..30).map(|second| look(second, 4, 16)).last();
        assert_eq!(tried, Some(16), "no verdict yet");
        assert_eq!((30..36).map(|second| look(second, 16, 16)).last(), Some(16));
        assert_eq!(loss.proven(), MAX_CONNECTIONS);
    }

    #[test]
    fn no_more_are_tried_than_there_are_transfers_or_where_most_have_no_work() {
        let start = Instant::now();
        let tried = |at_work, there, channels| {
            let mut loss = Loss::new(start);
            for second in 1..=6 {
                let now = start + Duration::from_secs(second);
                let mut all = snapshots(at_work, 16_000, true, now);
                all.resize(there, Snapshot::idle());
                all.iter_mut().for_each(|one| one.channels = 0);
                all[0].channels = channels;
                loss.look(&all, 0, MAX_CONNECTIONS, now);
            }
            loss.wanted()
        };
        assert_eq!(tried(1, 1, 1), 1, "one transfer at a time");
        assert_eq!(tried(2, 2, 4), 4);
        assert_eq!(tried(2, 4, 100), 16);
        assert_eq!(tried(1, 4, 100), 1);
    }

    /// A few seconds of loss, and what each connection carries from then on.
    fn later(rate: Option<u64>) -> Vec<usize> {
        let start = Instant::now();
        let mut loss = Loss::new(start);
        (loss.proven, loss.rate) = (MAX_CONNECTIONS, 16_000);
        let look = |seconds| {
            let now = start + Duration::from_secs(seconds);
            let (rate, limited) = (rate.unwrap_or_default(), rate.is_some());
            let snapshots = snapshots(MAX_CONNECTIONS, rate, limited, now);
            loss.look(&snapshots, 0, MAX_CONNECTIONS, now);
            loss.wanted()
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
        let mut pool = Pool::new(2, |_| 16_000);
        pool.pass(6);
        assert_eq!(pool.there, MAX_CONNECTIONS);
        let end = pool.now + 2 * TRIAL;
        pool.loss
            .look(&snapshots(16, 0, false, end), 0, MAX_CONNECTIONS, end);
        assert_eq!(pool.loss.wanted(), 1);
    }

    #[test]
    fn a_trial_without_a_verdict_is_followed_by_a_rest_though_each_carries_less_than_ever() {
        let start = Instant::now();
        let mut loss = Loss::new(start);
        loss.rate = 40_000;
        let mut trials = 0;
        for second in 1..=600 {
            let now = start + Duration::from_secs(second);
            let tried = loss.trial.is_some();
            let mut all = snapshots(4, 12_000, true, now);
            all.resize(loss.wanted().max(4), Snapshot::idle());
            loss.look(&all, 0, MAX_CONNECTIONS, now);
            trials += usize::from(!tried && loss.trial.is_some());
        }
        assert_eq!(trials, 4, "after 1, 2 and 4 minutes");
    }

    #[test]
    fn nothing_is_tried_while_many_of_the_last_trial_drain() {
        let start = Instant::now();
        let mut loss = Loss::new(start);
        let mut look = |seconds, draining| {
            let now = start + Duration::from_secs(seconds);
            let all = snapshots(4, 16_000, true, now);
            loss.look(&all, draining, MAX_CONNECTIONS, now);
            loss.wanted()
        };
        assert_eq!((1..60).map(|second| look(second, 8)).last(), Some(1));
        assert_eq!((60..66).map(|second| look(second, 7)).last(), Some(16));
    }
}

//! How many connections there should be.

use std::time::{Duration, Instant};

use super::select::Snapshot;
use crate::client::PoolConfig;

/// Up to how many connections are dialled because those that there are would be of no
/// use for what comes: transfers saturate them, or their channels fail.
const BESIDE: usize = 4;

/// How many connections a cold burst leaves at least. After 50 answers of 64 KiB on 25
/// connections, the next burst takes 3.1 round trips on four of them, 2.9 on six, and 2.7 on
/// eight. More windows that are open at once overflow the link's queue sooner.
const LEFT: usize = 6;

/// And at least one for so many callers of the burst.
const CALLERS_LEFT: usize = 16;

/// Callers that wait for a slow dial, for each connection that is dialled for them. A
/// new connection carries 14 KB in its first round trip, so 50 answers of 64 KiB take
/// 5.2 round trips on 20 connections and 4.8 on 25.
const CALLERS_EACH: usize = 2;

/// How long connections stay that nobody needs: up to twice this. The demand of this period
/// and of the one before is kept, so a burst every half minute finds its connections.
const PERIOD: Duration = Duration::from_secs(30);

/// What asks for connections at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// A caller has come for a channel, or waits.
    pub caller: bool,
    /// Callers that wait for a dial that is slow.
    pub behind_slow_dial: usize,
    /// Connections that are to be there before they are needed.
    pub prewarm: usize,
    /// Connections that loss asks for, and the same with those that are tried.
    pub loss: usize,
    pub tried: usize,
    /// No connection has been good since the last failure, so it is one at a time.
    pub failing: bool,
}

/// The connections that were needed recently.
#[derive(Debug)]
pub(super) struct Demand {
    /// When this period began, and the most that were needed in it.
    since: Instant,
    most: usize,
    /// The most of the period before.
    before: usize,
    /// In this period more were dialled for a cold burst.
    burst: bool,
    /// As many are tried.
    tried: usize,
    /// More were, until now.
    vain: bool,
}

/// How many connections may stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Keep {
    /// After a cold burst: so many, and beside them those that carry channels.
    pub idle: Option<usize>,
    /// Once at the end of each period, and of a trial that was of no use: so many.
    pub busy: Option<usize>,
}

impl Demand {
    pub fn new(now: Instant) -> Self {
        Demand {
            since: now,
            most: 0,
            before: 0,
            burst: false,
            tried: 1,
            vain: false,
        }
    }

    /// So many are needed, though the load does not show it.
    pub fn note(&mut self, connections: usize) {
        self.most = self.most.max(connections);
    }

    /// How many connections there are to be now, with those that are dialled for it.
    pub fn wanted(&mut self, snapshots: &[Snapshot], asked: Asked, pool: &PoolConfig) -> usize {
        let lasting = needed(snapshots, asked, pool);
        self.most = self.most.max(lasting);
        let needed = lasting.max(for_waiting(snapshots, asked));
        let needed = needed.clamp(pool.least, pool.most);
        self.vain |= asked.tried < self.tried;
        self.tried = asked.tried;
        self.burst |= needed > lasting.max(pool.least);
        let fresh = snapshots
            .iter()
            .filter(|snapshot| snapshot.is_fresh())
            .count();
        let there = snapshots
            .iter()
            .any(|snapshot| snapshot.is_fresh() && snapshot.greeted);
        let ahead = pool.least.max(asked.prewarm).max(asked.tried);
        match (asked.caller, asked.failing) {
            (true, false) => {
                let more = usize::from(!has_free(snapshots, fresh, pool));
                needed.max((fresh + more).min(pool.most)).max(ahead)
            }
            (true, true) => {
                let more = usize::from(!has_free(snapshots, fresh, pool) || fresh < ahead);
                fresh + more
            }
            (false, false) => ahead,
            // A target that is down is not dialled for nobody.
            (false, true) if there || asked.prewarm > 0 => ahead.min(fresh + 1),
            (false, true) => 0,
        }
        .min(pool.most)
    }

    pub fn keep(&mut self, pool: &PoolConfig, now: Instant) -> Keep {
        let ends = now >= self.ends();
        if ends {
            self.since = now;
            self.before = std::mem::take(&mut self.most);
        }
        let recent = self.most.max(self.before);
        let burst = self.burst;
        self.burst &= !ends;
        let keep = |needed: usize| needed.max(self.tried).clamp(pool.least, pool.most);
        let vain = std::mem::take(&mut self.vain);
        Keep {
            idle: burst.then(|| keep(recent)),
            busy: (ends || vain).then(|| keep(if ends { self.before } else { recent })),
        }
    }

    pub fn ends(&self) -> Instant {
        self.since + PERIOD
    }
}

/// Whether a connection can take a channel and has less to do than it should.
fn has_free(snapshots: &[Snapshot], fresh: usize, pool: &PoolConfig) -> bool {
    snapshots.iter().any(|snapshot| {
        let beside = (snapshot.saturated || snapshot.broken) && fresh < BESIDE;
        let takes = snapshot.is_fresh() && snapshot.available > 0;
        takes && snapshot.channels < pool.target_concurrency && !beside
    })
}

/// How many connections would do for what there is. Of those that are dialled for a
/// cold burst only a few are needed later: many windows that are open at once send more
/// than the link can queue.
fn needed(snapshots: &[Snapshot], asked: Asked, pool: &PoolConfig) -> usize {
    let fresh = || snapshots.iter().filter(|snapshot| snapshot.is_fresh());
    let occupied =
        fresh().filter(|snapshot| snapshot.saturated || (snapshot.broken && asked.caller));
    let beside = match occupied.count() {
        0 => 0,
        occupied => (occupied + 1).min(BESIDE),
    };
    let load = for_load(fresh(), asked.caller, pool);
    load.max(beside)
        .max(for_waiting(snapshots, asked).min(left(asked.behind_slow_dial)))
        .max(asked.prewarm)
        .max(asked.loss)
}

/// How many connections a cold burst of so many callers leaves. The answers of the next burst then
/// fit their windows. Its 99th percentile, with 200 and 1,000 small requests, is 2.0 and 2.4 round
/// trips on six connections, 2.0 and 1.8 if a 32nd stays, and 1.2 and 1.7 if a 16th does.
fn left(callers: usize) -> usize {
    LEFT.max(callers / CALLERS_LEFT)
}

/// How many connections would serve those who wait for a slow dial.
fn for_waiting(snapshots: &[Snapshot], asked: Asked) -> usize {
    match asked.behind_slow_dial {
        0 => 0,
        waiting => {
            let fresh = snapshots
                .iter()
                .filter(|snapshot| snapshot.is_fresh())
                .count();
            fresh + waiting.div_ceil(CALLERS_EACH)
        }
    }
}

/// How many connections would carry the channels that there are.
fn for_load<'a>(
    fresh: impl Iterator<Item = &'a Snapshot> + Clone,
    one_more: bool,
    pool: &PoolConfig,
) -> usize {
    let channels = fresh
        .clone()
        .map(|snapshot| snapshot.channels)
        .sum::<usize>();
    let mut channels = channels + usize::from(one_more);
    let takes = fresh.map(|snapshot| {
        let takes = snapshot.channels + snapshot.available as usize;
        takes.min(pool.target_concurrency)
    });
    // Most often one does, which needs no list.
    if takes.clone().max().is_some_and(|takes| takes >= channels) {
        return usize::from(channels > 0);
    }
    let mut takes: Vec<usize> = takes.collect();
    takes.sort_unstable_by(|a, b| b.cmp(a));
    let mut connections = 0;
    for takes in takes {
        if channels == 0 {
            break;
        }
        channels = channels.saturating_sub(takes);
        connections += 1;
    }
    connections + usize::from(channels > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::pool::select::Standing;

    const NOBODY: Asked = Asked {
        caller: false,
        behind_slow_dial: 0,
        prewarm: 0,
        loss: 1,
        tried: 1,
        failing: false,
    };
    const CALLER: Asked = Asked {
        caller: true,
        ..NOBODY
    };

    fn pool(connections: std::ops::RangeInclusive<usize>) -> PoolConfig {
        let pool = PoolConfig::default().connections(connections).unwrap();
        pool.target_concurrency(10).unwrap()
    }

    fn wanted(snapshots: &[Snapshot], asked: Asked, pool: &PoolConfig) -> usize {
        Demand::new(Instant::now()).wanted(snapshots, asked, pool)
    }

    fn with(channels: usize) -> Snapshot {
        Snapshot::with(channels)
    }

    #[test]
    fn there_is_another_when_all_have_enough_to_do_up_to_the_most() {
        let wanted = |snapshots: &[Snapshot]| wanted(snapshots, CALLER, &pool(1..=3));
        assert_eq!(wanted(&[with(9)]), 1);
        assert_eq!(wanted(&[with(10)]), 2);
        assert_eq!(wanted(&[with(10), with(9)]), 2);
        assert_eq!(wanted(&[with(10); 3]), 3);
    }

    #[test]
    fn beside_transfers_or_failures_there_is_another_up_to_four() {
        let saturated = Snapshot {
            saturated: true,
            ..with(1)
        };
        let fails = Snapshot {
            broken: true,
            ..with(1)
        };
        for snapshot in [saturated, fails] {
            let wanted = |snapshots: &[Snapshot]| wanted(snapshots, CALLER, &pool(1..=8));
            assert_eq!(wanted(&[snapshot]), 2);
            assert_eq!(wanted(&[snapshot, with(9)]), 2);
            assert_eq!(wanted(&[snapshot; 3]), 4);
            assert_eq!(wanted(&[snapshot; 4]), 4);
        }
    }

    #[test]
    fn who_waits_for_a_slow_dial_has_more_of_them() {
        let behind = |waiting| Asked {
            behind_slow_dial: waiting,
            ..CALLER
        };
        let wanted = |waiting| wanted(&[], behind(waiting), &pool(1..=20));
        assert_eq!([1, 3, 4, 40, 500].map(wanted), [1, 2, 2, 20, 20]);
    }

    #[test]
    fn nothing_is_dialled_ahead_but_what_there_must_be() {
        assert_eq!(wanted(&[with(10)], NOBODY, &pool(1..=3)), 1);
        assert_eq!(wanted(&[with(10)], NOBODY, &pool(2..=3)), 2);
        let prewarm = Asked {
            prewarm: 3,
            ..NOBODY
        };
        assert_eq!(wanted(&[], prewarm, &pool(1..=4)), 3);
    }

    #[test]
    fn what_is_late_or_old_does_not_count() {
        let late = Snapshot {
            standing: Standing::Suspect,
            ..Snapshot::idle()
        };
        let old = Snapshot {
            retiring: true,
            ..Snapshot::idle()
        };
        for snapshot in [late, old] {
            assert_eq!(wanted(&[snapshot], NOBODY, &pool(1..=1)), 1);
        }
    }

    #[test]
    fn a_target_that_fails_is_dialled_one_at_a_time_and_only_for_somebody() {
        let failing = |caller| Asked {
            caller,
            failing: true,
            ..NOBODY
        };
        let pool = pool(4..=8);
        assert_eq!(wanted(&[], failing(true), &pool), 1);
        assert_eq!(wanted(&[], failing(false), &pool), 0);
        // What is missing beside those that are well is.
        assert_eq!(wanted(&[with(0); 3], failing(false), &pool), 4);
    }

    #[test]
    fn connections_stay_until_nobody_needed_them_for_a_period() {
        let (start, pool) = (Instant::now(), pool(1..=8));
        let mut demand = Demand::new(start);
        let busy = [with(10), with(10), with(10)];
        demand.wanted(&busy, CALLER, &pool);
        let keep = |periods| {
            let keep = demand.keep(&pool, start + PERIOD * periods / 2);
            demand.wanted(&[with(0); 4], CALLER, &pool);
            keep.busy
        };
        assert_eq!([1, 2, 3, 4].map(keep), [None, Some(4), None, Some(1)]);
    }

    #[test]
    fn of_those_dialled_for_a_cold_burst_a_few_are_needed_later() {
        let (start, pool) = (Instant::now(), pool(1..=20));
        let mut demand = Demand::new(start);
        let burst = Asked {
            behind_slow_dial: 40,
            ..CALLER
        };
        assert_eq!(demand.wanted(&[], burst, &pool), 20);
        assert_eq!(demand.keep(&pool, start).idle, Some(LEFT));
    }

    #[test]
    fn a_large_cold_burst_leaves_one_for_each_16_callers() {
        let (start, pool) = (Instant::now(), pool(1..=32));
        for (callers, left) in [(100, 6), (200, 12), (400, 25)] {
            let mut demand = Demand::new(start);
            let burst = Asked {
                behind_slow_dial: callers,
                ..CALLER
            };
            demand.wanted(&[], burst, &pool);
            assert_eq!(demand.keep(&pool, start).idle, Some(left), "{callers}");
        }
    }

    #[test]
    fn those_of_a_trial_stay_while_it_lasts_and_go_at_once_when_it_was_of_no_use() {
        let (start, pool) = (Instant::now(), pool(1..=20));
        let mut demand = Demand::new(start);
        let tries = Asked {
            tried: 16,
            ..NOBODY
        };
        assert_eq!(demand.wanted(&[with(9); 3], tries, &pool), 16);
        assert_eq!(demand.keep(&pool, start).busy, None);
        assert_eq!(demand.keep(&pool, start + PERIOD).busy, Some(16));
        demand.wanted(&[with(2); 16], NOBODY, &pool);
        assert_eq!(demand.keep(&pool, start + PERIOD).busy, Some(4));
        assert_eq!(demand.keep(&pool, start + PERIOD).busy, None);
    }

    /// Web sockets, say, on a connection that has served many.
    #[test]
    fn channels_that_stay_are_spread_as_the_pool_says() {
        let pool = PoolConfig::default();
        let roomy = Snapshot {
            available: 4000,
            answered: 1000,
            ..Snapshot::idle()
        };
        let mut snapshots = vec![roomy];
        for _ in 0..1500 {
            let addresses = crate::client::pool::addresses::Addresses::new(None);
            let at =
                crate::client::pool::select::best(&snapshots, &addresses, pool.target_concurrency)
                    .unwrap();
            snapshots[at].channels += 1;
            let wanted = wanted(&snapshots, CALLER, &pool);
            snapshots.resize(wanted.max(snapshots.len()), roomy);
        }
        assert!(
            snapshots
                .iter()
                .all(|snapshot| snapshot.channels <= pool.target_concurrency)
        );
    }
}

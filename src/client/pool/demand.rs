//! How many connections there should be.

use std::time::{Duration, Instant};

use super::select::View;
use crate::client::PoolConfig;

/// Up to how many connections are dialled because those that there are would be of no
/// use for what comes: transfers saturate them, or their channels fail.
const BESIDE: usize = 4;

/// Callers that wait for a slow dial, for each connection that is dialled for them. On
/// a long link a connection carries about ten small answers in its first round trip.
const CALLERS_EACH: usize = 4;

/// How long connections stay that nobody needs: up to twice this.
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
    /// Connections that loss asks for.
    pub loss: usize,
    /// No connection has been good since the last failure, so it is one at a time.
    pub failing: bool,
}

/// The connections that were needed lately.
#[derive(Debug)]
pub(super) struct Demand {
    since: Instant,
    most: usize,
}

impl Demand {
    pub fn new(now: Instant) -> Self {
        Demand {
            since: now,
            most: 0,
        }
    }

    /// How many connections there are to be now, with those that are dialled for it.
    pub fn wanted(&mut self, views: &[View], asked: Asked, pool: &PoolConfig) -> usize {
        let needed = needed(views, asked, pool).clamp(pool.least, pool.most);
        self.most = self.most.max(needed);
        let fresh = views.iter().filter(|view| view.is_fresh()).count();
        let there = views.iter().any(|view| view.is_fresh() && view.greeted);
        let ahead = pool.least.max(asked.prewarm).max(asked.loss);
        match (asked.caller, asked.failing) {
            (true, false) => {
                let more = usize::from(!has_free(views, fresh, pool));
                needed.max((fresh + more).min(pool.most)).max(ahead)
            }
            (true, true) => {
                let more = usize::from(!has_free(views, fresh, pool) || fresh < ahead);
                fresh + more
            }
            (false, false) => ahead,
            // A target that is down is not dialled for nobody.
            (false, true) if there || asked.prewarm > 0 => ahead.min(fresh + 1),
            (false, true) => 0,
        }
        .min(pool.most)
    }

    /// How many may stay, once at the end of each period.
    pub fn keep(&mut self, pool: &PoolConfig, now: Instant) -> Option<usize> {
        (now >= self.ends()).then(|| {
            self.since = now;
            std::mem::take(&mut self.most).clamp(pool.least, pool.most)
        })
    }

    pub fn ends(&self) -> Instant {
        self.since + PERIOD
    }
}

/// Whether a connection can take a channel and has less to do than it should.
fn has_free(views: &[View], fresh: usize, pool: &PoolConfig) -> bool {
    views.iter().any(|view| {
        let beside = (view.saturated || view.ejected) && fresh < BESIDE;
        let takes = view.is_fresh() && view.room > 0;
        takes && view.channels < pool.busy_at && !beside
    })
}

/// How many connections would do for what there is.
fn needed(views: &[View], asked: Asked, pool: &PoolConfig) -> usize {
    let fresh = || views.iter().filter(|view| view.is_fresh());
    let occupied = fresh().filter(|view| view.saturated || view.ejected);
    let beside = match occupied.count() {
        0 => 0,
        occupied => (occupied + 1).min(BESIDE),
    };
    let for_waiting = match asked.behind_slow_dial {
        0 => 0,
        waiting => fresh().count() + waiting.div_ceil(CALLERS_EACH),
    };
    let load = for_load(fresh(), asked.caller, pool);
    load.max(beside).max(for_waiting).max(asked.prewarm).max(asked.loss)
}

/// How many connections would carry the channels that there are.
fn for_load<'a>(
    fresh: impl Iterator<Item = &'a View>,
    one_more: bool,
    pool: &PoolConfig,
) -> usize {
    let (mut channels, mut takes) = (usize::from(one_more), Vec::new());
    for view in fresh {
        channels += view.channels;
        takes.push(pool.busy_at.min(view.channels + view.room as usize));
    }
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

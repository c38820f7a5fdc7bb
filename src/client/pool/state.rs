//! The state machine of one target's pool: no runtime, no futures, no clock.
//!
//! Each verb takes the time, asks every connection how it is, decides on that snapshot
//! and leaves [`Action`]s for the shell, and the time of the next look.

use std::sync::Arc;
use std::time::Instant;

use super::action::Action;
use super::demand::{Asked, Demand};
use super::dials::Dials;
use super::drains::Drains;
use super::link::{Health, Link};
use super::loss::Loss;
use super::pooled::Pooled;
use super::select::{Snapshot, Standing, best, warmest, worth_keeping};
use super::verdict::Verdict;
use super::waiters::{WaiterId, Waiters};
use crate::client::ConnectError;
use crate::client::fallback::met::Evidence;
use crate::client::settings::Settings;
use crate::proto::OpenError;

/// How many connections there may be on top of the most that take channels,
/// however few those are: the ones that are late, and so are replaced.
const REPLACED: usize = 8;

/// What becomes of a caller.
#[derive(Debug)]
pub(super) enum Opened<C> {
    Channel(C),
    Waits(WaiterId),
    /// So many callers wait already.
    Full(usize),
    /// The caller is to call by HTTP.
    Http,
}

pub(super) struct State<L: Link> {
    settings: Arc<Settings>,
    pooled: Vec<Pooled<L>>,
    draining: Drains<L>,
    pub dials: Dials,
    pub waiters: Waiters,
    pub verdict: Verdict,
    demand: Demand,
    loss: Loss,
    /// When a caller last asked for a channel, or had one.
    used: Instant,
    /// A connection has channels.
    carries: bool,
    next_dial: u64,
    /// A dial that failed, of which those who wait are to be told.
    unreported: Option<ConnectError>,
    actions: Vec<Action<L>>,
    /// Memory for snapshots.
    spare: Vec<Snapshot>,
}

impl<L: Link> State<L> {
    pub fn new(settings: Arc<Settings>, now: Instant) -> Self {
        let fallback = settings.fallback.as_ref();
        State {
            verdict: Verdict::new(fallback.map(|(_, config)| config.clone())),
            settings,
            pooled: Vec::new(),
            draining: Drains::new(),
            dials: Dials::default(),
            waiters: Waiters::default(),
            demand: Demand::new(now),
            loss: Loss::new(now),
            used: now,
            carries: false,
            next_dial: 0,
            unreported: None,
            actions: Vec::new(),
            spare: Vec::new(),
        }
    }

    /// A channel for a caller, or its place among those who wait.
    pub fn open(&mut self, now: Instant) -> Opened<L::Channel> {
        self.used = now;
        let mut snapshots = self.serve(now);
        let waiting = self.waiters.callers();
        let alone = waiting == 0;
        let opened = match alone.then(|| self.take(&mut snapshots, now)).flatten() {
            Some((at, channel)) => {
                // The caller dials by what it found. The next one dials for itself.
                snapshots[at].released();
                Opened::Channel(channel)
            }
            None if self.verdict.is_http() => Opened::Http,
            None if waiting >= self.settings.pool.max_waiting => Opened::Full(waiting),
            None => Opened::Waits(self.waiters.enter()),
        };
        let dials = !matches!(opened, Opened::Http) || self.verdict.asks_again(now);
        self.adjust(snapshots, dials, now);
        opened
    }

    /// Has so many connections dialled, up to as many as there may be.
    pub fn prewarm(&mut self, connections: usize, now: Instant) -> WaiterId {
        self.used = now;
        let connections = connections.min(self.settings.pool.most);
        self.demand.note(connections);
        let id = self.waiters.prewarm(connections);
        self.look(now);
        id
    }

    /// Does what is due.
    pub fn look(&mut self, now: Instant) {
        let snapshots = self.serve(now);
        let waiting = self.waiters.callers() > 0;
        self.adjust(snapshots, waiting, now);
    }

    /// A caller waits no more.
    pub fn leave(&mut self, id: WaiterId) {
        self.waiters.leave(id);
    }

    /// A dial has started.
    pub fn dial_begins(&mut self, id: u64, now: Instant) {
        self.dials.begin(id, now);
    }

    /// A dial has ended. A connection that nobody waits for any more is closed.
    pub fn dialled(&mut self, id: u64, result: Result<L, ConnectError>, now: Instant) {
        let Some(began) = self.dials.end(id) else {
            self.actions.extend(result.ok().map(Action::Release));
            return;
        };
        match result {
            Ok(link) => {
                let siblings = self.dials.siblings(began, now);
                self.waiters.share_with(siblings);
                self.met_tcpchan();
                self.pooled.push(Pooled::new(link, &self.settings, now));
            }
            Err(error) if error.met().is_some() => self.met_http(error, now),
            Err(error) => {
                if !error.is_timeout() {
                    self.unreported = Some(error.clone());
                }
                self.dials.fail(error, now);
            }
        }
        self.look(now);
    }

    /// A dial met a server that speaks HTTP. As after a failure, the next dial waits, and
    /// nobody has one made ahead.
    fn met_http(&mut self, error: ConnectError, now: Instant) {
        if let Some(met) = error.met() {
            self.dials.put_off(now);
            self.verdict.met_http(met.evidence, now);
            self.unreported = Some(error);
        }
    }

    /// A server speaks tcpchan. Dials that were put off for others need not wait.
    pub fn met_tcpchan(&mut self) {
        if self.verdict.forget() {
            self.dials.clear();
        }
    }

    /// A caller has a connection that carries HTTP; TLS may have told.
    pub fn note_http(&mut self, by_tls: bool, now: Instant) {
        self.used = now;
        self.verdict.fell_back += 1;
        if by_tls {
            self.verdict.met_http(Evidence::Alpn, now);
        }
    }

    /// A caller that dialled for itself met a server of tcpchan. The pool takes the
    /// connection unless it has as many as there may be.
    pub fn adopt(&mut self, link: L, now: Instant) {
        self.met_tcpchan();
        let snapshots = self.serve(now);
        let fresh = snapshots.iter().filter(|snapshot| snapshot.is_fresh());
        let is_wanted = fresh.count() < self.settings.pool.most;
        match is_wanted && self.room(snapshots.len()) > 0 {
            true => self.pooled.push(Pooled::new(link, &self.settings, now)),
            false => self.actions.push(Action::Release(link)),
        }
        self.look(now);
    }

    /// A dial has ended with its runtime, which says nothing about the target. Whoever
    /// waits is to look again, where a runtime is left.
    pub fn dial_lost(&mut self, id: u64) {
        self.dials.end(id);
    }

    /// Tells those who wait of a failed dial if nothing else could serve them. A dial
    /// that took too long is not told: callers have their own time, and those that came
    /// late see the next one.
    fn tell(&mut self, error: ConnectError, snapshots: &[Snapshot], now: Instant) {
        if error.met().is_some() && !snapshots.iter().any(Snapshot::is_usable) {
            // Each dial under way serves one. The others need not wait for it.
            let told = self
                .waiters
                .take_all_but(self.dials.under_way(now))
                .into_iter();
            let told = told.map(|id| Action::Give(id, Err(error.clone())));
            self.actions.extend(told);
        }
        if self.dials.count() > 0 {
            return;
        }
        let told = self.waiters.take_prewarms(usize::MAX).into_iter();
        let told = told.map(|id| Action::Prewarmed(id, Err(error.clone())));
        self.actions.extend(told);
        if !snapshots.iter().any(Snapshot::is_usable) {
            let told = self.waiters.take_callers().into_iter();
            let told = told.map(|id| Action::Give(id, Err(error.clone())));
            self.actions.extend(told);
        }
    }

    /// Looks at all connections and serves those who wait; how the connections are then.
    fn serve(&mut self, now: Instant) -> Vec<Snapshot> {
        self.dials.expire(self.settings.pool.open_timeout, now);
        let mut snapshots = self.snapshots(now);
        if let Some(error) = self.unreported.take() {
            self.tell(error, &snapshots, now);
        }
        let settles = self.dials.settles(now);
        while let Some(id) = self.waiters.first(settles) {
            let Some((_, channel)) = self.take(&mut snapshots, now) else {
                break;
            };
            self.waiters.pop();
            self.actions.push(Action::Give(id, Ok(channel)));
        }
        let up = snapshots
            .iter()
            .filter(|snapshot| snapshot.is_fresh() && snapshot.greeted)
            .count();
        let met = self.waiters.take_prewarms(up).into_iter();
        self.actions
            .extend(met.map(|id| Action::Prewarmed(id, Ok(()))));
        snapshots
    }

    /// A channel of the best connection that has one, and which that is.
    fn take(&mut self, snapshots: &mut [Snapshot], now: Instant) -> Option<(usize, L::Channel)> {
        while let Some(at) = best(snapshots, self.settings.pool.target_concurrency) {
            let snapshot = &mut snapshots[at];
            match self.pooled[at].open(now) {
                Some(channel) => {
                    self.carries = true;
                    snapshot.opened();
                    return Some((at, channel));
                }
                None => snapshot.available = 0, // it has just ended or filled up
            }
        }
        None
    }

    /// Looks at every connection, and releases those that have ended or drain.
    fn snapshots(&mut self, now: Instant) -> Vec<Snapshot> {
        let (suspect_after, dead) = (self.settings.suspect_after(), self.settings.dead());
        self.draining.look(dead, now, &mut self.actions);
        let mut snapshots = std::mem::take(&mut self.spare);
        snapshots.clear();
        let mut good = false;
        while let Some(one) = self.pooled.get_mut(snapshots.len()) {
            let was_good = one.is_good();
            let seen = one.link.look(now);
            let snapshot = one.snapshot(&seen, suspect_after, now);
            good |= one.is_good() && !was_good;
            let at = snapshots.len();
            match seen.health {
                Health::Abandoned => {
                    let one = self.pooled.remove(at);
                    self.actions.push(Action::Release(one.link));
                }
                Health::Ended(error) => {
                    let one = self.pooled.remove(at);
                    self.over(&one, error, now);
                    self.actions.push(Action::Release(one.link));
                }
                Health::Draining => {
                    let one = self.retire(at, now);
                    self.over(&one, ConnectError::dial(OpenError::Draining), now);
                }
                _ if seen.overdue >= dead => {
                    let one = self.pooled.remove(at);
                    self.actions.push(Action::Abandon(one.link));
                }
                _ => snapshots.push(snapshot),
            }
        }
        if good {
            self.dials.clear();
        }
        if snapshots.iter().any(|snapshot| snapshot.greeted) {
            self.verdict.spoke(now);
        }
        // A request may be lost on a connection whose peer has never answered. So after a
        // failure the peer answers first, and callers get its failure as that of a dial.
        if self.settings.pool.await_hello || self.dials.is_failing() {
            let healthy = snapshots
                .iter_mut()
                .filter(|snapshot| snapshot.is_available());
            let unanswered = healthy.filter(|snapshot| !snapshot.greeted);
            unanswered.for_each(|snapshot| snapshot.standing = Standing::AwaitsHello);
        }
        self.carries = snapshots.iter().any(|snapshot| snapshot.channels > 0);
        if self.carries {
            self.used = now;
        }
        snapshots
    }

    /// Dials what is missing, and retires what is not needed.
    fn adjust(&mut self, mut snapshots: Vec<Snapshot>, caller: bool, now: Instant) {
        let waiting = self.waiters.callers();
        let failing = self.dials.is_failing();
        let slow = !failing && !self.verdict.asks_first() && self.dials.is_slow(now);
        let asked = Asked {
            caller: caller || waiting > 0,
            behind_slow_dial: if slow { waiting } else { 0 },
            prewarm: self.waiters.prewarmed(),
            loss: self.loss.look(&snapshots, self.settings.pool.most, now),
            failing,
        };
        let wanted = self.demand.wanted(&snapshots, asked, &self.settings.pool);
        if !self.is_idle(now) {
            self.dial(wanted, &snapshots, now);
        }
        self.retire_old(&mut snapshots, now);
        self.retire_surplus(&snapshots, now);
        self.spare = snapshots;
    }

    fn dial(&mut self, wanted: usize, snapshots: &[Snapshot], now: Instant) {
        let most = self.settings.pool.most;
        let fresh = snapshots
            .iter()
            .filter(|snapshot| snapshot.is_fresh())
            .count();
        let promising = match self.waiters.is_empty() {
            true => self.dials.count(),
            false => self.dials.promising(self.settings.suspect_after(), now),
        };
        let to_dial = wanted.saturating_sub(fresh + promising);
        let room = self.room(snapshots.len());
        let room = room.min(most.max(2).saturating_sub(self.dials.count()));
        for _ in 0..to_dial.min(room) {
            self.next_dial += 1;
            let at = self.dials.add(self.next_dial, now);
            self.actions.push(Action::Dial(self.next_dial, at));
        }
    }

    /// How many more connections there may be, beside so many and the dials.
    fn room(&self, pooled: usize) -> usize {
        let most = self.settings.pool.most;
        (most + most.max(REPLACED)).saturating_sub(pooled + self.dials.count())
    }

    /// Retires the connections that others have replaced.
    fn retire_old(&mut self, snapshots: &mut Vec<Snapshot>, now: Instant) {
        let up = snapshots
            .iter()
            .filter(|snapshot| snapshot.is_fresh() && snapshot.greeted);
        if up.count() < self.settings.pool.least {
            return;
        }
        while let Some(at) = snapshots.iter().position(|snapshot| snapshot.retiring) {
            snapshots.remove(at);
            self.retire(at, now);
        }
    }

    /// Retires what nobody needs: of a target that is idle all.
    fn retire_surplus(&mut self, snapshots: &[Snapshot], now: Instant) {
        let keep = self.demand.keep(&self.settings.pool, now);
        // While some wait, what is idle is about to get channels.
        let settled = self.waiters.is_empty() && self.dials.count() == 0;
        let mut surplus: Vec<usize> = match (keep.busy, keep.idle) {
            _ if self.is_idle(now) => (0..snapshots.len()).collect(),
            (Some(busy), _) => worth_keeping(snapshots).into_iter().skip(busy).collect(),
            (None, Some(idle)) if settled => {
                let order = warmest(snapshots).into_iter().skip(idle);
                order.filter(|at| snapshots[*at].channels == 0).collect()
            }
            _ => return,
        };
        surplus.sort_unstable();
        for at in surplus.into_iter().rev() {
            self.retire(at, now);
        }
    }

    /// Takes a connection from the choice. What it carries goes on.
    fn retire(&mut self, at: usize, now: Instant) -> Pooled<L> {
        let one = self.pooled.remove(at);
        let within = self.settings.pool.drain_timeout;
        let drain = self.draining.add(one.link.clone(), within, now);
        self.actions.push(drain);
        one
    }

    /// The pool has released a connection which ended or drains. If it was never good,
    /// that is a failed dial; if it was, and was short, the next one waits a little.
    fn over(&mut self, one: &Pooled<L>, cause: ConnectError, now: Instant) {
        if !one.is_good() {
            self.unreported = Some(cause.clone());
            self.dials.fail(cause, now);
        } else if one.is_young(now) {
            self.dials.pause(now);
        }
    }

    /// What the shell is to do.
    #[must_use]
    pub fn take_actions(&mut self) -> Vec<Action<L>> {
        std::mem::take(&mut self.actions)
    }

    /// When to look again though nothing happens.
    pub fn next_look(&self, now: Instant) -> Option<Instant> {
        if self.is_over(now) {
            return None;
        }
        let suspect_after = self.settings.suspect_after();
        let pooled = self
            .pooled
            .iter()
            .filter_map(|one| one.next(suspect_after, now));
        let waiting = self.waiters.callers() > 0;
        let within = self.settings.pool.open_timeout;
        let dials = self.dials.next(suspect_after, within, waiting, now);
        let drains = self.draining.next();
        let idle = self.used + self.settings.pool.idle_timeout;
        let surplus = self.pooled.len() > self.settings.pool.least;
        let surplus = surplus.then(|| self.demand.ends());
        // Whoever has a channel learns of a task that is not run.
        let carries = self.carries || !self.draining.is_empty();
        let stalls = carries.then(|| now + self.settings.dead() / 2);
        let times = pooled.chain(drains).chain(dials).chain(surplus);
        let times = times.chain(stalls).chain(self.loss.next()).chain([idle]);
        times.filter(|at| *at > now).min()
    }

    pub fn error(&self) -> Option<ConnectError> {
        self.dials.error()
    }

    fn is_idle(&self, now: Instant) -> bool {
        self.waiters.is_empty() && now >= self.used + self.settings.pool.idle_timeout
    }

    fn is_empty(&self) -> bool {
        let nothing = self.pooled.is_empty() && self.draining.is_empty();
        nothing && self.dials.count() == 0 && self.waiters.is_empty()
    }

    /// Whether nothing is lost when the target is forgotten.
    pub fn is_over(&self, now: Instant) -> bool {
        self.is_empty() && self.is_idle(now)
    }

    pub fn connections(&self) -> impl Iterator<Item = &L> {
        self.pooled.iter().map(|one| &one.link)
    }

    pub fn draining(&self) -> impl Iterator<Item = &L> {
        self.draining.links()
    }
}

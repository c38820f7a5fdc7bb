//! The state machine of one target's pool: no runtime, no futures, no clock.
//!
//! Each verb takes the time, asks every connection how it is, decides on that snapshot
//! and leaves [`Action`]s for the shell, and the time of the next look.

use std::sync::Arc;
use std::time::Instant;

use super::action::Action;
use super::addresses::{AddressId, Addresses};
use super::demand::Demand;
use super::dials::Dials;
use super::drains::Drains;
use super::link::{Health, Link};
use super::loss::Loss;
use super::pooled::Pooled;
use super::resolution::Resolution;
use super::select::{Snapshot, Standing, best};
use super::verdict::Verdict;
use super::waiters::{WaiterId, Waiters};
use crate::client::ConnectError;
use crate::client::discovery::Discovery;
use crate::client::settings::Settings;
use crate::proto::OpenError;

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
    pub(super) settings: Arc<Settings>,
    pub(super) pooled: Vec<Pooled<L>>,
    pub(super) draining: Drains<L>,
    pub(super) addresses: Addresses,
    /// If the target's name is resolved.
    pub(super) resolution: Option<Resolution>,
    pub(super) dials: Dials,
    pub(super) waiters: Waiters,
    pub(super) verdict: Verdict,
    pub(super) demand: Demand,
    pub(super) loss: Loss,
    /// When a caller last asked for a channel, or had one.
    pub(super) used: Instant,
    /// A connection has channels.
    pub(super) carries: bool,
    pub(super) next_dial: u64,
    /// A dial that failed, of which those who wait are to be told.
    pub(super) unreported: Option<ConnectError>,
    pub(super) actions: Vec<Action<L>>,
    /// Memory for snapshots.
    pub(super) spare: Vec<Snapshot>,
}

impl<L: Link> State<L> {
    /// If the target has a name, `discovery` says how it is resolved.
    pub fn new(settings: Arc<Settings>, discovery: Option<&Discovery>, now: Instant) -> Self {
        let fallback = settings.fallback.as_ref();
        State {
            verdict: Verdict::new(fallback.map(|(_, config)| config.clone())),
            settings,
            pooled: Vec::new(),
            draining: Drains::new(),
            addresses: Addresses::new(discovery.map(Discovery::get_max_addresses)),
            resolution: discovery.map(|found| Resolution::new(found.get_interval(), now)),
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
        let Some((began, address)) = self.dials.end(id) else {
            self.actions.extend(result.ok().map(Action::Release));
            return;
        };
        match result {
            Ok(link) => {
                let siblings = self.dials.siblings(began, now);
                self.waiters.share_with(siblings);
                self.met_tcpchan();
                let one = Pooled::new(link, address, &self.settings, now);
                self.pooled.push(one);
            }
            Err(error) if error.met().is_some() => self.met_http(address, error, now),
            Err(error) => {
                if !error.is_timeout() {
                    self.unreported = Some(error.clone());
                }
                self.fail(address, error, now);
            }
        }
        self.look(now);
    }

    /// A dial failed, or a connection ended before it was good.
    fn fail(&mut self, address: Option<AddressId>, error: ConnectError, now: Instant) {
        self.dials.fail(error);
        self.put_off(address, now);
        self.hasten(now);
    }

    /// A dial was in vain.
    pub(super) fn put_off(&mut self, address: Option<AddressId>, now: Instant) {
        // Dials that began together fail as one.
        let alone = |address| !self.dials.is_to(address) || !self.addresses.fails(Some(address));
        if let Some(address) = address.filter(|address| alone(*address)) {
            self.addresses.fail(address, now);
        }
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
        if error.met().is_some() && !snapshots.iter().any(Snapshot::is_available) {
            // Each dial under way serves one. The others need not wait for it.
            let told = self
                .waiters
                .take_all_but(self.dials.under_way(now))
                .into_iter();
            let told = told.map(|id| Action::Give(id, Err(error.clone())));
            self.actions.extend(told);
        }
        if self.dials.count() > 0 || self.addresses.has_another() {
            return;
        }
        let error = match self.addresses.len() {
            0 | 1 => error,
            addresses => error.of_all(addresses),
        };
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
    pub(super) fn serve(&mut self, now: Instant) -> Vec<Snapshot> {
        self.dials.expire(self.settings.pool.open_timeout, now);
        let mut snapshots = self.snapshots(now);
        let settles = self.dials.settles(now);
        while let Some(id) = self.waiters.first(settles) {
            let Some((_, channel)) = self.take(&mut snapshots, now) else {
                break;
            };
            self.waiters.pop();
            self.actions.push(Action::Give(id, Ok(channel)));
        }
        if let Some(error) = self.unreported.take() {
            self.tell(error, &snapshots, now);
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
        let concurrency = self.settings.pool.target_concurrency;
        while let Some(at) = best(snapshots, &self.addresses, concurrency) {
            let snapshot = &mut snapshots[at];
            match self.pooled[at].open(now) {
                Some(channel) => {
                    self.carries = true;
                    snapshot.opened();
                    self.addresses.opened(snapshot.address);
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
        let mut good = Vec::new();
        while let Some(one) = self.pooled.get_mut(snapshots.len()) {
            let was_good = one.is_good();
            let seen = one.link.look(now);
            let snapshot = one.snapshot(&seen, suspect_after, now);
            let became_good = one.is_good() && !was_good;
            if let Some(address) = one.address.filter(|_| became_good) {
                match seen.health {
                    // How it ended counts, too.
                    Health::Ended(_) | Health::Draining => self.addresses.clear(address),
                    _ => good.push(address),
                }
            }
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
        good.into_iter().for_each(|id| self.addresses.clear(id));
        if snapshots.iter().any(|snapshot| snapshot.greeted) {
            self.verdict.spoke(now);
        }
        // A request may be lost on a connection whose peer has never answered. So after a
        // failure the peer answers first, and callers get its failure as that of a dial.
        let always = self.settings.pool.await_hello;
        let unanswered = snapshots
            .iter_mut()
            .filter(|snapshot| snapshot.is_available() && !snapshot.greeted);
        let waits = unanswered.filter(|one| always || self.addresses.fails(one.address));
        waits.for_each(|snapshot| snapshot.standing = Standing::AwaitsHello);
        self.carries = snapshots.iter().any(|snapshot| snapshot.channels > 0);
        if self.carries {
            self.used = now;
        }
        let connected = snapshots.iter().filter_map(Snapshot::connected);
        self.addresses.count(connected, self.dials.addresses(now));
        snapshots
    }

    /// The pool has released a connection which ended or drains. If it was never good,
    /// that is a failed dial; if it was, and was short, the next one waits a little.
    fn over(&mut self, one: &Pooled<L>, cause: ConnectError, now: Instant) {
        if !one.is_good() {
            self.unreported = Some(cause.clone());
            self.fail(one.address, cause, now);
        } else {
            if let Some(address) = one.address.filter(|_| one.is_young(now)) {
                self.addresses.pause(address, now);
            }
            self.hasten(now);
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
        let least = self
            .settings
            .pool
            .least
            .max(self.addresses.to_keep().count());
        let surplus = self.pooled.len() > least;
        let surplus = surplus.then(|| self.demand.ends());
        // Whoever has a channel learns of a task that is not run.
        let carries = self.carries || !self.draining.is_empty();
        let stalls = carries.then(|| now + self.settings.dead() / 2);
        let resolution = self.resolution.as_ref();
        let resolution = resolution.map(|asks| asks.next(suspect_after));
        let times = pooled.chain(drains).chain(dials).chain(surplus);
        let times = times.chain(resolution);
        let times = times.chain(stalls).chain(self.loss.next()).chain([idle]);
        times.filter(|at| *at > now).min()
    }

    /// What went wrong last, if nothing went well since.
    pub fn error(&self) -> Option<ConnectError> {
        match &self.resolution {
            Some(resolution) if self.addresses.len() == 0 => resolution.error(),
            _ => self.dials.error().filter(|_| self.addresses.all_fail()),
        }
    }

    pub(super) fn is_idle(&self, now: Instant) -> bool {
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

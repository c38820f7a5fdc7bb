//! The connections of one target: which to use, when to dial, what to retire.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::choice::{Need, View, best_first, missing, room};
use super::dial::{Dial, Ticket, run};
use super::error::ConnectError;
use super::hold::{pause, sate};
use super::pool::Settings;
use super::queue::{Place, Queue};
use super::slot::Slot;
use super::spread::Spread;
use super::target::{Target, drain, wake, watch};
use crate::backoff::Backoff;
use crate::driver::{Channel, Connection};
use crate::proto::OpenError;

/// Dials that began together end together, give or take this part of their time.
const SETTLE: u32 = 8;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

pub(super) struct State {
    target: Weak<Target>,
    settings: Arc<Settings>,
    pub dialler: Box<dyn Dial>,
    pub slots: Vec<Slot>,
    /// Connections that were taken from the choice, until they are over.
    pub draining: BTreeMap<u64, Connection>,
    pub dialling: usize,
    pub dials: u64,
    /// Dials that failed, and connections that ended before they were good.
    pub failed: u64,
    /// The dials of them that callers who waited are told. One that took too
    /// long is not: its callers have their own time, and late ones dial again.
    pub verdicts: u64,
    last_error: Option<ConnectError>,
    pub queue: Queue,
    /// When the last dial began.
    dialled_at: Instant,
    /// Until when those who wait leave the first connection of several.
    settles_at: Instant,
    backoff: Backoff,
    spread: Spread,
    /// When a caller last asked for a channel, or had one.
    used: Instant,
    next_id: u64,
    /// To be spawned once the lock is free.
    pub tasks: Vec<Task>,
}

impl State {
    pub fn new(target: Weak<Target>, settings: Arc<Settings>, dialler: Box<dyn Dial>) -> Self {
        State {
            target,
            settings,
            dialler,
            slots: Vec::new(),
            draining: BTreeMap::new(),
            dialling: 0,
            dials: 0,
            failed: 0,
            verdicts: 0,
            last_error: None,
            queue: Queue::default(),
            dialled_at: Instant::now(),
            settles_at: Instant::now(),
            backoff: Backoff::default(),
            spread: Spread::new(Instant::now()),
            used: Instant::now(),
            next_id: 0,
            tasks: Vec::new(),
        }
    }

    /// A channel for a caller, from the least loaded and quickest connection;
    /// and the dials that the load asks for. Whoever is not queued comes after
    /// those who are.
    pub fn open(&mut self, queued: bool, now: Instant) -> Option<Channel> {
        self.used = now;
        if queued && self.settles(now) {
            return None;
        }
        let views = self.look(now);
        let waiting = self.queue.len();
        if !queued && waiting > 0 && room(&views) <= waiting {
            return None;
        }
        // Where it fails, the watcher is about to remove the connection.
        let channel = best_first(&views, &self.settings.pool)
            .into_iter()
            .find_map(|i| self.slots[i].open(now).ok())?;
        self.replace(&views, now, Need::Caller);
        Some(channel)
    }

    /// When a caller is to look again who should wait for a connection that is
    /// through with its share.
    pub fn pause(&mut self, now: Instant) -> Option<Duration> {
        if self.spread.wanted() == 1 {
            return None;
        }
        self.used = now;
        pause(&self.look(now))
    }

    /// The dials that a caller needs who got no channel.
    pub fn ask(&mut self, now: Instant) {
        let views = self.look(now);
        self.replace(&views, now, Need::Caller);
    }

    /// A caller waits no more.
    pub fn leave(&mut self, place: Place, now: Instant) {
        self.queue.leave(place);
        if self.queue.len() > 0 {
            let views = self.look(now);
            self.queue.wake(room(&views));
        }
    }

    fn look(&mut self, now: Instant) -> Vec<View> {
        let late = self.settings.late;
        let was_good = self.slots.iter().filter(|slot| slot.good).count();
        let look = |slot: &mut Slot| slot.look(now, late);
        let mut views: Vec<View> = self.slots.iter_mut().map(look).collect();
        sate(&mut views, self.spread.wanted(), now);
        if self.slots.iter().filter(|slot| slot.good).count() > was_good {
            self.backoff.clear();
        }
        views
    }

    fn need(&self) -> Need {
        match self.queue.len() {
            0 => Need::Ahead,
            _ => Need::Caller,
        }
    }

    /// Retires the connections that others replace, and dials what is missing.
    fn replace(&mut self, views: &[View], now: Instant, need: Need) {
        let held_up = views.iter().filter_map(|view| view.held_up);
        if self.spread.look(held_up, self.settings.pool.most, now) {
            self.narrow(views);
        }
        let there = |view: &&View| view.is_fresh() && view.answered;
        if views.iter().filter(there).count() >= self.settings.pool.least {
            while let Some(at) = self.slots.iter().position(|slot| slot.retiring) {
                self.retire(at);
            }
        }
        if need == Need::Ahead && self.is_idle(now) {
            return;
        }
        let failing = !self.backoff.is_clear();
        let (pool, for_loss) = (&self.settings.pool, self.spread.wanted());
        for _ in 0..missing(views, self.dialling, pool, for_loss, need, failing) {
            self.dial(now);
        }
    }

    /// The loss is over: the best connections stay, the others are retired.
    fn narrow(&mut self, views: &[View]) {
        let best = best_first(views, &self.settings.pool).into_iter();
        let least = self.settings.pool.least;
        for at in best.filter(|at| views[*at].is_fresh()).skip(least) {
            self.slots[at].retiring = true;
        }
    }

    fn dial(&mut self, now: Instant) {
        self.dialling += 1;
        self.dials += 1;
        self.dialled_at = now;
        let ticket = Ticket {
            target: self.target.clone(),
            result: None,
        };
        let start = self.backoff.start(now);
        let within = self.settings.pool.open_timeout;
        self.tasks.push(Box::pin(run(ticket, start, within)));
    }

    pub fn dialled(&mut self, result: Result<Connection, ConnectError>, now: Instant) {
        self.dialling -= 1;
        match result {
            Ok(connection) => {
                if self.slots.is_empty() && self.dialling > 0 {
                    self.settles_at = now + (now - self.dialled_at) / SETTLE;
                    let target = self.target.clone();
                    self.tasks.push(Box::pin(wake(target, self.settles_at)));
                }
                self.add(connection, now);
                let views = self.look(now);
                self.replace(&views, now, self.need());
            }
            Err(error) => {
                self.verdicts += u64::from(!error.is_timeout());
                self.failed(error, now);
            }
        }
        self.queue.wake(usize::MAX); // a failure may be that of all of them
    }

    /// Whether dials that began with the first that succeeded are about to end
    /// too, so that those who wait for a channel can share them.
    fn settles(&self, now: Instant) -> bool {
        self.dialling > 0 && now < self.settles_at
    }

    fn failed(&mut self, error: ConnectError, now: Instant) {
        self.failed += 1;
        self.last_error = Some(error);
        // Dials that began together fail as one.
        if self.dialling == 0 || self.backoff.is_clear() {
            self.backoff.failed(now);
        }
    }

    fn add(&mut self, connection: Connection, now: Instant) {
        self.next_id += 1;
        let id = self.next_id;
        let (sender, watched) = oneshot::channel();
        let watcher = watch(self.target.clone(), id, connection.clone(), watched);
        self.tasks.push(Box::pin(watcher));
        let pool = &self.settings.pool;
        self.slots
            .push(Slot::new(id, connection, pool, now, sender));
    }

    /// Takes a connection from the choice. What it carries goes on.
    fn retire(&mut self, at: usize) -> Slot {
        let slot = self.slots.remove(at);
        self.draining.insert(slot.id, slot.connection.clone());
        let (target, connection) = (self.target.clone(), slot.connection.clone());
        let within = self.settings.pool.drain_timeout;
        self.tasks
            .push(Box::pin(drain(target, slot.id, connection, within)));
        slot
    }

    /// Does what is due for a connection; when to look again, `None` once the
    /// target has let go of it.
    pub fn review(&mut self, id: u64, now: Instant) -> Option<Instant> {
        let at = self.slots.iter().position(|slot| slot.id == id)?;
        let views = self.look(now);
        for slot in &self.slots {
            self.used = self.used.max(slot.used);
        }
        let slot = &self.slots[at];
        let fresh = views.iter().filter(|view| view.is_fresh()).count();
        let spare = fresh > self.settings.pool.least || self.is_idle(now);
        if let Some(error) = slot.connection.error() {
            let slot = self.slots.remove(at);
            self.over(&slot, ConnectError::dial(error), now);
        } else if !slot.connection.is_open() {
            let slot = self.retire(at);
            self.over(&slot, ConnectError::dial(OpenError::Draining), now);
        } else if spare && self.is_quiet(slot.used, now) {
            self.retire(at);
        }
        let views = self.look(now);
        self.replace(&views, now, self.need());
        self.queue.wake(room(&views));
        self.next_review(id, now)
    }

    fn next_review(&self, id: u64, now: Instant) -> Option<Instant> {
        let slot = self.slots.iter().find(|slot| slot.id == id)?;
        let timeout = self.settings.pool.idle_timeout;
        let used = match self.is_quiet(slot.used, now) {
            true => self.used,
            false => slot.used,
        };
        let next = slot.next_look(now, self.settings.late, used + timeout);
        Some(self.spread.until().map_or(next, |until| next.min(until)))
    }

    /// Notes that the target has let go of a connection which ended or drains.
    /// If it was never good, that is a failed dial; if it was, and was young,
    /// the next one waits a little.
    fn over(&mut self, slot: &Slot, cause: ConnectError, now: Instant) {
        if !slot.good {
            self.failed(cause, now);
        } else if slot.is_young(now) {
            self.backoff.pause(now);
        }
    }

    /// What went wrong last, if nothing went well since.
    pub fn error(&self) -> Option<ConnectError> {
        let failing = !self.backoff.is_clear();
        self.last_error.clone().filter(|_| failing)
    }

    fn is_quiet(&self, used: Instant, now: Instant) -> bool {
        now >= used + self.settings.pool.idle_timeout
    }

    fn is_idle(&self, now: Instant) -> bool {
        self.queue.len() == 0 && self.is_quiet(self.used, now)
    }

    /// Whether nothing is lost when the target is forgotten.
    pub fn is_empty(&self, now: Instant) -> bool {
        let nothing = self.slots.is_empty() && self.draining.is_empty() && self.dialling == 0;
        nothing && self.is_idle(now)
    }
}

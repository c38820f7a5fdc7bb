//! The connections of one target: which to use, when to dial, what to retire.

use std::cmp::Reverse;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::dial::{Backoff, Dial, Ticket, run};
use super::error::ConnectError;
use super::pool::Settings;
use super::slot::{Slot, View};
use super::target::{Target, drain, watch};
use crate::driver::{Channel, Connection};
use crate::proto::ConnectionError;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

pub(super) struct State {
    target: Weak<Target>,
    settings: Arc<Settings>,
    pub dialler: Box<dyn Dial>,
    pub slots: Vec<Slot>,
    pub dialling: usize,
    pub dials: u64,
    /// Dials that failed, and connections that ended without an answer.
    pub failed: u64,
    /// Those of them that callers who waited are told. A dial that took too
    /// long is not: its callers have their own time, and late ones dial again.
    pub verdicts: u64,
    last_error: Option<ConnectError>,
    pub waiting: usize,
    backoff: Backoff,
    /// When a caller last asked for a channel, or had one.
    used: Instant,
    next_id: u64,
    /// To be spawned once the lock is free.
    pub tasks: Vec<Task>,
}

/// Who wants a dial.
#[derive(Clone, Copy)]
enum Need {
    /// A caller; busy if the connections there are have enough to do.
    Caller { busy: bool },
    /// Nobody yet: so that the next caller finds a connection.
    Ahead,
}

impl State {
    pub fn new(target: Weak<Target>, settings: Arc<Settings>, dialler: Box<dyn Dial>) -> Self {
        State {
            target,
            settings,
            dialler,
            slots: Vec::new(),
            dialling: 0,
            dials: 0,
            failed: 0,
            verdicts: 0,
            last_error: None,
            waiting: 0,
            backoff: Backoff::default(),
            used: Instant::now(),
            next_id: 0,
            tasks: Vec::new(),
        }
    }

    /// A channel for a caller, from the least loaded and quickest connection;
    /// and the dials that this asks for.
    pub fn open(&mut self, now: Instant) -> Option<Channel> {
        self.used = now;
        let views = self.look(now);
        let is_free = |view: &View| view.is_fresh() && view.channels < self.settings.pool.busy_at;
        let mut busy = true;
        let mut channel = None;
        for i in by_load(&views) {
            // Where it fails, the peer takes no more or the watcher removes it.
            if let Ok(opened) = self.slots[i].open(now) {
                channel = Some(opened);
                busy = !views.iter().any(is_free);
                break;
            }
        }
        self.replace(&views, now, Need::Caller { busy });
        channel
    }

    fn look(&mut self, now: Instant) -> Vec<View> {
        let late = self.settings.late;
        let look = |slot: &mut Slot| slot.look(now, late);
        let views: Vec<View> = self.slots.iter_mut().map(look).collect();
        if views.iter().any(|view| view.proves) {
            self.backoff.clear();
        }
        views
    }

    /// Retires the connections that others replace, and dials what is missing.
    fn replace(&mut self, views: &[View], now: Instant, need: Need) {
        let fresh = views.iter().filter(|view| view.is_fresh()).count();
        if fresh >= self.settings.pool.least {
            while let Some(at) = self.slots.iter().position(|slot| slot.retiring) {
                self.retire(at);
            }
        }
        let wanted = self.wanted(fresh, now, need);
        while fresh + self.dialling < wanted {
            self.dial(now);
        }
    }

    /// How many connections there should be that take channels. After a
    /// failure one more at a time, and only for a caller.
    fn wanted(&self, fresh: usize, now: Instant, need: Need) -> usize {
        let pool = &self.settings.pool;
        let failing = !self.backoff.is_clear();
        match need {
            Need::Ahead if failing || self.is_idle(now) => 0,
            Need::Ahead => pool.least,
            Need::Caller { busy } => {
                let more = fresh + usize::from(busy);
                let wanted = more.clamp(pool.least, pool.most);
                if failing {
                    wanted.min(fresh + 1)
                } else {
                    wanted
                }
            }
        }
    }

    fn dial(&mut self, now: Instant) {
        self.dialling += 1;
        self.dials += 1;
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
                self.add(connection, now);
                let views = self.look(now);
                self.replace(&views, now, Need::Ahead);
            }
            Err(error) => self.dial_failed(error, now),
        }
    }

    fn dial_failed(&mut self, error: ConnectError, now: Instant) {
        self.failed += 1;
        self.verdicts += u64::from(!error.is_timeout());
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
    fn retire(&mut self, at: usize) {
        let slot = self.slots.remove(at);
        let within = self.settings.pool.drain_timeout;
        self.tasks.push(Box::pin(drain(slot.connection, within)));
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
            self.ended(at, error, now);
        } else if !slot.connection.is_open() || (spare && self.is_quiet(slot.used, now)) {
            self.retire(at);
        }
        let views = self.look(now);
        self.replace(&views, now, Need::Ahead);
        self.next_review(id, now)
    }

    fn next_review(&self, id: u64, now: Instant) -> Option<Instant> {
        let slot = self.slots.iter().find(|slot| slot.id == id)?;
        let timeout = self.settings.pool.idle_timeout;
        let used = match self.is_quiet(slot.used, now) {
            true => self.used,
            false => slot.used,
        };
        Some(slot.next_look(now, self.settings.late, used + timeout))
    }

    /// A connection that ended before the peer answered is a failed dial; one
    /// that ended soon is not dialled again at once.
    fn ended(&mut self, at: usize, error: ConnectionError, now: Instant) {
        let slot = self.slots.remove(at);
        if !slot.proven {
            self.dial_failed(ConnectError::dial(error), now);
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
        self.waiting == 0 && self.is_quiet(self.used, now)
    }

    /// Whether nothing is lost when the target is forgotten.
    pub fn is_empty(&self, now: Instant) -> bool {
        self.slots.is_empty() && self.dialling == 0 && self.is_idle(now)
    }
}

/// The usable connections, the least loaded and quickest first, and of those
/// alike the one that was heard last. Looking at all of them is better than at
/// two by chance, and as cheap with so few.
fn by_load(views: &[View]) -> Vec<usize> {
    let quickest = views.iter().filter_map(|view| view.rtt).min();
    let quickest = quickest.unwrap_or_default();
    let mut order: Vec<usize> = (0..views.len()).filter(|i| views[*i].usable).collect();
    order.sort_by_key(|i| {
        let view = &views[*i];
        (view.retiring, view.load(quickest), Reverse(view.heard))
    });
    order
}

//! A target and those who wait for a channel to it.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::dial::{Dial, Dialling};
use super::error::ConnectError;
use super::pool::{Key, Settings};
use super::state::State;
use super::stats::TargetStats;
use crate::driver::{Channel, Connection};

pub(super) struct Target {
    settings: Arc<Settings>,
    state: Mutex<State>,
    /// Dials, watchers and drains: they end with the target.
    tasks: Mutex<JoinSet<()>>,
    /// A channel may be there now, or a dial has failed.
    changed: Notify,
}

impl Target {
    pub fn new(settings: Arc<Settings>, dialler: Box<dyn Dial>) -> Arc<Self> {
        Arc::new_cyclic(|target| Target {
            state: Mutex::new(State::new(target.clone(), settings.clone(), dialler)),
            settings,
            tasks: Mutex::new(JoinSet::new()),
            changed: Notify::new(),
        })
    }

    /// Runs `change` under the lock and spawns what it asks for without it: a
    /// runtime that shuts down drops a task at once, and the task locks.
    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let value = change(&mut state);
        let new = std::mem::take(&mut state.tasks);
        drop(state);
        if !new.is_empty() {
            let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            while tasks.try_join_next().is_some() {}
            for task in new {
                tasks.spawn(task);
            }
        }
        value
    }

    /// A channel, for which the caller waits if it must. Cancel safe: a caller
    /// that goes away takes nothing with it, not even the dial.
    pub async fn open(self: Arc<Self>) -> Result<Channel, ConnectError> {
        let mut waiter = Waiter::new(&self);
        if let Some(result) = waiter.look() {
            return result;
        }
        let within = self.settings.pool.open_timeout;
        match tokio::time::timeout(within, waiter.wait()).await {
            Ok(result) => result,
            Err(_) => Err(ConnectError::timeout(
                within,
                self.with(|state| state.error()),
            )),
        }
    }

    pub fn dial(&self) -> Dialling {
        self.with(|state| state.dialler.dial())
    }

    pub fn dialled(&self, result: Result<Connection, ConnectError>) {
        self.with(|state| state.dialled(result, Instant::now()));
        self.changed.notify_waiters(); // a failure is all of theirs
    }

    fn review(&self, id: u64) -> Option<Instant> {
        let now = Instant::now();
        let (next, turns) = self.with(|state| (state.review(id, now), state.turns(now)));
        for _ in 0..turns {
            self.changed.notify_one();
        }
        next
    }

    pub fn is_empty(&self) -> bool {
        self.with(|state| state.is_empty(Instant::now()))
    }

    pub fn stats(&self, (scheme, authority): Key) -> TargetStats {
        self.with(|state| TargetStats {
            scheme,
            authority,
            connections: state.slots.iter().map(|slot| slot.stats()).collect(),
            dialling: state.dialling,
            waiting: state.waiting,
            dials: state.dials,
            failed: state.failed,
        })
    }
}

/// A caller.
struct Waiter<'a> {
    target: &'a Target,
    queued: bool,
    /// The verdicts by which every dial that it waited for has failed.
    patience: Option<u64>,
}

impl<'a> Waiter<'a> {
    fn new(target: &'a Target) -> Self {
        Waiter {
            target,
            queued: false,
            patience: None,
        }
    }

    fn look(&mut self) -> Option<Result<Channel, ConnectError>> {
        let target = self.target;
        target.with(|state| {
            let now = Instant::now();
            if self.queued && state.settles(now) {
                return None;
            }
            if let Some(channel) = state.open(self.queued, now) {
                return Some(Ok(channel));
            }
            if let Some(patience) = self.patience
                && state.verdicts >= patience
                && let Some(error) = state.error()
            {
                return Some(Err(error));
            }
            state.ask(now);
            if !self.queued {
                if state.waiting >= target.settings.pool.max_waiting {
                    return Some(Err(ConnectError::full(state.waiting)));
                }
                state.waiting += 1;
                self.queued = true;
            }
            if self.patience.is_none() && state.dialling > 0 {
                self.patience = Some(state.verdicts + state.dialling as u64);
            }
            None
        })
    }

    async fn wait(&mut self) -> Result<Channel, ConnectError> {
        loop {
            let changed = self.target.changed.notified();
            if let Some(result) = self.look() {
                return result;
            }
            changed.await;
        }
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if self.queued {
            let turns = self.target.with(|state| {
                state.waiting -= 1;
                state.turns(Instant::now())
            });
            if turns > 0 {
                self.target.changed.notify_one();
            }
        }
    }
}

/// Lets those who wait look again, at this time.
pub(super) async fn wake(target: Weak<Target>, at: Instant) {
    tokio::time::sleep_until(at).await;
    if let Some(target) = target.upgrade() {
        target.changed.notify_waiters();
    }
}

/// Watches a connection for its target until that lets go of it.
pub(super) async fn watch(
    target: Weak<Target>,
    id: u64,
    connection: Connection,
    mut watched: oneshot::Receiver<()>,
) {
    loop {
        let changed = connection.changed();
        let review = |target: Arc<Target>| target.review(id);
        let Some(next) = target.upgrade().and_then(review) else {
            return;
        };
        tokio::select! {
            () = changed => {}
            () = tokio::time::sleep_until(next) => {}
            _ = &mut watched => return,
        }
    }
}

/// Lets a connection's channels come to their end; at the deadline it is
/// closed on them.
pub(super) async fn drain(connection: Connection, within: Option<Duration>) {
    connection.drain();
    let Some(within) = within else {
        return; // it closes with its last channel
    };
    if tokio::time::timeout(within, connection.ended())
        .await
        .is_err()
    {
        connection.close("the deadline of the drain is over");
    }
}

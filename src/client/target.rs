//! A target and those who wait for a channel to it.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::dial::{Dial, Dialling};
use super::error::ConnectError;
use super::hold::{LOOKS, PATIENCE, WAITING};
use super::pool::{Key, Settings};
use super::queue::Place;
use super::state::State;
use super::stats::TargetStats;
use crate::driver::{Channel, Connection};

pub(super) struct Target {
    settings: Arc<Settings>,
    state: Mutex<State>,
    /// Places of callers who wait for a connection that is through.
    places: Semaphore,
    /// There are too few of them.
    crowded: Notify,
    /// Dials, watchers and drains: they end with the target.
    tasks: Mutex<JoinSet<()>>,
}

impl Target {
    pub fn new(settings: Arc<Settings>, dialler: Box<dyn Dial>) -> Arc<Self> {
        Arc::new_cyclic(|target| Target {
            state: Mutex::new(State::new(target.clone(), settings.clone(), dialler)),
            settings,
            places: Semaphore::new(WAITING),
            crowded: Notify::new(),
            tasks: Mutex::new(JoinSet::new()),
        })
    }

    /// Runs `change` under the lock, and wakes and spawns what it asks for
    /// without it: a runtime that shuts down drops a task at once, and the task
    /// locks.
    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let value = change(&mut state);
        let (new, woken) = (std::mem::take(&mut state.tasks), state.queue.take_woken());
        drop(state);
        woken.into_iter().for_each(Waker::wake);
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
        let within = self.settings.pool.open_timeout;
        let wait = async {
            self.hold().await;
            poll_fn(|cx| waiter.look(cx.waker())).await
        };
        match tokio::time::timeout(within, wait).await {
            Ok(result) => result,
            Err(_) => Err(ConnectError::timeout(
                within,
                self.with(|state| state.error()),
            )),
        }
    }

    /// Waits while every connection has its share, though not long, nor where many
    /// do: those who come after them would be served before.
    async fn hold(&self) {
        let pause = || self.with(|state| state.pause(Instant::now()));
        let Some(each) = pause() else { return };
        let Ok(_place) = self.places.try_acquire() else {
            return self.crowded.notify_waiters();
        };
        let most = self.settings.pool.open_timeout / 2;
        let until = Instant::now() + most.min(each * LOOKS * PATIENCE);
        let mut crowded = pin!(self.crowded.notified());
        loop {
            let next = until.min(Instant::now() + each);
            let over = tokio::time::timeout_at(next, crowded.as_mut()).await;
            if over.is_ok() || Instant::now() >= until || pause().is_none() {
                return;
            }
        }
    }

    pub fn dial(&self) -> Dialling {
        self.with(|state| state.dialler.dial())
    }

    pub fn dialled(&self, result: Result<Connection, ConnectError>) {
        self.with(|state| state.dialled(result, Instant::now()));
    }

    fn drained(&self, id: u64) {
        self.with(|state| state.draining.remove(&id));
    }

    fn review(&self, id: u64) -> Option<Instant> {
        self.with(|state| state.review(id, Instant::now()))
    }

    pub fn is_empty(&self) -> bool {
        self.with(|state| state.is_empty(Instant::now()))
    }

    pub fn stats(&self, (scheme, authority): Key) -> TargetStats {
        self.with(|state| TargetStats {
            scheme,
            authority,
            connections: state.slots.iter().map(|slot| slot.stats()).collect(),
            draining: state.draining.values().map(Connection::stats).collect(),
            dialling: state.dialling,
            waiting: state.queue.len() + WAITING - self.places.available_permits(),
            dials: state.dials,
            failed: state.failed,
        })
    }
}

/// A caller.
struct Waiter<'a> {
    target: &'a Target,
    place: Option<Place>,
    /// The verdicts by which every dial that it waited for has failed.
    patience: Option<u64>,
}

impl<'a> Waiter<'a> {
    fn new(target: &'a Target) -> Self {
        Waiter {
            target,
            place: None,
            patience: None,
        }
    }

    /// A channel, or why there is none; or else the waker is kept.
    fn look(&mut self, waker: &Waker) -> Poll<Result<Channel, ConnectError>> {
        let target = self.target;
        target.with(|state| {
            let now = Instant::now();
            if let Some(channel) = state.open(self.place.is_some(), now) {
                return Poll::Ready(Ok(channel));
            }
            if let Some(patience) = self.patience
                && state.verdicts >= patience
                && let Some(error) = state.error()
            {
                return Poll::Ready(Err(error));
            }
            let waiting = state.queue.len();
            if self.place.is_none() && waiting >= target.settings.pool.max_waiting {
                return Poll::Ready(Err(ConnectError::full(waiting)));
            }
            state.ask(now);
            let place = *self.place.get_or_insert_with(|| state.queue.enter());
            if self.patience.is_none() && state.dialling > 0 {
                self.patience = Some(state.verdicts + state.dialling as u64);
            }
            state.queue.sleep(place, waker);
            Poll::Pending
        })
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.target.with(|state| state.leave(place, Instant::now()));
        }
    }
}

/// Lets those who wait look again, at this time.
pub(super) async fn wake(target: Weak<Target>, at: Instant) {
    tokio::time::sleep_until(at).await;
    if let Some(target) = target.upgrade() {
        target.with(|state| state.queue.wake(usize::MAX));
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
pub(super) async fn drain(
    target: Weak<Target>,
    id: u64,
    connection: Connection,
    within: Option<Duration>,
) {
    connection.drain();
    let within = within.unwrap_or(Duration::MAX);
    let over = tokio::time::timeout(within, connection.ended()).await;
    if over.is_err() {
        connection.close("the deadline of the drain is over");
    }
    if let Some(target) = target.upgrade() {
        target.drained(id);
    }
}

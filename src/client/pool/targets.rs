//! The targets of a connector, and the tasks that look at them when it is time.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use http::Uri;
use tokio::runtime::{Handle, Id};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::dial::Dial;
use super::target::{Keepers, Key, Target};
use crate::client::settings::Settings;
use crate::client::stats::TargetStats;
use crate::driver::Connection;

/// Targets that a keeper looks at before it yields, so that many of them do not hold the
/// runtime's thread.
const AT_ONCE: usize = 32;

pub(in crate::client) struct Targets {
    pub settings: Arc<Settings>,
    map: Mutex<Map>,
    schedule: Mutex<Schedule>,
    /// A target is to be looked at sooner.
    changed: Arc<Notify>,
}

#[derive(Default)]
struct Map {
    targets: HashMap<Key, Arc<Target>>,
    next_id: u64,
}

#[derive(Default)]
struct Schedule {
    queue: BTreeMap<(Instant, u64), Weak<Target>>,
    /// The runtimes that have a keeper.
    keepers: Vec<Id>,
}

/// What a keeper does next.
enum Next {
    /// It yields, then there is more.
    More,
    At(Option<Instant>),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Targets {
    pub fn new(settings: Settings) -> Arc<Self> {
        Arc::new(Targets {
            settings: Arc::new(settings),
            map: Mutex::default(),
            schedule: Mutex::default(),
            changed: Arc::default(),
        })
    }

    pub fn target(
        self: &Arc<Self>,
        uri: &Uri,
        dialler: impl FnOnce() -> Box<dyn Dial>,
    ) -> Arc<Target> {
        let key = (uri.scheme().cloned(), uri.authority().cloned());
        let there = lock(&self.map).targets.get(&key).cloned();
        there.unwrap_or_else(|| self.insert(key, dialler()))
    }

    /// The new target, unless another caller has just inserted it. `dialler` is made and
    /// dropped without the lock, since the connector may run anything then.
    fn insert(self: &Arc<Self>, key: Key, dialler: Box<dyn Dial>) -> Arc<Target> {
        let mut map = lock(&self.map);
        if let Some(target) = map.targets.get(&key) {
            return target.clone();
        }
        map.next_id += 1;
        let (id, targets) = (map.next_id, Arc::downgrade(self) as Weak<dyn Keepers>);
        let target = Target::new(id, key.clone(), self.settings.clone(), targets, dialler);
        map.targets.insert(key, target.clone());
        drop(map);
        // Also if the caller goes away before it has asked for anything.
        target.look_at(Instant::now() + self.settings.pool.idle_timeout);
        target
    }

    /// Looks at each target without holding up the others.
    pub fn stats(&self) -> Vec<TargetStats> {
        let targets: Vec<Arc<Target>> = lock(&self.map).targets.values().cloned().collect();
        targets.iter().map(|target| target.stats()).collect()
    }

    /// The target that the URI has, if there was a call for it.
    pub fn find(&self, uri: &Uri) -> Option<Arc<Target>> {
        let key = (uri.scheme().cloned(), uri.authority().cloned());
        lock(&self.map).targets.get(&key).cloned()
    }

    /// Of the target that the URI has.
    pub fn stats_of(&self, uri: &Uri) -> Option<TargetStats> {
        self.find(uri).map(|target| target.stats())
    }

    /// All connections of the target that the URI has.
    pub fn connections(&self, uri: &Uri) -> Vec<Connection> {
        let target = self.find(uri);
        target.map_or_else(Vec::new, |target| target.connections())
    }

    /// Looks at the targets for which it is time.
    fn keep(&self) -> Next {
        for _ in 0..AT_ONCE {
            let mut schedule = lock(&self.schedule);
            let Some(entry) = schedule.queue.first_entry() else {
                return Next::At(None);
            };
            let (at, _) = *entry.key();
            if at > Instant::now() {
                return Next::At(Some(at));
            }
            let target = entry.remove();
            drop(schedule);
            if let Some(target) = target.upgrade()
                && target.keep(at)
            {
                self.forget(target);
            }
        }
        Next::More
    }

    /// Forgets a target that is over, unless a caller has just come.
    fn forget(&self, target: Arc<Target>) {
        let mut map = lock(&self.map);
        // The map's and this one: a caller gets its own under the map's lock.
        let alone = Arc::strong_count(&target) == 2 && target.is_over();
        let forgotten = alone.then(|| map.targets.remove(&target.key));
        drop(map);
        if forgotten.is_none() {
            target.look_at(Instant::now() + self.settings.pool.idle_timeout);
        }
    }
}

impl Keepers for Targets {
    /// Has a keeper run on this runtime. Each runtime with callers has one, so that what
    /// is due for them is done though other runtimes end or are not run.
    fn keep_here(self: Arc<Self>) {
        let runtime = self.settings.runtime.clone();
        let runtime = runtime.unwrap_or_else(Handle::current);
        let mut schedule = lock(&self.schedule);
        if schedule.keepers.contains(&runtime.id()) {
            return;
        }
        schedule.keepers.push(runtime.id());
        drop(schedule);
        let keeper = Keeper {
            targets: Arc::downgrade(&self),
            runtime: runtime.id(),
        };
        runtime.spawn(keeper.run(self.changed.clone()));
    }

    /// Has a target looked at at this time, instead of another.
    fn schedule(&self, target: &Arc<Target>, before: Option<Instant>, at: Instant) {
        let mut schedule = lock(&self.schedule);
        if let Some(before) = before {
            schedule.queue.remove(&(before, target.id));
        }
        let weak = Arc::downgrade(target);
        schedule.queue.insert((at, target.id), weak);
        let first = schedule.queue.first_key_value();
        let sooner = first.is_some_and(|((first, _), _)| *first == at);
        drop(schedule);
        if sooner {
            self.changed.notify_waiters();
        }
    }
}

impl Drop for Targets {
    fn drop(&mut self) {
        self.changed.notify_waiters();
    }
}

/// The task that looks at the targets when it is time, on one runtime.
struct Keeper {
    targets: Weak<Targets>,
    runtime: Id,
}

impl Keeper {
    async fn run(self, changed: Arc<Notify>) {
        loop {
            let changed = changed.notified();
            let Some(next) = self.targets.upgrade().map(|targets| targets.keep()) else {
                return;
            };
            match next {
                Next::More => tokio::task::yield_now().await,
                Next::At(None) => changed.await,
                Next::At(Some(at)) => _ = timeout_at(at, changed).await,
            }
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(targets) = self.targets.upgrade() {
            let mut schedule = lock(&targets.schedule);
            schedule.keepers.retain(|runtime| *runtime != self.runtime);
        }
    }
}

//! The targets of a connector, and the task that looks at them when it is time.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use http::Uri;
use http::uri::{Authority, Scheme};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::Settings;
use super::dial::Dial;
use super::target::Target;
use crate::client::stats::TargetStats;

pub(super) type Key = (Option<Scheme>, Option<Authority>);

/// Targets that the keeper looks at before it lets others run.
const AT_ONCE: usize = 32;

pub(in crate::client) struct Targets {
    pub settings: Arc<Settings>,
    map: Mutex<Map>,
    schedule: Mutex<Schedule>,
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
    /// The keeper that runs: one that comes after it takes its place.
    keeper: Option<u64>,
    keepers: u64,
}

/// What the keeper does next.
enum Next {
    /// Others run, then there is more.
    More,
    At(Option<Instant>),
    /// Another has taken its place.
    Nothing,
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
        let mut map = lock(&self.map);
        if let Some(target) = map.targets.get(&key) {
            return target.clone();
        }
        map.next_id += 1;
        let (id, targets) = (map.next_id, Arc::downgrade(self));
        let target = Target::new(id, key.clone(), self.settings.clone(), targets, dialler());
        map.targets.insert(key, target.clone());
        target
    }

    /// Looks at each target without holding up the others.
    pub fn stats(&self) -> Vec<TargetStats> {
        let targets: Vec<Arc<Target>> = lock(&self.map).targets.values().cloned().collect();
        targets.iter().map(|target| target.stats()).collect()
    }

    /// Of the target that the URI has.
    pub fn stats_of(&self, uri: &Uri) -> Option<TargetStats> {
        let key = (uri.scheme().cloned(), uri.authority().cloned());
        let target = lock(&self.map).targets.get(&key).cloned();
        target.map(|target| target.stats())
    }

    /// Has the keeper look at a target at this time instead of another. Starts one where
    /// none runs, or the one that there is does not come to its work.
    pub(super) fn schedule(self: &Arc<Self>, target: &Arc<Target>, not: Option<Instant>, at: Instant) {
        let mut schedule = lock(&self.schedule);
        if let Some(not) = not {
            schedule.queue.remove(&(not, target.id));
        }
        schedule.queue.insert((at, target.id), Arc::downgrade(target));
        let first = schedule.queue.keys().next().map(|(at, _)| *at);
        let late = first.is_some_and(|first| Instant::now() > first + self.settings.late)
            || not.is_some_and(|not| Instant::now() > not + self.settings.late);
        let needed = schedule.keeper.is_none() || late;
        let runtime = needed.then(|| self.settings.runtime.clone().or(Handle::try_current().ok()));
        let Some(runtime) = runtime.flatten() else {
            drop(schedule);
            return self.changed.notify_one();
        };
        schedule.keepers += 1;
        let id = schedule.keepers;
        schedule.keeper = Some(id);
        drop(schedule);
        let keeper = Keeper {
            targets: Arc::downgrade(self),
            id,
        };
        runtime.spawn(keeper.run(self.changed.clone()));
    }

    /// Looks at the targets for which it is time.
    fn keep(&self, keeper: u64) -> Next {
        for _ in 0..AT_ONCE {
            let mut schedule = lock(&self.schedule);
            if schedule.keeper != Some(keeper) {
                return Next::Nothing;
            }
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
        if Arc::strong_count(&target) == 2 && target.is_over() {
            map.targets.remove(&target.key);
        }
        drop(map);
    }
}

impl Drop for Targets {
    fn drop(&mut self) {
        self.changed.notify_one();
    }
}

/// The task that looks at the targets when it is time. It is no caller's: where it ends
/// with its runtime, the next caller starts another.
struct Keeper {
    targets: Weak<Targets>,
    id: u64,
}

impl Keeper {
    async fn run(self, changed: Arc<Notify>) {
        loop {
            let Some(next) = self.targets.upgrade().map(|targets| targets.keep(self.id)) else {
                return;
            };
            match next {
                Next::More => tokio::task::yield_now().await,
                Next::Nothing => return changed.notify_one(), // it was for the other
                Next::At(None) => changed.notified().await,
                Next::At(Some(at)) => {
                    tokio::select! {
                        () = sleep_until(at) => {}
                        () = changed.notified() => {}
                    }
                }
            }
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(targets) = self.targets.upgrade() {
            let mut schedule = lock(&targets.schedule);
            if schedule.keeper == Some(self.id) {
                schedule.keeper = None;
            }
        }
    }
}

//! The targets of a connector.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Uri;
use http::uri::{Authority, Scheme};

use super::config::PoolConfig;
use super::dial::Dial;
use super::stats::TargetStats;
use super::target::Target;

/// What all targets of a connector share.
pub(super) struct Settings {
    pub pool: PoolConfig,
    /// How late a first answer may be.
    pub late: Duration,
}

pub(super) type Key = (Option<Scheme>, Option<Authority>);

#[derive(Default)]
pub(super) struct Pool {
    targets: Mutex<Targets>,
}

#[derive(Default)]
struct Targets {
    map: HashMap<Key, Arc<Target>>,
    /// How many there may be before those that are over are looked for.
    sweep_at: usize,
}

impl Pool {
    pub fn target(
        &self,
        uri: &Uri,
        settings: &Arc<Settings>,
        dialler: impl FnOnce() -> Box<dyn Dial>,
    ) -> Arc<Target> {
        let key = (uri.scheme().cloned(), uri.authority().cloned());
        let mut targets = self.lock();
        if let Some(target) = targets.map.get(&key) {
            return target.clone();
        }
        targets.sweep();
        let target = Target::new(settings.clone(), dialler());
        targets.map.insert(key, target.clone());
        target
    }

    pub fn stats(&self) -> Vec<TargetStats> {
        let targets = self.lock();
        let stats = |(key, target): (&Key, &Arc<Target>)| target.stats(key.clone());
        targets.map.iter().map(stats).collect()
    }

    /// Of the target that the URI has.
    #[cfg(feature = "requests")]
    pub fn stats_of(&self, uri: &Uri) -> Option<TargetStats> {
        let key = (uri.scheme().cloned(), uri.authority().cloned());
        let targets = self.lock();
        targets
            .map
            .get(&key)
            .map(|target| target.stats(key.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, Targets> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Targets {
    /// Forgets targets that have nothing and that nobody asks for, each time
    /// their number has doubled.
    fn sweep(&mut self) {
        if self.map.len() >= self.sweep_at {
            self.map
                .retain(|_, target| Arc::strong_count(target) > 1 || !target.is_empty());
            self.sweep_at = (2 * self.map.len()).max(16);
        }
    }
}

//! Which of several targets is next.
//!
//! The one with the least to carry; if several have as little, each one after the other. One
//! that can't be reached, or is full, goes to the end of the list until it can, which a
//! task tries; so clients pay for it once.

mod link;
mod way;

use std::error::Error;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tcpchan::client::TargetStats;
use tokio::task::JoinSet;
use tracing::{info, warn};

pub use self::link::{Link, PATIENCE as LINK_PATIENCE};
pub use self::way::{Unreached, Way};
use crate::label::Label;

/// The mean wait between tries of a target that could not be reached: half of that to one and
/// a half by chance, so that many commands do not try at once.
const AGAIN: Duration = Duration::from_secs(2);

pub struct Target<W> {
    pub name: String,
    pub way: W,
    service: Label,
    live: AtomicUsize,
    state: AtomicU8,
}

/// What is known of a target, in the order in which they are tried.
const UP: u8 = 0;
const FULL: u8 = 1;
const DOWN: u8 = 2;

/// What a target shows to those who look at the process.
pub struct TargetView {
    pub name: String,
    /// `up`, `full` or `down`.
    pub state: &'static str,
    /// What it carries.
    pub live: usize,
    /// Its connections, if they are tcpchan's.
    pub link: Option<TargetStats>,
}

pub struct Targets<W> {
    targets: Vec<Arc<Target<W>>>,
    turn: AtomicUsize,
    /// For each target the task that tries it again, if one does.
    revivals: Vec<Mutex<JoinSet<()>>>,
}

/// Something that a target carries.
pub struct Load<W>(Arc<Target<W>>);

impl<W> Load<W> {
    pub fn way(&self) -> &W {
        &self.0.way
    }

    pub fn name(&self) -> &str {
        &self.0.name
    }
}

impl<W> Drop for Load<W> {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Relaxed);
    }
}

impl<W: Way> Targets<W> {
    pub fn new(targets: impl IntoIterator<Item = Arc<Target<W>>>) -> Self {
        let targets: Vec<_> = targets.into_iter().collect();
        Targets {
            revivals: targets.iter().map(|_| Mutex::default()).collect(),
            targets,
            turn: AtomicUsize::new(0),
        }
    }

    /// The target with this name, for others that take its place.
    pub fn get(&self, name: &str) -> Option<Arc<Target<W>>> {
        let found = self.targets.iter().find(|target| target.name == name);
        found.cloned()
    }

    /// Tries those again that are not up. Others may have found so: after a reload the
    /// targets are those of two plans for a while.
    pub fn resume(&self) {
        for (target, revival) in self.targets.iter().zip(&self.revivals) {
            if target.state.load(Relaxed) != UP && self.targets.len() > 1 {
                revive(target, revival);
            }
        }
    }

    /// Reaches the best of the targets that can be reached.
    pub async fn reach(&self) -> Result<(W::Io, Load<W>), String> {
        self.resume();
        let mut errors = Vec::new();
        for target in self.order() {
            target.live.fetch_add(1, Relaxed);
            let load = Load(target);
            let careful = self.targets.len() > 1 || load.0.state.load(Relaxed) == DOWN;
            match load.0.way.reach(careful).await {
                Ok(io) => {
                    load.0.is_up();
                    return Ok((io, load));
                }
                Err(error) => {
                    errors.push(format!("{}: {error}", load.0.name));
                    self.is_not_up(&load.0, &error);
                }
            }
        }
        Err(errors.join("; "))
    }

    /// The first that can be reached now.
    pub async fn reachable(&self) -> Result<String, String> {
        let mut errors = Vec::new();
        for target in self.order() {
            match target.way.probe().await {
                Ok(()) => {
                    target.is_reachable();
                    return Ok(target.name.clone());
                }
                Err(error) => {
                    errors.push(format!("{}: {error}", target.name));
                    self.is_not_up(&target, &error);
                }
            }
        }
        Err(errors.join("; "))
    }

    /// What was reached is of no use.
    pub fn lost(&self, load: &Load<W>, error: &(dyn Error + 'static)) {
        let is_same = |target| Arc::ptr_eq(target, &load.0);
        if self.targets.iter().any(is_same) {
            self.is_not_up(&load.0, &Unreached::because(error));
        }
    }

    fn order(&self) -> Vec<Arc<Target<W>>> {
        let mut order = self.targets.clone();
        if order.len() > 1 {
            let turn = self.turn.fetch_add(1, Relaxed) % order.len();
            order.rotate_left(turn);
            order.sort_by_cached_key(|target| {
                (target.state.load(Relaxed), target.live.load(Relaxed))
            });
        }
        order
    }

    fn is_not_up(&self, target: &Arc<Target<W>>, error: &Unreached) {
        let state = match error {
            Unreached::Down(_) => DOWN,
            Unreached::Full(_) => FULL,
            Unreached::Own(_) => return,
        };
        let before = target.state.swap(state, Relaxed);
        if before != state {
            let (service, error) = (target.service.field(), error.to_string());
            match state {
                DOWN => warn!(service, target = target.name, error, "the target is down"),
                _ => warn!(service, target = target.name, error, "the target is full"),
            }
        }
        self.resume();
    }

    pub fn iter(&self) -> impl Iterator<Item = &Target<W>> {
        self.targets.iter().map(AsRef::as_ref)
    }

    pub fn views(&self) -> Vec<TargetView> {
        self.iter().map(Target::view).collect()
    }
}

/// Has a task try the target again until it is up, unless one does.
fn revive<W: Way>(target: &Arc<Target<W>>, revival: &Mutex<JoinSet<()>>) {
    let mut revival = revival.lock().unwrap_or_else(PoisonError::into_inner);
    while revival.try_join_next().is_some() {}
    if !revival.is_empty() {
        return;
    }
    let target = target.clone();
    revival.spawn(async move {
        while target.state.load(Relaxed) != UP {
            tokio::time::sleep(AGAIN.mul_f64(0.5 + fastrand::f64())).await;
            if target.way.reach(true).await.is_ok() {
                target.is_up();
            }
        }
    });
}

impl<W: Way> Target<W> {
    pub fn new(service: Label, name: &str, way: W) -> Arc<Self> {
        Arc::new(Target {
            name: name.to_owned(),
            way,
            service,
            live: AtomicUsize::new(0),
            state: AtomicU8::new(UP),
        })
    }

    /// It could be reached, which does not say that it takes streams.
    fn is_reachable(&self) {
        let state = &self.state;
        if let Ok(before) = state.compare_exchange(DOWN, UP, Relaxed, Relaxed) {
            self.tell_up(before);
        }
    }

    fn is_up(&self) {
        self.tell_up(self.state.swap(UP, Relaxed));
    }

    fn tell_up(&self, before: u8) {
        let (service, target) = (self.service.field(), &self.name);
        match before {
            DOWN => info!(service, target, "the target is up again"),
            FULL => info!(service, target, "the target takes streams again"),
            _ => {}
        }
    }

    fn view(&self) -> TargetView {
        TargetView {
            name: self.name.clone(),
            state: match self.state.load(Relaxed) {
                UP => "up",
                FULL => "full",
                _ => "down",
            },
            live: self.live.load(Relaxed),
            link: self.way.stats(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It can be reached, and takes no more.
    struct IsFull;

    impl Way for IsFull {
        type Io = ();

        async fn reach(&self, _: bool) -> Result<(), Unreached> {
            Err(Unreached::Full("it takes no more".to_owned()))
        }

        async fn probe(&self) -> Result<(), Unreached> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_full_target_that_can_be_reached_stays_full() {
        let target = Target::new(Label::new("a"), "a", IsFull);
        let targets = Targets::new([target]);
        assert!(targets.reach().await.is_err());
        assert!(targets.reachable().await.is_ok());
        assert_eq!(targets.views()[0].state, "full");
    }
}

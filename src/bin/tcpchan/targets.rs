//! Which of several targets is next.
//!
//! The one with the least to carry; if several have as little, each one after the other. One
//! that can't be reached goes to the end of the list until it can, which a
//! task tries; so clients pay for it once.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;

/// The mean wait between tries of a target that could not be reached: half of that to one and
/// a half by chance, so that many commands do not try at once.
const AGAIN: Duration = Duration::from_secs(2);

/// A way to a target. Errors are lines for people.
pub trait Way: Send + Sync + 'static {
    type Io: Send + 'static;

    /// With `careful`, not before there is a sign of life.
    fn reach(&self, careful: bool) -> impl Future<Output = Result<Self::Io, String>> + Send;
}

pub struct Target<W> {
    pub name: String,
    pub way: W,
    live: AtomicUsize,
    down: AtomicBool,
}

pub struct Targets<W> {
    targets: Vec<Arc<Target<W>>>,
    turn: AtomicUsize,
    revivals: Mutex<JoinSet<()>>,
}

/// Something that a target carries.
pub struct Load<W>(Arc<Target<W>>);

impl<W> Load<W> {
    pub fn way(&self) -> &W {
        &self.0.way
    }
}

impl<W> Drop for Load<W> {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Relaxed);
    }
}

impl<W: Way> Targets<W> {
    pub fn new(ways: impl IntoIterator<Item = (String, W)>) -> Self {
        let target = |(name, way)| {
            Arc::new(Target {
                name,
                way,
                live: AtomicUsize::new(0),
                down: AtomicBool::new(false),
            })
        };
        Targets {
            targets: ways.into_iter().map(target).collect(),
            turn: AtomicUsize::new(0),
            revivals: Mutex::default(),
        }
    }

    /// Reaches the best of the targets that can be reached.
    pub async fn reach(&self) -> Result<(W::Io, Load<W>), String> {
        let mut errors = Vec::new();
        for target in self.order() {
            target.live.fetch_add(1, Relaxed);
            let load = Load(target);
            let careful = self.targets.len() > 1 || load.0.down.load(Relaxed);
            match load.0.way.reach(careful).await {
                Ok(io) => {
                    load.0.is_up();
                    return Ok((io, load));
                }
                Err(error) => {
                    self.is_down(&load.0, &error);
                    errors.push(error);
                }
            }
        }
        Err(errors.join("; "))
    }

    /// What was reached is of no use.
    pub fn lost(&self, load: &Load<W>, error: &str) {
        self.is_down(&load.0, error);
    }

    fn order(&self) -> Vec<Arc<Target<W>>> {
        let mut order = self.targets.clone();
        if order.len() > 1 {
            let turn = self.turn.fetch_add(1, Relaxed) % order.len();
            order.rotate_left(turn);
            order.sort_by_cached_key(|target| {
                (target.down.load(Relaxed), target.live.load(Relaxed))
            });
        }
        order
    }

    fn is_down(&self, target: &Arc<Target<W>>, error: &str) {
        if !target.down.swap(true, Relaxed) {
            eprintln!("tcpchan: {} is down: {error}", target.name);
            if self.targets.len() > 1 {
                self.revive(target.clone());
            }
        }
    }

    fn revive(&self, target: Arc<Target<W>>) {
        let mut revivals = self.revivals.lock().unwrap_or_else(PoisonError::into_inner);
        while revivals.try_join_next().is_some() {}
        revivals.spawn(async move {
            while target.down.load(Relaxed) {
                tokio::time::sleep(AGAIN.mul_f64(0.5 + fastrand::f64())).await;
                if target.way.reach(true).await.is_ok() {
                    target.is_up();
                }
            }
        });
    }

    pub fn iter(&self) -> impl Iterator<Item = &Target<W>> {
        self.targets.iter().map(AsRef::as_ref)
    }
}

impl<W: Way> Target<W> {
    fn is_up(&self) {
        if self.down.swap(false, Relaxed) {
            eprintln!("tcpchan: {} is up again", self.name);
        }
    }

    /// For `--stats`.
    pub fn line(&self) -> String {
        let state = match self.down.load(Relaxed) {
            true => "down",
            false => "up",
        };
        let live = self.live.load(Relaxed);
        format!("target={} state={state} live={live}", self.name)
    }
}

//! Which of several targets is next.
//!
//! The one with the least to carry; if several have as little, each one after the other. One
//! that can't be reached, or is full, goes to the end of the list until it can, which a
//! task tries; so clients pay for it once.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::failure::{self, in_a_line};

/// The mean wait between tries of a target that could not be reached: half of that to one and
/// a half by chance, so that many commands do not try at once.
const AGAIN: Duration = Duration::from_secs(2);

/// Why a target was not reached, in a line for people.
#[derive(Clone, Debug)]
pub enum Unreached {
    Down(String),
    /// It carries as much as it takes.
    Full(String),
    /// This process is out of something, such as file descriptors: no fault of the target.
    Own(String),
}

impl Unreached {
    /// By the sources of the error, if it is one of this process.
    pub fn because(error: &(dyn Error + 'static)) -> Self {
        match failure::is_own(error) {
            true => Unreached::Own(in_a_line(error)),
            false => Unreached::Down(in_a_line(error)),
        }
    }
}

impl fmt::Display for Unreached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Unreached::Down(text) | Unreached::Full(text) | Unreached::Own(text)) = self;
        f.write_str(text)
    }
}

/// A way to a target.
pub trait Way: Send + Sync + 'static {
    type Io: Send + 'static;

    /// With `careful`, not before there is a sign of life.
    fn reach(&self, careful: bool) -> impl Future<Output = Result<Self::Io, Unreached>> + Send;
}

pub struct Target<W> {
    pub name: String,
    pub way: W,
    live: AtomicUsize,
    state: AtomicU8,
}

/// What is known of a target, in the order in which they are tried.
const UP: u8 = 0;
const FULL: u8 = 1;
const DOWN: u8 = 2;

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
    pub fn new(ways: impl IntoIterator<Item = (String, W)>) -> Self {
        let target = |(name, way)| {
            Arc::new(Target {
                name,
                way,
                live: AtomicUsize::new(0),
                state: AtomicU8::new(UP),
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

    /// What was reached is of no use.
    pub fn lost(&self, load: &Load<W>, error: &(dyn Error + 'static)) {
        self.is_not_up(&load.0, &Unreached::because(error));
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
        let (state, word) = match error {
            Unreached::Down(_) => (DOWN, "down"),
            Unreached::Full(_) => (FULL, "full"),
            Unreached::Own(_) => return,
        };
        let before = target.state.swap(state, Relaxed);
        if before != state {
            eprintln!("tcpchan: {} is {word}: {error}", target.name);
        }
        if before == UP && self.targets.len() > 1 {
            self.revive(target.clone());
        }
    }

    fn revive(&self, target: Arc<Target<W>>) {
        let mut revivals = self.revivals.lock().unwrap_or_else(PoisonError::into_inner);
        while revivals.try_join_next().is_some() {}
        revivals.spawn(async move {
            while target.state.load(Relaxed) != UP {
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
        match self.state.swap(UP, Relaxed) {
            DOWN => eprintln!("tcpchan: {} is up again", self.name),
            FULL => eprintln!("tcpchan: {} takes streams again", self.name),
            _ => {}
        }
    }

    /// For `--stats`.
    pub fn line(&self) -> String {
        let state = match self.state.load(Relaxed) {
            UP => "up",
            FULL => "full",
            _ => "down",
        };
        let live = self.live.load(Relaxed);
        format!("target={} state={state} live={live}", self.name)
    }
}

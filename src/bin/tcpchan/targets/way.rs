//! A way to a target, and why it fails.

use std::error::Error;
use std::fmt;
use std::future::Future;

use tcpchan::client::TargetStats;

use crate::explain::{explain, is_own};

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
        match is_own(error) {
            true => Unreached::Own(explain(error)),
            false => Unreached::Down(explain(error)),
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

    /// Whether it can be reached now. Nothing is carried.
    fn probe(&self) -> impl Future<Output = Result<(), Unreached>> + Send;

    /// The connections that it keeps, if they are tcpchan's.
    fn stats(&self) -> Option<TargetStats> {
        None
    }
}

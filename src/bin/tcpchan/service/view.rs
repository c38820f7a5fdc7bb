//! What the services of a process show, while they run, to those who look at them.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};

use tcpchan::ConnectionStats;

use crate::counters::Counters;
use crate::label::Label;
use crate::targets::TargetView;

/// A service that runs.
pub trait View: Send + Sync {
    /// `relay`, `serve`, `hub` or `publish`.
    fn mode(&self) -> &'static str;

    fn label(&self) -> &Label;

    fn counters(&self) -> &Counters;

    fn targets(&self) -> Vec<TargetView>;

    /// Bytes to clients, and to services.
    fn bytes(&self) -> (u64, u64);

    /// The tcpchan connections, each with its target if it was made for one.
    fn connections(&self) -> Vec<(Option<String>, ConnectionStats)>;

    /// The first target that can be reached now; or why none can.
    fn reachable(&self) -> Pin<Box<dyn Future<Output = Result<String, String>> + Send + '_>>;
}

/// A service that runs, and where.
#[derive(Clone)]
pub struct Running {
    pub view: Arc<dyn View>,
    pub listen: Vec<String>,
}

/// The services that run now, in the order of their names. Clones share it.
#[derive(Clone, Default)]
pub struct Directory(Arc<RwLock<Vec<Running>>>);

impl Directory {
    pub fn list(&self) -> Vec<Running> {
        let list = self.0.read();
        list.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set(&self, list: Vec<Running>) {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *current, list);
        drop(current);
        drop(old);
    }
}

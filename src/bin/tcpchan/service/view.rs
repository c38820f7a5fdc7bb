//! What the services of a process show, while they run, to those who look at them.

use std::sync::{Arc, PoisonError, RwLock};

use crate::counters::Counters;
use crate::label::Label;
use crate::targets::TargetView;

/// A service that runs.
pub trait View: Send + Sync {
    /// `relay` or `serve`.
    fn mode(&self) -> &'static str;

    fn label(&self) -> &Label;

    fn counters(&self) -> &Counters;

    fn targets(&self) -> Vec<TargetView>;
}

/// The services that run now, in the order of their names. Clones share it.
#[derive(Clone, Default)]
pub struct Directory(Arc<RwLock<Vec<Arc<dyn View>>>>);

impl Directory {
    pub fn list(&self) -> Vec<Arc<dyn View>> {
        let list = self.0.read();
        list.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set(&self, list: Vec<Arc<dyn View>>) {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *current, list);
        drop(current);
        drop(old);
    }
}

//! A value that is exchanged while others use it.

use std::sync::{Arc, PoisonError, RwLock};

pub struct Swap<T>(RwLock<Arc<T>>);

impl<T> Swap<T> {
    pub fn new(value: T) -> Self {
        Swap(RwLock::new(Arc::new(value)))
    }

    pub fn get(&self) -> Arc<T> {
        let value = self.0.read();
        value.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set(&self, value: T) {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *current, Arc::new(value));
        drop(current);
        drop(old);
    }
}

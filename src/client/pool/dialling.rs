//! The task of one dial.

use std::sync::{Arc, Weak};

use tokio::time::{Instant, sleep_until};

use super::dial::Dialling;
use crate::client::ConnectError;
use crate::driver::Connection;

/// What a dial tells its target.
pub(super) trait Dials {
    /// It begins now.
    fn dial_begins(self: &Arc<Self>, id: u64);

    fn dialled(self: &Arc<Self>, id: u64, result: Result<Connection, ConnectError>);

    /// It ended with its runtime.
    fn dial_lost(self: &Arc<Self>, id: u64);
}

/// Tells the target of the dial's end, however it ends.
pub(super) struct DialGuard<T: Dials> {
    target: Weak<T>,
    id: u64,
    result: Option<Result<Connection, ConnectError>>,
}

impl<T: Dials> DialGuard<T> {
    pub fn new(target: &Arc<T>, id: u64) -> Self {
        DialGuard {
            target: Arc::downgrade(target),
            id,
            result: None,
        }
    }
}

impl<T: Dials> Drop for DialGuard<T> {
    fn drop(&mut self) {
        let Some(target) = self.target.upgrade() else {
            return;
        };
        match self.result.take() {
            Some(result) => target.dialled(self.id, result),
            None if std::thread::panicking() => {
                target.dialled(self.id, Err(ConnectError::dial("the dial panicked")));
            }
            None => target.dial_lost(self.id),
        }
    }
}

/// Dials once, not before `start`.
pub(super) async fn dial<T: Dials>(mut guard: DialGuard<T>, dialling: Dialling, start: Instant) {
    if start > Instant::now() {
        sleep_until(start).await; // a millisecond at least
    }
    if let Some(target) = guard.target.upgrade() {
        target.dial_begins(guard.id);
    }
    guard.result = Some(dialling.await);
}

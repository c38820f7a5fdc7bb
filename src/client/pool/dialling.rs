//! The task of one dial.

use std::sync::{Arc, Weak};

use tokio::time::{Instant, sleep_until};

use super::dial::Dialling;
use super::target::Target;
use crate::client::ConnectError;
use crate::driver::Connection;

/// Tells the target of the dial's end, however it ends.
pub(super) struct DialGuard {
    target: Weak<Target>,
    id: u64,
    result: Option<Result<Connection, ConnectError>>,
}

impl DialGuard {
    pub fn new(target: &Arc<Target>, id: u64) -> Self {
        DialGuard {
            target: Arc::downgrade(target),
            id,
            result: None,
        }
    }
}

impl Drop for DialGuard {
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
pub(super) async fn dial(mut guard: DialGuard, dialling: Dialling, start: Instant) {
    if start > Instant::now() {
        sleep_until(start).await; // a millisecond at least
    }
    if let Some(target) = guard.target.upgrade() {
        target.dial_begins(guard.id);
    }
    guard.result = Some(dialling.await);
}

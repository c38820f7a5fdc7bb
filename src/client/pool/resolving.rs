//! The task that resolves a target's name once.

use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::timeout;

use crate::client::ConnectError;
use crate::client::discovery::Resolving;

/// What a resolver tells its target.
pub(super) trait Resolves {
    fn resolved(self: &Arc<Self>, result: Result<Vec<SocketAddr>, ConnectError>);

    /// Its task ended with its runtime.
    fn resolution_lost(self: &Arc<Self>);
}

/// Tells the target of the end, however it comes.
pub(super) struct ResolveGuard<T: Resolves> {
    target: Weak<T>,
    result: Option<Result<Vec<SocketAddr>, ConnectError>>,
}

impl<T: Resolves> ResolveGuard<T> {
    pub fn new(target: &Arc<T>) -> Self {
        let target = Arc::downgrade(target);
        ResolveGuard {
            target,
            result: None,
        }
    }
}

impl<T: Resolves> Drop for ResolveGuard<T> {
    fn drop(&mut self) {
        let Some(target) = self.target.upgrade() else {
            return;
        };
        match self.result.take() {
            Some(result) => target.resolved(result),
            None if std::thread::panicking() => {
                target.resolved(Err(ConnectError::resolve("the resolver panicked")));
            }
            None => target.resolution_lost(),
        }
    }
}

pub(super) async fn resolve<T: Resolves>(
    mut guard: ResolveGuard<T>,
    resolving: Resolving,
    within: Duration,
) {
    guard.result = Some(match timeout(within, resolving).await {
        Ok(result) => result.map_err(ConnectError::resolve),
        Err(_) => Err(ConnectError::unresolved_within(within)),
    });
}

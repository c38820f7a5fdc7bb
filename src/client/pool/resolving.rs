//! The task that resolves a target's name once.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::timeout;

use crate::client::ConnectError;
use crate::client::discovery::Resolving;

/// What a resolver tells its target.
pub(super) trait Resolves {
    fn resolved(self: &Arc<Self>, question: u64, result: Result<Vec<SocketAddr>, ConnectError>);

    /// Its task runs.
    fn resolution_runs(self: &Arc<Self>, question: u64);

    /// Its task ended with its runtime.
    fn resolution_lost(self: &Arc<Self>, question: u64);
}

/// Tells the target of the end, however it comes.
pub(super) struct ResolveGuard<T: Resolves> {
    target: Weak<T>,
    question: u64,
    result: Option<Result<Vec<SocketAddr>, ConnectError>>,
}

impl<T: Resolves> ResolveGuard<T> {
    pub fn new(target: &Arc<T>, question: u64) -> Self {
        let target = Arc::downgrade(target);
        ResolveGuard {
            target,
            question,
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
            Some(result) => target.resolved(self.question, result),
            None if std::thread::panicking() => {
                let error = ConnectError::resolve("the resolver panicked");
                target.resolved(self.question, Err(error));
            }
            None => target.resolution_lost(self.question),
        }
    }
}

/// Tells each time after `tells` that the task runs: its runtime may be no longer run.
pub(super) async fn resolve<T: Resolves>(
    mut guard: ResolveGuard<T>,
    resolving: Resolving,
    within: Duration,
    tells: Duration,
) {
    let mut resolving = pin!(timeout(within, resolving));
    let result = loop {
        match timeout(tells, &mut resolving).await {
            Ok(result) => break result,
            Err(_) => match guard.target.upgrade() {
                Some(target) => target.resolution_runs(guard.question),
                None => return,
            },
        }
    };
    guard.result = Some(match result {
        Ok(result) => result.map_err(ConnectError::resolve),
        Err(_) => Err(ConnectError::unresolved_within(within)),
    });
}

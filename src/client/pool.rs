//! The connection of each target, and the one dial that its callers share.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use http::Uri;
use http::uri::{Authority, Scheme};
use tokio::sync::watch;

use super::ConnectError;
use crate::driver::Connection;

type Outcome = Option<Result<Connection, ConnectError>>;
pub(super) type Slot = watch::Receiver<Outcome>;
type Key = (Option<Scheme>, Option<Authority>);

#[derive(Clone, Debug, Default)]
pub(super) struct Pool {
    slots: Arc<Mutex<HashMap<Key, Slot>>>,
}

impl Pool {
    /// The target's slot, from a dial that is made by a task of its own so
    /// that no caller takes it away from the others.
    pub fn slot<F>(&self, uri: &Uri, dial: impl FnOnce() -> F) -> Slot
    where
        F: Future<Output = Result<Connection, ConnectError>> + Send + 'static,
    {
        let key = (uri.scheme().cloned(), uri.authority().cloned());
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(&key)
            && is_useful(slot)
        {
            return slot.clone();
        }
        let (sender, receiver) = watch::channel(None);
        let future = dial();
        tokio::spawn(async move { sender.send_replace(Some(future.await)) });
        slots.insert(key, receiver.clone());
        receiver
    }
}

/// Waits for the dial. Cancel safe.
pub(super) async fn connection(mut slot: Slot) -> Result<Connection, ConnectError> {
    let ended = || ConnectError::new("the dial was dropped with its runtime".into());
    let outcome = slot.wait_for(Option::is_some).await.map_err(|_| ended())?;
    outcome.clone().unwrap_or_else(|| Err(ended()))
}

/// Whether a slot has a connection that takes channels, or will have one.
fn is_useful(slot: &Slot) -> bool {
    match &*slot.borrow() {
        None => slot.has_changed().is_ok(),
        Some(Ok(connection)) => connection.is_open(),
        Some(Err(_)) => false,
    }
}

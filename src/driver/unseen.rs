//! Whether the application has seen anything of a channel.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

/// Set on channels of an acceptor until their first byte is read or written.
/// The token says so to whoever waits for that.
#[derive(Debug, Default)]
pub(super) struct Unseen {
    is: AtomicBool,
    token: Mutex<Option<watch::Receiver<()>>>,
}

impl Unseen {
    #[cfg(feature = "server")]
    pub fn set(&self, token: watch::Receiver<()>) {
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token);
        self.is.store(true, Relaxed);
    }

    pub fn is(&self) -> bool {
        self.is.load(Relaxed)
    }

    pub fn seen(&self) {
        if self.is() && self.is.swap(false, Relaxed) {
            let mut token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
            drop(token.take());
        }
    }
}

//! Whether the application has begun with a channel.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

const BEGUN: u8 = 0;
/// On a channel of an acceptor.
const UNSEEN: u8 = 1;
/// On a channel that this side opened.
const FRESH: u8 = 2;

/// Until the first byte is read or written.
#[derive(Debug, Default)]
pub(super) struct Unseen {
    is: AtomicU8,
    /// Says so to whoever waits for that.
    token: Mutex<Option<watch::Receiver<()>>>,
}

impl Unseen {
    pub fn fresh() -> Self {
        Unseen {
            is: AtomicU8::new(FRESH),
            token: Mutex::default(),
        }
    }

    #[cfg(feature = "server")]
    pub fn set(&self, token: watch::Receiver<()>) {
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token);
        self.is.store(UNSEEN, Relaxed);
    }

    /// Whether it is a channel of an acceptor, not begun with.
    pub fn is(&self) -> bool {
        self.is.load(Relaxed) == UNSEEN
    }

    /// Whether it is a channel of this side's, not begun with.
    #[cfg(feature = "hyper")]
    pub fn is_fresh(&self) -> bool {
        self.is.load(Relaxed) == FRESH
    }

    pub fn seen(&self) {
        if self.is.load(Relaxed) != BEGUN && self.is.swap(BEGUN, Relaxed) == UNSEEN {
            let mut token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
            drop(token.take());
        }
    }
}

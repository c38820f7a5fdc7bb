//! Channels that the application has accepted and not begun with. An acceptor's drain
//! waits for them, and one that is dropped is refused.

use tokio::sync::watch;

use super::shared::Inner;
use crate::proto::Key;

/// Tells whoever made it until when it is held.
pub(super) type Token = watch::Receiver<()>;

#[cfg(feature = "server")]
impl Inner {
    /// Holds a token until the application has begun with each channel that it has
    /// accepted, of which one is new.
    pub fn hold_unseen(&mut self, token: impl FnOnce() -> Token) {
        self.unseen.get_or_insert_with(token);
    }

    /// Whether dropping the channel is to refuse it.
    pub fn is_refusable(&self, key: Key) -> bool {
        self.unseen.is_some() && self.core.is_unseen(key)
    }

    /// After the application did something with a channel: a token that is held no
    /// more. The caller drops it without the lock.
    #[must_use]
    pub fn seen(&mut self) -> Option<Token> {
        self.unseen.take_if(|_| self.core.has_seen_all())
    }
}

/// Only acceptors hold tokens.
#[cfg(not(feature = "server"))]
impl Inner {
    pub fn is_refusable(&self, _: Key) -> bool {
        false
    }

    #[must_use]
    pub fn seen(&mut self) -> Option<Token> {
        None
    }
}

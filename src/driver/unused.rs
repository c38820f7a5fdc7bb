//! Channels that the application has accepted but not used. An acceptor's drain waits for
//! them, and one that is dropped is refused.

use crate::proto::{self, Key};

/// Whoever made it can wait until it is dropped.
pub(super) type Token = tokio::sync::watch::Receiver<()>;

/// Holds a token while a channel of the connection is accepted but unused. Only acceptors
/// give one.
#[derive(Debug, Default)]
pub(super) struct Unused(#[cfg(feature = "server")] Option<Token>);

#[cfg(feature = "server")]
impl Unused {
    /// A channel was accepted.
    pub fn hold(&mut self, token: impl FnOnce() -> Token) {
        self.0.get_or_insert_with(token);
    }

    /// Whether dropping the channel is to refuse it.
    pub fn is_refusable(&self, core: &proto::Connection, key: Key) -> bool {
        self.0.is_some() && core.is_accepted_unused(key)
    }

    /// After the application used a channel: the token, if none is unused any more. The
    /// caller drops it without the lock, because that wakes a drain.
    #[must_use]
    pub fn on_used(&mut self, core: &proto::Connection) -> Option<Token> {
        self.0.take_if(|_| !core.has_accepted_unused())
    }
}

#[cfg(not(feature = "server"))]
impl Unused {
    pub fn is_refusable(&self, _: &proto::Connection, _: Key) -> bool {
        false
    }

    #[must_use]
    pub fn on_used(&mut self, _: &proto::Connection) -> Option<Token> {
        None
    }
}

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use super::channel::Channel;
use super::error::open_error;
use super::shared::{Shared, now};
use super::task::Task;
use super::transport::Transport;
use crate::config::Config;
use crate::proto::{self, OpenError, Role};

/// A connection that carries channels: a handle to its task.
///
/// When the last handle and the last [`Channel`] are dropped, the connection
/// closes once its channels are over.
#[derive(Clone, Debug)]
pub struct Connection {
    handle: Arc<Handle>,
}

#[derive(Debug)]
pub(super) struct Handle(pub Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.change(|inner| inner.closing = true);
    }
}

impl Connection {
    /// The side that dialled `io`. Spawns the connection's task.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with time enabled.
    pub fn client<T>(io: T, config: Config) -> Connection
    where
        T: AsyncRead + AsyncWrite + Send + 'static,
    {
        Connection::spawn(Role::Client, io, config)
    }

    /// The side that accepted `io`. Spawns the connection's task.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with time enabled.
    pub fn server<T>(io: T, config: Config) -> Connection
    where
        T: AsyncRead + AsyncWrite + Send + 'static,
    {
        Connection::spawn(Role::Server, io, config)
    }

    fn spawn<T>(role: Role, io: T, config: Config) -> Connection
    where
        T: AsyncRead + AsyncWrite + Send + 'static,
    {
        let linger = config.handshake_timeout;
        let core = proto::Connection::new(role, config, now());
        let shared = Arc::new(Shared::new(core, Transport::new(io)));
        tokio::spawn(Task::new(shared.clone(), linger));
        let handle = Arc::new(Handle(shared));
        Connection { handle }
    }

    /// Opens a channel, at no round trip; waits only while the peer takes no
    /// more channels. Cancel safe: a call that is dropped opens nothing.
    ///
    /// # Errors
    ///
    /// When the connection has ended, or drains (`NotConnected`). The source is
    /// a [`proto::OpenError`].
    pub async fn open(&self) -> io::Result<Channel> {
        let shared = &self.handle.0;
        loop {
            let openable = shared.openable.notified();
            tokio::pin!(openable);
            openable.as_mut().enable();
            // The open leaves with what is written next, or by itself.
            let opened = shared.change(|inner| inner.core.open());
            match opened {
                Ok(key) => return Ok(Channel::new(self.handle.clone(), key)),
                Err(OpenError::Blocked) => openable.await,
                Err(error) => return Err(open_error(error)),
            }
        }
    }

    /// The next channel that the peer opened; `None` once the connection has
    /// ended. Cancel safe: a call that is dropped takes no channel.
    pub async fn accept(&self) -> Option<Channel> {
        let shared = &self.handle.0;
        loop {
            let acceptable = shared.acceptable.notified();
            tokio::pin!(acceptable);
            acceptable.as_mut().enable();
            match self.next_channel() {
                Some(accepted) => return accepted,
                None => acceptable.await,
            }
        }
    }

    /// A channel, the end, or nothing yet.
    fn next_channel(&self) -> Option<Option<Channel>> {
        let mut inner = self.handle.0.lock();
        match inner.core.accept() {
            Some(key) => Some(Some(Channel::new(self.handle.clone(), key))),
            None => inner.core.error().map(|_| None),
        }
    }

    /// Asks the peer to open no more channels; those that are open go on, and
    /// those that it opened before it knew still arrive. The connection closes
    /// once all are over.
    pub fn drain(&self) {
        self.handle.0.change(|inner| inner.core.drain());
    }

    /// Refuses every channel that the peer opens from now on, until the
    /// connection ends: the peer learns that it may try again elsewhere what
    /// they were for. Cancel safe.
    pub async fn refuse(&self) {
        let shared = &self.handle.0;
        while self.error().is_none() {
            let acceptable = shared.acceptable.notified();
            tokio::pin!(acceptable);
            acceptable.as_mut().enable();
            shared.change(|inner| inner.core.refuse_waiting());
            if self.error().is_none() {
                acceptable.await;
            }
        }
    }

    /// Whether channels can still be opened.
    pub fn is_open(&self) -> bool {
        self.handle.0.lock().core.is_open()
    }

    /// Why the connection ended, if it has.
    pub fn error(&self) -> Option<proto::ConnectionError> {
        self.handle.0.lock().core.error().cloned()
    }

    /// Whether the peer is late with an answer, so that new work is better done
    /// on another connection. Known within the configured
    /// [`answer_within`](Config::answer_within).
    pub fn is_suspect(&self) -> bool {
        self.handle.0.lock().core.is_suspect()
    }

    /// What the connection has done and how it is.
    pub fn stats(&self) -> proto::Stats {
        self.handle.0.lock().core.stats()
    }

    /// The smoothed round-trip time, once it was measured.
    pub fn rtt(&self) -> Option<Duration> {
        self.handle.0.lock().core.rtt()
    }
}

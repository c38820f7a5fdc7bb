use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite};

use super::channel::Channel;
use super::shared::{Shared, connection_to_io};
use super::task::Task;
use crate::config::Config;
use crate::proto::{self, OpenError, Role};

/// A connection that carries channels: a handle to its task.
///
/// When the last handle and the last [`Channel`] are dropped, the connection
/// closes once its channels are over.
#[derive(Clone, Debug)]
pub struct Connection {
    pub(super) handle: Arc<Handle>,
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
        let now = tokio::time::Instant::now().into();
        let core = proto::Connection::new(role, config, now);
        let shared = Arc::new(Shared::new(core));
        tokio::spawn(Task::new(io, shared.clone(), linger));
        let handle = Arc::new(Handle(shared));
        Connection { handle }
    }

    /// Opens a channel, at no round trip; waits only while the peer takes no
    /// more channels. Cancel safe.
    ///
    /// # Errors
    ///
    /// When the connection has ended, or drains (`NotConnected`).
    pub async fn open(&self) -> io::Result<Channel> {
        poll_fn(|cx| {
            self.handle.0.change(|inner| match inner.core.open() {
                Ok(id) => Poll::Ready(Ok(Channel::new(self.handle.clone(), id))),
                Err(OpenError::Blocked) => {
                    inner.openers.push(cx.waker().clone());
                    Poll::Pending
                }
                Err(OpenError::Connection(error)) => Poll::Ready(Err(connection_to_io(error))),
                Err(error) => Poll::Ready(Err(io::Error::new(io::ErrorKind::NotConnected, error))),
            })
        })
        .await
    }

    /// The next channel that the peer opened; `None` once the connection has
    /// ended. Cancel safe.
    pub async fn accept(&self) -> Option<Channel> {
        poll_fn(|cx| {
            let mut inner = self.handle.0.lock();
            if let Some(id) = inner.core.accept() {
                return Poll::Ready(Some(Channel::new(self.handle.clone(), id)));
            }
            if inner.core.error().is_some() {
                return Poll::Ready(None);
            }
            inner.acceptors.push(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Asks the peer to open no more channels; those that are open go on.
    pub fn drain(&self) {
        self.handle.0.change(|inner| inner.core.drain());
    }

    /// Whether channels can still be opened.
    pub fn is_open(&self) -> bool {
        let inner = self.handle.0.lock();
        inner.core.is_open()
    }

    /// The smoothed round-trip time, once it was measured.
    pub fn rtt(&self) -> Option<Duration> {
        self.handle.0.lock().core.rtt()
    }
}

/// The time as the runtime sees it, which a test may pause.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into()
}

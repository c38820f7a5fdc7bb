use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::sync::Arc;
use std::time::Duration;
#[cfg(feature = "client")]
use std::{task::Waker, time::Instant};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::coop::cooperative;

use super::channel::Channel;
use super::clock::now;
#[cfg(feature = "client")]
use super::connected::{Describe, Source};
use super::handle::Handle;
use super::send::pacer::Pacer;
use super::shared::Shared;
use super::sync::Notified;
use super::task::Task;
use super::throughput::Throughput;
use super::transport::Transport;
use crate::config::Config;
use crate::memory_budget::Lease;
use crate::observability::{Observer, Origin};
use crate::proto::{self, OpenError, Role};

/// A connection that carries channels: a handle to its task.
///
/// When the last handle and the last [`Channel`] are dropped, the connection
/// closes once its channels are over.
///
/// ```
/// use tcpchan::{Config, Connection};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let (near, far) = tokio::io::duplex(64 << 10); // a `TcpStream` elsewhere
/// let client = Connection::client(near, Config::default());
/// let server = Connection::server(far, Config::default());
///
/// let mut channel = client.open().await?;
/// channel.write_all(b"hello").await?;
/// channel.shutdown().await?;
///
/// let mut channel = server.accept().await.expect("the connection is up");
/// let mut text = String::new();
/// channel.read_to_string(&mut text).await?;
/// assert_eq!(text, "hello");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Connection {
    pub(super) handle: Arc<Handle>,
}

/// What a pool asks of a connection.
#[cfg(feature = "client")]
#[derive(Debug)]
pub(crate) struct Look {
    pub stats: proto::Stats,
    pub throughput: Throughput,
    /// The peer has answered the hello.
    pub greeted: bool,
    /// How long the task has had something to do and was not run.
    pub overdue: Duration,
    pub error: Option<proto::ConnectionError>,
}

impl Connection {
    /// The side that dialled `io`. Spawns the connection's task.
    ///
    /// A TCP socket gets the options of the configuration
    /// ([`SocketProfile`](crate::SocketProfile)), `TCP_NODELAY` first. `io` is polled
    /// within the runtime of this call, by the task; if it panics, the connection ends
    /// with an error.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, or in one without time (`enable_time`). In one that was
    /// shut down the connection has ended at once.
    pub fn client<T>(io: T, config: Config) -> Connection
    where
        T: AsyncRead + AsyncWrite + Send + 'static,
    {
        Connection::spawn(Role::Client, io, config, Origin::default())
    }

    /// The side that accepted `io`, in everything else like [`client`](Self::client).
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, or in one without time (`enable_time`).
    pub fn server<T>(io: T, config: Config) -> Connection
    where
        T: AsyncRead + AsyncWrite + Send + 'static,
    {
        Connection::spawn(Role::Server, io, config, Origin::default())
    }

    /// A connection of which events and metrics tell where it comes from.
    pub(crate) fn spawn<T>(role: Role, io: T, config: Config, origin: Origin) -> Connection
    where
        T: AsyncRead + AsyncWrite + Send + 'static,
    {
        let lease = config.get_memory_budget().try_lease();
        Connection::spawn_with(role, io, config, origin, lease)
    }

    /// The same, where the memory was leased before.
    pub(crate) fn spawn_with<T>(
        role: Role,
        io: T,
        config: Config,
        origin: Origin,
        lease: Option<Lease>,
    ) -> Connection
    where
        T: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (connection, task) = Connection::with_task(role, io, config, origin, lease);
        tokio::spawn(task);
        connection
    }

    /// A handle, and the task that is to be run.
    pub(super) fn with_task<T>(
        role: Role,
        io: T,
        config: Config,
        origin: Origin,
        lease: Option<Lease>,
    ) -> (Connection, Task)
    where
        T: AsyncRead + AsyncWrite + Send + 'static,
    {
        let mut config = config;
        #[cfg(feature = "net")]
        config.socket.set_up(&io);
        if role == Role::Client {
            config.core = config.core.connection_id(random());
        }
        let (_, patience) = config.core().get_answer_within();
        let observer = Observer::new(role, config.core().get_connection_id(), origin, now());
        let pacer = Pacer::new(config.get_pacing(), now());
        let transport = Transport::new(io, observer.tap(config.core().get_protocol()), pacer);
        #[cfg(feature = "net")]
        let transport = transport.for_socket(&config.socket, now());
        let mut core = proto::Connection::new(role, config.core, now());
        if lease.is_none() {
            core.out_of_memory();
        }
        let shared = Arc::new(Shared::new(core, transport, observer, lease));
        let task = Task::new(shared.clone(), patience);
        let handle = Arc::new(Handle(shared));
        (Connection { handle }, task)
    }

    /// Opens a channel, at no round trip; waits only while the peer takes no
    /// more channels. Cancel safe: a call that is dropped opens nothing.
    ///
    /// # Errors
    ///
    /// When the connection has ended, or drains (`NotConnected`). `get_ref` gives
    /// a [`proto::OpenError`].
    pub async fn open(&self) -> io::Result<Channel> {
        cooperative(async {
            loop {
                let changed = self.changed();
                match self.try_open() {
                    Ok(channel) => return Ok(channel),
                    Err(OpenError::Blocked) => changed.await,
                    Err(error) => return Err(error.into()),
                }
            }
        })
        .await
    }

    /// Opens a channel or says why not. The open leaves with what is written
    /// next, or by itself.
    pub(crate) fn try_open(&self) -> Result<Channel, OpenError> {
        let key = self.handle.0.change(|inner| {
            inner.memory.need_to_open(&mut inner.core);
            let opened = inner.core.open();
            #[cfg(feature = "hyper")]
            if let Ok(key) = opened {
                inner.deferred.opened(key);
            }
            opened
        })?;
        Ok(Channel::new(self.handle.clone(), key))
    }

    /// Ready at what happens after this call: the peer takes channels again or
    /// no more, one side has drained, the peer is late or was heard again, or
    /// the connection ended.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.handle.0.openable.notified()
    }

    /// Wakes this, too, at what [`changed`](Self::changed) tells. Can be set once.
    #[cfg(feature = "client")]
    pub(crate) fn watched_by(&self, watcher: Waker) {
        let _ = self.handle.0.watcher.set(watcher);
    }

    /// Has hyper-util learn what `describe` says of the I/O object, instead of the
    /// addresses. Can be set once.
    #[cfg(feature = "client")]
    pub(crate) fn describe_with(&self, describe: Describe) {
        let _ = self.handle.0.connected.set(Source::Io(describe));
    }

    /// How the connection is at this time, whether or not its task is run.
    #[cfg(feature = "client")]
    pub(crate) fn look(&self, now: Instant) -> Look {
        let inner = self.handle.0.lock();
        Look {
            stats: inner.core.stats(),
            throughput: inner.throughput.throughput(),
            greeted: inner.core.is_connected(),
            overdue: inner.overdue(now),
            error: inner.core.error().cloned(),
        }
    }

    /// The shortest round-trip time, unless the peer is late with an answer.
    #[cfg(feature = "requests")]
    pub(crate) fn rtt_if_answering(&self) -> Option<Duration> {
        self.handle.0.lock().core.rtt_if_answering()
    }

    /// Ends the connection though its task is not run.
    #[cfg(feature = "client")]
    pub(crate) fn abandon(&self) {
        self.handle.0.abandon();
    }

    /// Waits until the peer can open no more channels, after a
    /// [`drain`](Self::drain), and all that it opened were accepted. Cancel safe.
    #[cfg(feature = "server")]
    pub(crate) async fn drained(&self) {
        loop {
            let changed = self.changed();
            if self.handle.0.lock().core.has_accepted_all() {
                return;
            }
            changed.await;
        }
    }

    /// Waits until another connection is needed: this one has ended, one side drains it,
    /// or its peer is late. Cancel safe.
    #[cfg(feature = "server")]
    pub(crate) async fn closed_to_channels(&self) {
        loop {
            let changed = self.changed();
            if !self.is_open() || self.is_suspect() {
                return;
            }
            changed.await;
        }
    }

    /// Waits until the peer has said its hello, or the connection has ended.
    /// Cancel safe.
    #[cfg(any(feature = "client", feature = "server"))]
    pub(crate) async fn greeted(&self) {
        loop {
            let changed = self.changed();
            if self.handle.0.lock().core.is_connected() || self.error().is_some() {
                return;
            }
            changed.await;
        }
    }

    /// Whether the peer has said its hello, and its first bytes, up to four.
    #[cfg(feature = "client")]
    pub(crate) fn hello(&self) -> (bool, Vec<u8>) {
        let inner = self.handle.0.lock();
        (inner.core.is_connected(), inner.core.first_bytes().to_vec())
    }

    /// Ends the connection if the peer has not said its hello yet.
    #[cfg(any(feature = "client", feature = "server"))]
    pub(crate) fn give_up_hello(&self) {
        self.handle.0.change(|inner| inner.core.give_up_hello());
    }

    /// Waits until the connection is over, however it ends, and its transport
    /// is closed: everything that was written has been handed to it, and a
    /// process may exit without cutting off what it said last. Cancel safe.
    ///
    /// After a [`close`](Self::close) it waits for the peer to close, too, as
    /// long as that may be silent ([`Config::answer_within`]). By itself it ends
    /// nothing: a connection whose handles are kept stays open.
    pub async fn closed(&self) {
        let shared = &self.handle.0;
        loop {
            let changed = self.changed();
            if shared.transport().is_gone() {
                return;
            }
            changed.await;
        }
    }

    /// Whether a process that ends now cuts something off: a channel that is not over,
    /// or bytes that the transport has not taken.
    #[cfg(feature = "server")]
    pub(crate) fn is_cut_by_its_end(&self) -> bool {
        let waits = !self.handle.0.transport().has_taken_all();
        let inner = self.handle.0.lock();
        match inner.core.error() {
            None => waits || inner.core.channels() > 0,
            Some(proto::ConnectionError::Closed) => waits,
            Some(_) => false,
        }
    }

    /// The next channel that the peer opened; `None` once the connection has
    /// ended. Cancel safe: a call that is dropped takes no channel.
    pub async fn accept(&self) -> Option<Channel> {
        let shared = &self.handle.0;
        cooperative(async {
            loop {
                let acceptable = shared.acceptable.notified();
                match self.next_channel() {
                    Some(accepted) => return accepted,
                    None => acceptable.await,
                }
            }
        })
        .await
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

    /// Ends the connection and every channel on it, now. The peer is told the
    /// reason, of which it gets the start if it is long.
    pub fn close(&self, reason: &str) {
        self.handle.0.change(|inner| inner.core.close(reason));
    }

    /// Refuses every channel that the peer opens from now on, until the
    /// connection ends: the peer learns that it may try again elsewhere what
    /// they were for. Cancel safe.
    pub async fn refuse(&self) {
        let shared = &self.handle.0;
        while self.error().is_none() {
            let acceptable = shared.acceptable.notified();
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
        self.handle.0.lock().core.stats().suspect
    }

    /// What the connection has done and how it is.
    pub fn stats(&self) -> proto::Stats {
        self.handle.0.lock().core.stats()
    }

    /// How much the transport carries.
    pub fn throughput(&self) -> Throughput {
        self.handle.0.lock().throughput.throughput()
    }

    /// The smoothed round-trip time, once it was measured.
    pub fn rtt(&self) -> Option<Duration> {
        self.handle.0.lock().core.stats().rtt
    }
}

/// Not 0. No secret: the standard library's maps are seeded so.
fn random() -> u64 {
    RandomState::new().build_hasher().finish().max(1)
}

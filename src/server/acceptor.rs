use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use futures_core::Stream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::accept_loop::{AcceptLoop, Accepted};
use super::connections::Connections;
use super::drain::DrainHandle;
use super::incoming::Incoming;
use super::peer::{Peer, PeerInfo};
use crate::config::Config;
use crate::driver::Channel;
use crate::socket::find;

/// Channels of all connections that wait for [`Acceptor::accept`]. Further ones wait in their
/// connection, which bounds them by `max_channels`.
const BACKLOG: usize = 128;

/// Turns a listener of connections into a listener of channels.
///
/// Each connection is served by a task of its own, so no peer holds up another.
///
/// When the acceptor is dropped, its connections drain. Channels that were accepted go on to
/// their end. Others are refused, so that the peer may try elsewhere.
///
/// With the feature `axum` it goes into `axum::serve`. With hyper alone:
///
/// ```no_run
/// # use std::convert::Infallible;
/// # async fn run() -> std::io::Result<()> {
/// # let service = hyper::service::service_fn(|_| async {
/// #     Ok::<_, Infallible>(hyper::Response::new(String::new()))
/// # });
/// let listener = tokio::net::TcpListener::bind("0.0.0.0:3000").await?;
/// let mut acceptor = tcpchan::server::Acceptor::new(listener, tcpchan::Config::default());
/// loop {
///     let (channel, _peer) = acceptor.accept().await;
///     let http = hyper::server::conn::http1::Builder::new();
///     tokio::spawn(http.serve_connection(channel, service));
/// }
/// # }
/// ```
#[derive(Debug)]
#[must_use = "an acceptor that is dropped drains its connections"]
pub struct Acceptor {
    local_addr: Option<SocketAddr>,
    /// Never closed, so that `accept` waits even when the listener has ended.
    _sender: mpsc::Sender<Accepted>,
    receiver: mpsc::Receiver<Accepted>,
    drain: DrainHandle,
    connections: Connections,
}

impl Acceptor {
    /// An acceptor of the listener's connections. Their sockets get the
    /// options of [`Config::socket`].
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with time and I/O enabled.
    pub fn new(listener: TcpListener, mut config: Config) -> Self {
        config.socket = config.socket.defer_congestion(find);
        let local_addr = listener.local_addr().ok();
        let incoming = Incoming::new(listener, &mut config);
        Acceptor::start(config, local_addr, |listener| listener.retrying(incoming))
    }

    /// An acceptor of the connections that a stream yields, each with its peer's address.
    ///
    /// - After an error of the stream that isn't about one connection, it waits a second, or
    ///   until a connection has closed. After the stream's end no more connections come.
    /// - If a connection is rustls's `TlsStream` over a `TcpStream`, the peer's certificates are
    ///   in the `identity` of [`PeerInfo`].
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with time enabled.
    pub fn from_incoming<S, T>(incoming: S, config: Config) -> Self
    where
        S: Stream<Item = io::Result<(T, SocketAddr)>> + Send + 'static,
        T: AsyncRead + AsyncWrite + Send + 'static,
    {
        Acceptor::start(config, None, |listener| listener.retrying(incoming))
    }

    pub(super) fn start<S, T, P>(
        config: Config,
        local_addr: Option<SocketAddr>,
        incoming: impl FnOnce(&AcceptLoop) -> S,
    ) -> Self
    where
        S: Stream<Item = io::Result<(T, P)>> + Send + 'static,
        P: Into<Peer> + Send + 'static,
        T: AsyncRead + AsyncWrite + Send + 'static,
    {
        Acceptor::with(config, local_addr, |listener| {
            let incoming = incoming(&listener);
            listener.run(incoming)
        })
    }

    pub(super) fn with<R>(
        config: Config,
        local_addr: Option<SocketAddr>,
        run: impl FnOnce(AcceptLoop) -> R,
    ) -> Self
    where
        R: Future<Output = ()> + Send + 'static,
    {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        let (drain, member) = DrainHandle::new();
        let connections = Connections::default();
        let listed = connections.clone();
        tokio::spawn(run(AcceptLoop::new(config, sender.clone(), member, listed)));
        Acceptor {
            local_addr,
            _sender: sender,
            receiver,
            drain,
            connections,
        }
    }

    /// What drains the acceptor's connections and waits for their end, also
    /// when the acceptor is owned by a server or gone.
    pub fn drain_handle(&self) -> DrainHandle {
        self.drain.clone()
    }

    /// What shows the acceptor's connections, also when the acceptor is owned by a server or
    /// gone.
    pub fn connections(&self) -> Connections {
        self.connections.clone()
    }

    /// The next channel of any connection. A channel that is dropped before anything was read
    /// from it or written to it is refused: the peer may try elsewhere.
    ///
    /// It never fails. It waits for ever if no more channels can come. Cancel safe: a call that
    /// is dropped takes no channel.
    pub async fn accept(&mut self) -> (Channel, PeerInfo) {
        std::future::poll_fn(|cx| self.poll_accept(cx)).await
    }

    pub(super) fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<(Channel, PeerInfo)> {
        match self.receiver.poll_recv(cx) {
            Poll::Ready(Some(accepted)) => Poll::Ready(accepted.into()),
            // It is never closed: see `_sender`.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    /// The address that the listener is bound to.
    ///
    /// # Errors
    ///
    /// `AddrNotAvailable` if it has none that is known, as with
    /// [`from_incoming`](Self::from_incoming).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.local_addr
            .ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.receiver.close();
        while let Ok(accepted) = self.receiver.try_recv() {
            accepted.channel.refuse();
        }
    }
}

use std::fmt;
use std::future::Future;
#[cfg(feature = "proxy-protocol")]
use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use futures_core::Stream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::accept_loop::{AcceptLoop, Accepted};
use super::channel_limits::ChannelLimits;
use super::connections::Connections;
use super::drain::DrainHandle;
#[cfg(any(feature = "proxy-protocol", feature = "tls"))]
use super::handshake::{Handshakes, Outcome};
use super::incoming::Incoming;
use super::limits::ConnectionLimits;
#[cfg(any(feature = "proxy-protocol", feature = "tls"))]
use super::peer::Peer;
use super::peer::PeerInfo;
#[cfg(feature = "proxy-protocol")]
use super::proxy_protocol::ProxyProtocol;
use super::settings::Settings;
#[cfg(feature = "tls")]
use super::tls::{Tls, shake};
use crate::config::Config;
use crate::driver::Channel;
#[cfg(any(feature = "proxy-protocol", feature = "tls"))]
use crate::rewind::Rewind;
use crate::socket::find;
#[cfg(feature = "tls")]
use crate::tls::ALPN;

/// Channels of all connections that wait for [`Acceptor::accept`]. Further ones wait in their
/// connection, which bounds them by `max_channels`.
const BACKLOG: usize = 128;

/// Turns a listener of connections into a listener of channels.
///
/// It starts when it is first asked for a channel, on the runtime that asks. Before that it
/// takes no connection, and needs no runtime. Then each connection is served by a task of its
/// own, so no peer holds up another.
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
/// let mut acceptor = tcpchan::server::Acceptor::new(listener);
/// loop {
///     let (channel, _peer) = acceptor.accept().await;
///     let http = hyper::server::conn::http1::Builder::new();
///     tokio::spawn(http.serve_connection(channel, service));
/// }
/// # }
/// ```
#[must_use = "an acceptor that is dropped drains its connections"]
pub struct Acceptor {
    local_addr: Option<SocketAddr>,
    settings: Settings,
    /// None once it has started. The lock only makes the acceptor `Sync`.
    run: Mutex<Option<Run>>,
    dials: bool,
    /// Never closed, so that `accept` waits even when the listener has ended.
    sender: mpsc::Sender<Accepted>,
    receiver: mpsc::Receiver<Accepted>,
    drain: DrainHandle,
    connections: Connections,
}

/// Runs the listener.
type Run = Box<dyn FnOnce(AcceptLoop) -> Running + Send>;
type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Acceptor {
    /// An acceptor of the listener's connections. Their sockets get the
    /// options of [`Config::socket`].
    pub fn new(listener: TcpListener) -> Self {
        let local_addr = listener.local_addr().ok();
        Acceptor::unstarted(local_addr, |mut accept_loop| {
            let config = &mut accept_loop.settings.config;
            config.socket = config.socket.clone().defer_congestion(find);
            let incoming = Incoming::new(listener, config);
            run(accept_loop, incoming, Incoming::register)
        })
    }

    /// An acceptor of the connections that a stream yields, each with its peer's address.
    ///
    /// - After an error of the stream that isn't about one connection, it waits a second, or
    ///   until a connection has closed. After the stream's end no more connections come.
    /// - If a connection is rustls's `TlsStream` over a `TcpStream`, the peer's certificates are
    ///   in the `identity` of [`PeerInfo`].
    /// - With `with_tls`, handshakes are made over any transport that the
    ///   stream yields.
    /// - The limits of one network count by the address. If one address stands for all peers, as
    ///   where they have none, [`exempt`](super::ConnectionLimits::exempt) it.
    pub fn from_incoming<S, T>(incoming: S) -> Self
    where
        S: Stream<Item = io::Result<(T, SocketAddr)>> + Send + 'static,
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        Acceptor::unstarted(None, |accept_loop| run(accept_loop, incoming, Ok))
    }

    pub(super) fn unstarted<R>(local_addr: Option<SocketAddr>, run: R) -> Self
    where
        R: FnOnce(AcceptLoop) -> Running + Send + 'static,
    {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        Acceptor {
            local_addr,
            settings: Settings::default(),
            run: Mutex::new(Some(Box::new(run))),
            dials: false,
            sender,
            receiver,
            drain: DrainHandle::new(),
            connections: Connections::default(),
        }
    }

    /// Its connections are dialled.
    pub(super) fn that_dials(mut self) -> Self {
        self.dials = true;
        self
    }

    /// The configuration of its connections. Default [`Config::default`]. Once it has
    /// started, this changes nothing.
    pub fn with_config(mut self, config: Config) -> Self {
        self.settings.config = config;
        self
    }

    /// See [`with_config`](Self::with_config).
    pub fn config(&self) -> &Config {
        &self.settings.config
    }

    /// How many connections may come, and how quickly. Clones of one value count together.
    /// Default [`ConnectionLimits::default`]. Once the acceptor has started, this changes
    /// nothing. Connections that an acceptor [dials](Self::dialling) have no such limits.
    pub fn with_connection_limits(mut self, limits: ConnectionLimits) -> Self {
        self.settings.connection_limits = limits;
        self
    }

    /// See [`with_connection_limits`](Self::with_connection_limits).
    pub fn connection_limits(&self) -> &ConnectionLimits {
        &self.settings.connection_limits
    }

    /// How many channels the application serves at a time, and how quickly new ones come.
    /// Clones of one value count together. Default [`ChannelLimits::default`].
    /// Once the acceptor has started, this changes nothing.
    pub fn with_channel_limits(mut self, limits: ChannelLimits) -> Self {
        self.settings.channel_limits = limits;
        self
    }

    /// See [`with_channel_limits`](Self::with_channel_limits).
    pub fn channel_limits(&self) -> &ChannelLimits {
        &self.settings.channel_limits
    }

    /// Takes its connections over TLS. One handshake carries all channels of a connection;
    /// handshakes run in tasks of their own. Clients that name protocols in ALPN must name
    /// [`ALPN`](crate::ALPN). Once the acceptor has started, this changes nothing; the
    /// [`handle`](Tls::handle) does.
    ///
    /// ```no_run
    /// # async fn run(config: tokio_rustls::rustls::ServerConfig, app: axum::Router) -> std::io::Result<()> {
    /// use tcpchan::server::{Acceptor, Tls};
    ///
    /// let listener = tokio::net::TcpListener::bind("0.0.0.0:3443").await?;
    /// let acceptor = Acceptor::new(listener).with_tls(Tls::new(config));
    /// axum::serve(acceptor, app).await
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// If the acceptor is [`dialling`](Self::dialling). There `dial` makes TLS, as a client
    /// does.
    #[cfg(feature = "tls")]
    pub fn with_tls(mut self, tls: Tls) -> Self {
        assert!(
            !self.dials,
            "an Acceptor::dialling takes no server's TLS: return a TlsStream from `dial`"
        );
        self.settings.tls = Some(tls);
        self
    }

    /// See [`with_tls`](Self::with_tls). `None` if connections are taken without TLS.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(&self) -> Option<&Tls> {
        self.settings.tls.as_ref()
    }

    /// Has load balancers tell who their clients are. Default: nobody is asked, and a header is
    /// a violation. Once the acceptor has started, this changes nothing.
    ///
    /// ```no_run
    /// # async fn run(app: axum::Router) -> Result<(), Box<dyn std::error::Error>> {
    /// use tcpchan::server::{Acceptor, PeerInfo, ProxyProtocol};
    ///
    /// let listener = tokio::net::TcpListener::bind("0.0.0.0:3000").await?;
    /// let proxy_protocol = ProxyProtocol::default().trusted_networks(["10.0.0.0/16"])?;
    /// let acceptor = Acceptor::new(listener).with_proxy_protocol(proxy_protocol);
    /// axum::serve(acceptor, app.into_make_service_with_connect_info::<PeerInfo>()).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// If the acceptor is [`dialling`](Self::dialling): it knows whom it dials.
    #[cfg(feature = "proxy-protocol")]
    pub fn with_proxy_protocol(mut self, proxy_protocol: ProxyProtocol) -> Self {
        assert!(
            !self.dials,
            "an Acceptor::dialling takes no PROXY protocol: it knows whom it dials"
        );
        self.settings.proxy_protocol = Some(proxy_protocol);
        self
    }

    /// See [`with_proxy_protocol`](Self::with_proxy_protocol).
    #[cfg(feature = "proxy-protocol")]
    #[must_use]
    pub fn proxy_protocol(&self) -> Option<&ProxyProtocol> {
        self.settings.proxy_protocol.as_ref()
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
    ///
    /// # Panics
    ///
    /// The first call, outside a tokio runtime with time and I/O enabled.
    pub async fn accept(&mut self) -> (Channel, PeerInfo) {
        std::future::poll_fn(|cx| self.poll_accept(cx)).await
    }

    pub(super) fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<(Channel, PeerInfo)> {
        self.start();
        match self.receiver.poll_recv(cx) {
            Poll::Ready(Some(accepted)) => Poll::Ready(accepted.into()),
            // It is never closed: see `sender`.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    /// Starts the listener, unless it has started or was drained before.
    fn start(&mut self) {
        let run = self.run.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(run) = run.take()
            && let Some(member) = self.drain.start()
        {
            let (settings, to) = (self.settings.clone(), self.sender.clone());
            let listed = self.connections.clone();
            tokio::spawn(run(AcceptLoop::new(settings, to, member, listed)));
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

/// Takes the connections that come, after what is to be done before their first frame.
fn run<S, R, T>(accept_loop: AcceptLoop, incoming: S, register: fn(R) -> io::Result<T>) -> Running
where
    S: Stream<Item = io::Result<(R, SocketAddr)>> + Send + 'static,
    R: Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let incoming = accept_loop.retrying(incoming, register);
    #[cfg(any(feature = "proxy-protocol", feature = "tls"))]
    let settings = accept_loop.settings.clone();
    #[cfg(feature = "tls")]
    if let Some(tls) = settings.tls.clone() {
        let prepared = tls.prepared(|alpn| *alpn = vec![ALPN.to_vec()], &settings.config);
        let shake = move |io: Rewind<T>, peer: Peer| {
            let shake = shake(prepared.get(), io, peer);
            async { shake.await.map(Outcome::Ours) }
        };
        return Box::pin(accept_loop.run(Handshakes::new(incoming, settings, shake)));
    }
    #[cfg(feature = "proxy-protocol")]
    if settings.proxy_protocol.is_some() {
        let nothing = |io: Rewind<T>, peer: Peer| ready(Ok(Outcome::Ours((io, peer))));
        return Box::pin(accept_loop.run(Handshakes::new(incoming, settings, nothing)));
    }
    Box::pin(accept_loop.run(incoming))
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor")
            .field("local_addr", &self.local_addr)
            .field("settings", &self.settings)
            .field("drain", &self.drain)
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        drop(self.drain.start()); // it will not start
        self.receiver.close();
        while let Ok(accepted) = self.receiver.try_recv() {
            accepted.channel.refuse();
        }
    }
}

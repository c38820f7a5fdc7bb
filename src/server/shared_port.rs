//! tcpchan and HTTP on one port.

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
#[cfg(feature = "tls")]
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
#[cfg(feature = "tls")]
use tokio_rustls::rustls::ServerConfig;

use super::accept_loop::AcceptLoop;
use super::acceptor::Acceptor;
use super::channel_limits::ChannelLimits;
use super::connections::Connections;
use super::drain::{DrainHandle, Token};
use super::handshake::{Handshakes, Outcome};
use super::http_io::HttpIo;
use super::incoming::Incoming;
use super::limits::ConnectionLimits;
use super::peer::{Peer, PeerInfo};
#[cfg(feature = "proxy-protocol")]
use super::proxy_protocol::ProxyProtocol;
use super::settings::Settings;
#[cfg(feature = "tls")]
use super::tls::{Tls, shake};
use crate::config::Config;
use crate::driver::Channel;
use crate::rewind::Rewind;
#[cfg(feature = "tls")]
use crate::tls::ALPN;

/// HTTP connections that wait for [`SharedPort::accept`]. Each further one waits in the task of
/// its handshake until there is room.
const BACKLOG: usize = 128;

/// Accepts channels and plain HTTP connections on one port, so that clients can move to
/// tcpchan one by one, and back.
///
/// With the feature `axum` it is an `axum::serve::Listener` as the
/// [`Acceptor`] is, whose [`PeerInfo`] has connection and channel 0 for an
/// HTTP connection:
///
/// ```no_run
/// # async fn run(app: axum::Router) -> std::io::Result<()> {
/// let listener = tokio::net::TcpListener::bind("0.0.0.0:3000").await?;
/// let port = tcpchan::server::SharedPort::new(listener);
/// axum::serve(port, app).await
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a port that is dropped takes no more connections"]
pub struct SharedPort {
    acceptor: Acceptor,
    http: mpsc::Receiver<Waiting>,
    http_first: bool,
}

/// What a [`SharedPort`] accepts.
///
/// ```no_run
/// # async fn run(mut port: tcpchan::server::SharedPort) {
/// use tcpchan::server::SharedIo;
///
/// match port.accept().await {
///     (SharedIo::Channel(channel), peer) => println!("channel {} of {}", channel.id(), peer.addr),
///     (SharedIo::Http(_), peer) => println!("HTTP from {}", peer.addr),
///     _ => {}
/// }
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum SharedIo {
    /// A channel.
    Channel(Channel),
    /// A connection that is not tcpchan's, and should be HTTP's.
    Http(HttpIo),
}

/// An HTTP connection that waits to be accepted. A drain waits while it does.
#[derive(Debug)]
struct Waiting {
    io: HttpIo,
    info: PeerInfo,
    _open: Token,
}

impl SharedPort {
    /// A port of the listener's connections. The first byte tells tcpchan (0 or 1) from HTTP
    /// (any printable one). As an [`Acceptor`], it starts when it is first asked.
    ///
    /// A connection is closed if it has sent neither a hello nor the head of a request after
    /// [`Config::handshake_timeout`]; 16 KiB of a head are enough. A request that has come waits
    /// for [`accept`](Self::accept) as long as it takes. Such connections count among
    /// [`Config::max_handshakes`], beyond which connections wait in the system's backlog.
    pub fn new(listener: TcpListener) -> Self {
        let (sender, http) = mpsc::channel(BACKLOG);
        let local_addr = listener.local_addr().ok();
        let run = |accept_loop| Box::pin(run(accept_loop, listener, sender)) as _;
        SharedPort {
            acceptor: Acceptor::unstarted(local_addr, run),
            http,
            http_first: false,
        }
    }

    /// As [`Acceptor::with_config`].
    pub fn with_config(mut self, config: Config) -> Self {
        self.acceptor = self.acceptor.with_config(config);
        self
    }

    /// See [`with_config`](Self::with_config).
    pub fn config(&self) -> &Config {
        self.acceptor.config()
    }

    /// As [`Acceptor::with_connection_limits`]. Connections of HTTP count as well, until the
    /// application drops them.
    pub fn with_connection_limits(mut self, limits: ConnectionLimits) -> Self {
        self.acceptor = self.acceptor.with_connection_limits(limits);
        self
    }

    /// See [`with_connection_limits`](Self::with_connection_limits).
    pub fn connection_limits(&self) -> &ConnectionLimits {
        self.acceptor.connection_limits()
    }

    /// As [`Acceptor::with_channel_limits`]. Connections of HTTP are no channels.
    pub fn with_channel_limits(mut self, limits: ChannelLimits) -> Self {
        self.acceptor = self.acceptor.with_channel_limits(limits);
        self
    }

    /// See [`with_channel_limits`](Self::with_channel_limits).
    pub fn channel_limits(&self) -> &ChannelLimits {
        self.acceptor.channel_limits()
    }

    /// Takes connections over TLS only. A client that asks for [`ALPN`](crate::ALPN) gets
    /// tcpchan. One that asks for another protocol of rustls's configuration (`http/1.1` if that
    /// has none) gets HTTP. If a client asks for none, the first byte tells.
    /// [`Tls::handshake_timeout`] is also the time for the first request's head.
    #[cfg(feature = "tls")]
    pub fn with_tls(mut self, tls: Tls) -> Self {
        self.acceptor = self.acceptor.with_tls(tls);
        self
    }

    /// See [`with_tls`](Self::with_tls).
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(&self) -> Option<&Tls> {
        self.acceptor.tls()
    }

    /// As [`Acceptor::with_proxy_protocol`], for HTTP and tcpchan.
    #[cfg(feature = "proxy-protocol")]
    pub fn with_proxy_protocol(mut self, proxy_protocol: ProxyProtocol) -> Self {
        self.acceptor = self.acceptor.with_proxy_protocol(proxy_protocol);
        self
    }

    /// See [`with_proxy_protocol`](Self::with_proxy_protocol).
    #[cfg(feature = "proxy-protocol")]
    #[must_use]
    pub fn proxy_protocol(&self) -> Option<&ProxyProtocol> {
        self.acceptor.proxy_protocol()
    }

    /// The next channel or HTTP connection. It never fails, and waits for ever
    /// if no more can come. Cancel safe.
    pub async fn accept(&mut self) -> (SharedIo, PeerInfo) {
        std::future::poll_fn(|cx| self.poll_accept(cx)).await
    }

    pub(super) fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<(SharedIo, PeerInfo)> {
        // Each goes first in turn, so that a crowd of the one does not hold up the other.
        self.http_first = !self.http_first;
        if self.http_first
            && let Poll::Ready(Some(http)) = self.http.poll_recv(cx)
        {
            return Poll::Ready((SharedIo::Http(http.io), http.info));
        }
        if let Poll::Ready((channel, peer)) = self.acceptor.poll_accept(cx) {
            return Poll::Ready((SharedIo::Channel(channel), peer));
        }
        if !self.http_first
            && let Poll::Ready(Some(http)) = self.http.poll_recv(cx)
        {
            return Poll::Ready((SharedIo::Http(http.io), http.info));
        }
        Poll::Pending
    }

    /// The address that the listener is bound to.
    ///
    /// # Errors
    ///
    /// `AddrNotAvailable` if it is not known.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.acceptor.local_addr()
    }

    /// What shows the tcpchan connections, as [`Acceptor::connections`].
    pub fn connections(&self) -> Connections {
        self.acceptor.connections()
    }

    /// What drains the tcpchan connections, as [`Acceptor::drain_handle`]. No
    /// HTTP connections are taken from then on either; those that are there
    /// are for their server to end.
    pub fn drain_handle(&self) -> DrainHandle {
        self.acceptor.drain_handle()
    }
}

/// Takes the connections that come, and hands those of HTTP on.
async fn run(mut accept_loop: AcceptLoop, listener: TcpListener, http: mpsc::Sender<Waiting>) {
    let settings = &mut accept_loop.settings;
    let socket = settings.config.socket.clone();
    settings.config.socket =
        socket.defer_congestion(|io| Some(io.downcast_ref::<HttpIo>()?.get_ref()));
    let incoming = Incoming::new(listener, &mut settings.config);
    let (settings, sort) = (settings.clone(), sorting(settings));
    let profile = settings.config.socket.clone();
    let (open, guard) = (
        accept_loop.member.open.clone(),
        accept_loop.member.guard.clone(),
    );
    let incoming = accept_loop.retrying(incoming, Incoming::register);
    let handshakes = Handshakes::new(incoming, settings, move |tcp, peer| {
        let (sorted, http, profile) = (sort(tcp, peer), http.clone(), profile.clone());
        let (open, guard) = (open.clone(), guard.clone());
        async move {
            let (is_tcpchan, io, peer) = sorted.await?;
            if is_tcpchan {
                return Ok(Outcome::Ours((io, peer)));
            }
            profile.give_back(io.get_ref());
            let waiting = Waiting {
                info: peer.info(0, 0),
                io: io.until_read(guard.token(), peer),
                _open: open,
            };
            Ok(Outcome::Other(Box::pin(async move {
                // If it fails, nobody serves HTTP any more.
                let _ = http.send(waiting).await;
            })))
        }
    });
    accept_loop.run(handshakes).await;
}

type Tcp = Rewind<TcpStream>;
type Sorted = Pin<Box<dyn Future<Output = io::Result<(bool, HttpIo, Peer)>> + Send>>;

/// What tells whether a connection is tcpchan's.
fn sorting(settings: &Settings) -> impl Fn(Tcp, Peer) -> Sorted + Send + Sync + 'static {
    #[cfg(feature = "tls")]
    let prepared = settings.tls.clone().map(|tls| {
        let both = |alpn: &mut Vec<Vec<u8>>| {
            if alpn.is_empty() {
                alpn.push(b"http/1.1".to_vec());
            }
            alpn.retain(|protocol| protocol != ALPN);
            alpn.insert(0, ALPN.to_vec());
        };
        tls.prepared(both, &settings.config)
    });
    #[cfg(not(feature = "tls"))]
    let _ = settings;
    move |tcp, peer| {
        #[cfg(feature = "tls")]
        if let Some(prepared) = &prepared {
            return Box::pin(sort_tls(prepared.get(), tcp, peer));
        }
        Box::pin(async move {
            let mut io = HttpIo::tcp(tcp);
            let is_tcpchan = io.sort().await?;
            Ok((is_tcpchan, io, peer))
        })
    }
}

#[cfg(feature = "tls")]
async fn sort_tls(
    config: Arc<ServerConfig>,
    tcp: Tcp,
    peer: Peer,
) -> io::Result<(bool, HttpIo, Peer)> {
    let (stream, peer) = shake(config, tcp, peer).await?;
    let alpn = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
    let mut io = HttpIo::tls(stream);
    let is_tcpchan = match alpn.as_deref() {
        Some(ALPN) => true,
        Some(_) => io.sort().await.map(|_| false)?,
        None => io.sort().await?,
    };
    Ok((is_tcpchan, io, peer))
}

/// Calls a method of whichever stream it is.
macro_rules! delegate {
    ($self:ident, $method:ident($($argument:ident),*)) => {
        match $self.get_mut() {
            SharedIo::Channel(io) => Pin::new(io).$method($($argument),*),
            SharedIo::Http(io) => Pin::new(io).$method($($argument),*),
        }
    };
}

impl AsyncRead for SharedIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        delegate!(self, poll_read(cx, buf))
    }
}

impl AsyncWrite for SharedIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        delegate!(self, poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        delegate!(self, poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            SharedIo::Channel(io) => io.is_write_vectored(),
            SharedIo::Http(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, poll_shutdown(cx))
    }
}

//! TLS over any connector.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::Uri;
use hyper::rt::{Read, Write};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use pin_project_lite::pin_project;
use tokio_rustls::Connect;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use tower_service::Service;

use super::connect_to::ConnectTo;
use super::error::BoxError;
use super::fallback::config::Protocols;
use crate::tls::{ALPN, Prepared, Slot, TlsHandle};

/// TLS over a TCP connection that a connector made.
pub type TlsIo<T> = TokioIo<TlsStream<TokioIo<T>>>;

/// A connector that speaks TLS and asks for [`ALPN`] over the connections of
/// another, whatever the URI's scheme.
///
/// ```no_run
/// # fn make(config: tokio_rustls::rustls::ClientConfig) {
/// use tcpchan::client::{Multiplex, TlsConnector};
///
/// let connector = Multiplex::new(TlsConnector::new(config));
/// # }
/// ```
///
/// Client certificates are given by rustls's `with_client_auth_cert`.
///
/// A [`Multiplex`](super::Multiplex) takes other TLS connectors too, such as
/// hyper-rustls's `HttpsConnector::from((http, config))`, where the ALPN is
/// that of its configuration: `config.alpn_protocols = vec![ALPN.to_vec()]`. This crate does not find
/// the socket in it. So BBR and the other options of a [`SocketProfile`](crate::SocketProfile) are
/// not set on the client's side.
#[derive(Clone)]
#[must_use]
pub struct TlsConnector<C = HttpConnector> {
    inner: C,
    tls: Arc<Prepared<ClientConfig>>,
    name: Option<ServerName<'static>>,
}

impl TlsConnector {
    /// Over TCP, with a configuration of rustls, whose crypto provider is
    /// yours to choose.
    pub fn new(config: impl Into<Arc<ClientConfig>>) -> Self {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        TlsConnector::over(http, config)
    }
}

impl<C> TlsConnector<C> {
    /// Over another connector, which must take the URI's scheme.
    pub fn over(inner: C, config: impl Into<Arc<ClientConfig>>) -> Self {
        let prepare = |config: &mut ClientConfig| config.alpn_protocols = vec![ALPN.to_vec()];
        TlsConnector {
            inner,
            tls: Arc::new(Prepared::new(Slot::new(config.into()), prepare)),
            name: None,
        }
    }

    /// The name that the server's certificate must be for, instead of the
    /// URI's host.
    pub fn with_server_name(mut self, name: ServerName<'static>) -> Self {
        self.name = Some(name);
        self
    }

    /// The name that the server's certificate must be for, if it is not the URI's host.
    #[must_use]
    pub fn server_name(&self) -> Option<&ServerName<'static>> {
        self.name.as_ref()
    }

    /// The configuration that the next dial uses, as it was given.
    #[must_use]
    pub fn config(&self) -> Arc<ClientConfig> {
        self.tls.given()
    }

    /// The connector whose connections it speaks TLS over.
    pub fn connector(&self) -> &C {
        &self.inner
    }

    /// What exchanges the configuration for the next dials, also when a
    /// [`Multiplex`](super::Multiplex) has taken the connector. Clones share it.
    pub fn handle(&self) -> TlsHandle<ClientConfig> {
        self.tls.handle()
    }

    /// The same connector, which offers these protocols: those of HTTP are the
    /// configuration's, or `http/1.1` if that has none.
    pub(super) fn offering(mut self, protocols: Protocols) -> Self {
        let prepare = move |config: &mut ClientConfig| {
            let alpn = &mut config.alpn_protocols;
            alpn.retain(|protocol| protocol != ALPN);
            match protocols {
                Protocols::Tcpchan => alpn.clear(),
                _ if alpn.is_empty() => alpn.push(b"http/1.1".to_vec()),
                _ => {}
            }
            if protocols != Protocols::Http {
                alpn.insert(0, ALPN.to_vec());
            }
        };
        self.tls = Arc::new(self.tls.with(prepare));
        self
    }

    fn connect<F, T>(
        &self,
        name: io::Result<ServerName<'static>>,
        connecting: F,
    ) -> TlsConnecting<F, T> {
        let state = match name {
            Ok(name) => State::Connects {
                tls: tokio_rustls::TlsConnector::from(self.tls.get()),
                name: Some(name),
                connecting,
            },
            Err(error) => State::Fails { error: Some(error) },
        };
        TlsConnecting { state }
    }

    fn name_for(&self, uri: &Uri) -> io::Result<ServerName<'static>> {
        if let Some(name) = &self.name {
            return Ok(name.clone());
        }
        let host = uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        ServerName::try_from(host.to_owned()).map_err(io::Error::other)
    }
}

impl<C: fmt::Debug> fmt::Debug for TlsConnector<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConnector")
            .field("inner", &self.inner)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl<C> Service<Uri> for TlsConnector<C>
where
    C: Service<Uri>,
    C::Response: Read + Write + Send + Unpin + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send + 'static,
{
    type Response = TlsIo<C::Response>;
    type Error = BoxError;
    type Future = TlsConnecting<C::Future, C::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let name = self.name_for(&uri);
        let connecting = self.inner.call(uri);
        self.connect(name, connecting)
    }
}

impl<C> ConnectTo for TlsConnector<C>
where
    C: ConnectTo,
    C::Response: Read + Write + Send + Unpin + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send + 'static,
{
    fn connect_to(&mut self, uri: Uri, addr: SocketAddr) -> Self::Future {
        let name = self.name_for(&uri);
        let connecting = self.inner.connect_to(uri, addr);
        self.connect(name, connecting)
    }
}

pin_project! {
    /// The TLS connection to come of a [`TlsConnector`], whose connector's future is `F` and
    /// whose I/O is `T`.
    #[must_use = "futures do nothing unless polled"]
    pub struct TlsConnecting<F, T> {
        #[pin]
        state: State<F, T>,
    }
}

pin_project! {
    #[project = Projected]
    enum State<F, T> {
        Connects {
            tls: tokio_rustls::TlsConnector,
            name: Option<ServerName<'static>>,
            #[pin]
            connecting: F,
        },
        Shakes {
            #[pin]
            handshake: Connect<TokioIo<T>>,
        },
        Fails {
            error: Option<io::Error>,
        },
    }
}

impl<F, T> fmt::Debug for TlsConnecting<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConnecting").finish_non_exhaustive()
    }
}

impl<F, T, E> Future for TlsConnecting<F, T>
where
    F: Future<Output = Result<T, E>>,
    T: Read + Write + Unpin,
    E: Into<BoxError>,
{
    type Output = Result<TlsIo<T>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let handshake = match state.as_mut().project() {
                Projected::Connects {
                    tls,
                    name,
                    connecting,
                } => {
                    let io = ready!(connecting.poll(cx)).map_err(Into::into)?;
                    let name = name.take().ok_or(AFTER_ITS_END)?;
                    tls.connect(name, TokioIo::new(io))
                }
                Projected::Shakes { handshake } => {
                    let stream = ready!(handshake.poll(cx))?;
                    return Poll::Ready(Ok(TokioIo::new(stream)));
                }
                Projected::Fails { error } => {
                    let error = error.take().map(Into::into);
                    return Poll::Ready(Err(error.unwrap_or_else(|| AFTER_ITS_END.into())));
                }
            };
            state.set(State::Shakes { handshake });
        }
    }
}

/// What a caller's mistake gets.
const AFTER_ITS_END: &str = "`TlsConnecting` was polled after it was ready";

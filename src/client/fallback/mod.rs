//! A connector for servers with and without tcpchan.

pub(super) mod config;
pub(super) mod io;
pub(super) mod met;
pub(super) mod negotiated;

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper::rt::{Read, Write};
use hyper_util::client::legacy::connect::{Connected, Connection as Connects};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tower_service::Service;

use self::config::{FallbackConfig, Protocols};
use self::io::{FallbackIo, HttpIo};
use self::negotiated::{Negotiated, Questions};
use super::connector::Connector;
use super::error::{BoxError, ConnectError};
use super::multiplex::Multiplex;
use super::pool::{Direct, Found, Target};
use super::stats::TargetStats;
#[cfg(feature = "tls")]
use super::tls::{TlsConnector, TlsIo};
use crate::observability::Opening;

/// A connector that calls servers which speak tcpchan over channels, and others by HTTP, each
/// by what it speaks.
///
/// So clients can move to tcpchan before their servers, in any order, and back
/// ([how to](crate::guide::deploying)). It goes around a [`Multiplex`] and under hyper-util's
/// client. A channel or connection is chosen before any byte of a request is sent, so no
/// request is sent twice.
///
/// - **Over TLS**, ALPN tells: `Fallback::tls` (feature `tls`) offers `tcpchan/1` and HTTP. A connection on
///   which the server chose HTTP goes to a caller who waits for it.
/// - **Without TLS**, the first answer tells, if
///   [`first_answer`](FallbackConfig::first_answer) is on. That is not safe from whoever can
///   change bytes on the path.
///
/// Each connection is chosen by itself: a load balancer may have servers of both kinds behind
/// it. Callers get channels while a connection of tcpchan can carry them.
///
/// ```no_run
/// use http_body_util::Empty;
/// use hyper_util::client::legacy::Client;
/// use hyper_util::rt::TokioExecutor;
/// use tcpchan::client::{Fallback, Multiplex, TlsConnector};
///
/// # fn make(config: tokio_rustls::rustls::ClientConfig) {
/// let connector = Fallback::tls(Multiplex::new(TlsConnector::new(config)));
/// let client: Client<_, Empty<bytes::Bytes>> =
///     Client::builder(TokioExecutor::new()).build(connector);
/// # }
/// ```
///
/// Keep the client's own pool on: it keeps the connections that carry HTTP, as without tcpchan.
/// It keeps no channel, so each request has one of its own. With `pool_max_idle_per_host(0)`
/// each request to a server of HTTP would make a connection. A client that has a connection of
/// HTTP in its pool uses it for as long as it is there, and asks this connector for no channel.
///
/// Channels are balanced by a [`Discovery`](super::Discovery) of the multiplex. Connections of
/// HTTP go to the address that the connector finds, as without tcpchan.
///
/// It is not for `Requests`, which has no pool of connections.
#[derive(Clone)]
#[must_use]
pub struct Fallback<C> {
    multiplex: Multiplex<C>,
    questions: Questions,
    config: FallbackConfig,
    /// Has the connector offer these protocols, if it can.
    offer: fn(C, Protocols) -> C,
}

impl<C> Fallback<C>
where
    C: Connector + Service<Uri> + Clone,
    C::Response: Connects + 'static,
{
    /// Around the multiplex of a connector without TLS, or with TLS of its own
    /// ([`with_negotiated`](Self::with_negotiated)). For a `TlsConnector` of this crate, it is
    /// `Fallback::tls`.
    ///
    /// Without anything else set it does nothing that the multiplex does not. Its connections
    /// are shared with no other.
    pub fn new(multiplex: Multiplex<C>) -> Self {
        let questions = Questions {
            negotiated: Arc::new(|_| Negotiated::Nothing),
            connected: |io| of::<C::Response>(io).map_or_else(Connected::new, Connects::connected),
        };
        Fallback::around(multiplex, questions, |connector, _| connector)
    }

    /// Has a TLS connector of your own tell what its handshakes have chosen. Its configuration
    /// must offer `tcpchan/1` and HTTP, and no `tcpchan/1` while
    /// [`Protocols::Http`] is set.
    ///
    /// ```
    /// use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
    /// use hyper_util::client::legacy::connect::HttpConnector;
    /// use tcpchan::client::{Fallback, Multiplex, Negotiated};
    ///
    /// fn over(connector: HttpsConnector<HttpConnector>) -> Fallback<HttpsConnector<HttpConnector>> {
    ///     Fallback::new(Multiplex::new(connector)).with_negotiated(|io| match io {
    ///         MaybeHttpsStream::Http(_) => Negotiated::Nothing,
    ///         MaybeHttpsStream::Https(tls) => {
    ///             Negotiated::by_alpn(tls.inner().get_ref().1.alpn_protocol())
    ///         }
    ///     })
    /// }
    /// ```
    pub fn with_negotiated(
        self,
        negotiated: impl Fn(&C::Response) -> Negotiated + Send + Sync + 'static,
    ) -> Self {
        let negotiated = move |io: &dyn Any| of(io).map_or(Negotiated::Nothing, &negotiated);
        let questions = Questions {
            negotiated: Arc::new(negotiated),
            ..self.questions
        };
        Fallback { questions, ..self }.set_up()
    }
}

#[cfg(feature = "tls")]
impl<T> Fallback<TlsConnector<T>>
where
    TlsConnector<T>: Connector + Service<Uri, Response = TlsIo<T::Response>> + Clone,
    T: Service<Uri>,
    T::Response: Connects + 'static,
{
    /// Around the multiplex of a [`TlsConnector`], which then offers `tcpchan/1`, and after it
    /// the `alpn_protocols` of its configuration, or `http/1.1` if that has none.
    ///
    /// List `h2` there if the client speaks it: hyper-util's panics on a server's `h2` without
    /// its feature `http2`.
    ///
    /// A server that chooses no protocol is called by HTTP/1.1.
    pub fn tls(multiplex: Multiplex<TlsConnector<T>>) -> Self {
        let questions = Questions {
            negotiated: Arc::new(|io| {
                let io = of::<TlsIo<T::Response>>(io);
                Negotiated::by_alpn(io.and_then(|io| io.inner().get_ref().1.alpn_protocol()))
            }),
            connected: |io| of::<TlsIo<T::Response>>(io).map_or_else(Connected::new, connected),
        };
        Fallback::around(multiplex, questions, TlsConnector::offering)
    }
}

impl<C: Connector + Clone> Fallback<C> {
    fn around(multiplex: Multiplex<C>, questions: Questions, offer: fn(C, Protocols) -> C) -> Self {
        let config = FallbackConfig::default();
        let fallback = Fallback {
            multiplex,
            questions,
            config,
            offer,
        };
        fallback.set_up()
    }

    /// The same connector with this configuration, which shares its connections with no other.
    pub fn with_config(self, config: FallbackConfig) -> Self {
        Fallback { config, ..self }.set_up()
    }

    /// When it falls back.
    pub fn config(&self) -> &FallbackConfig {
        &self.config
    }

    fn set_up(self) -> Self {
        let protocols = self.config.get_protocols();
        let asks = protocols != Protocols::Tcpchan;
        let fallback = asks.then(|| (self.questions.clone(), self.config.clone()));
        let connector = (self.offer)(self.multiplex.connector().clone(), protocols);
        let mut settings = self.multiplex.settings().clone();
        settings.fallback = fallback;
        Fallback {
            multiplex: self.multiplex.over(connector, settings),
            ..self
        }
    }
}

impl<C> Fallback<C> {
    /// The multiplex, for what is set of it and for its connections. To call it is an error
    /// where a server speaks HTTP.
    pub fn multiplex(&self) -> &Multiplex<C> {
        &self.multiplex
    }

    /// As [`Multiplex::stats`]. [`TargetStats::speaks_http`] tells which targets are called by
    /// HTTP.
    pub fn stats(&self) -> Vec<TargetStats> {
        self.multiplex.stats()
    }

    /// As [`Multiplex::stats_of`].
    pub fn stats_of(&self, uri: &Uri) -> Option<TargetStats> {
        self.multiplex.stats_of(uri)
    }
}

impl<C: fmt::Debug> fmt::Debug for Fallback<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fallback")
            .field("multiplex", &self.multiplex)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

fn of<T: 'static>(io: &dyn Any) -> Option<&T> {
    io.downcast_ref()
}

/// What hyper-util's client is to learn of a connection with TLS.
#[cfg(feature = "tls")]
fn connected<T: Connects>(io: &TlsIo<T>) -> Connected {
    let (tcp, tls) = io.inner().get_ref();
    let connected = tcp.inner().connected();
    match tls.alpn_protocol() == Some(b"h2") {
        true => connected.negotiated_h2(),
        false => connected,
    }
}

/// The channel or connection to come. To drop it loses no dial for other callers.
#[must_use = "futures do nothing unless polled"]
pub struct FallbackConnecting<T>(Connecting<T>);

type Connecting<T> = Pin<Box<dyn Future<Output = Result<FallbackIo<T>, ConnectError>> + Send>>;

impl<T> fmt::Debug for FallbackConnecting<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackConnecting").finish_non_exhaustive()
    }
}

impl<T> Future for FallbackConnecting<T> {
    type Output = Result<FallbackIo<T>, ConnectError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl<C> Service<Uri> for Fallback<C>
where
    C: Service<Uri> + Clone + Send + 'static,
    C::Response: Read + Write + Send + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send,
{
    type Response = FallbackIo<C::Response>;
    type Error = ConnectError;
    type Future = FallbackConnecting<C::Response>;

    /// Always ready: the inner connector is asked when a dial is needed.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        FallbackConnecting(Box::pin(self.clone().open(uri)))
    }
}

impl<C> Fallback<C>
where
    C: Service<Uri> + Clone + Send + 'static,
    C::Response: Read + Write + Send + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send,
{
    /// As [`Multiplex::prewarm`]. It also ends well when the server is found to speak HTTP, and
    /// leaves no connection then.
    ///
    /// # Errors
    ///
    /// As those of [`Multiplex::prewarm`].
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, or in one without time (`enable_time`).
    pub fn prewarm(
        &self,
        uri: &Uri,
        connections: usize,
    ) -> impl Future<Output = Result<(), ConnectError>> + Send + use<C> {
        let opens = self.config.get_protocols() != Protocols::Http;
        let target = opens.then(|| self.multiplex.target(uri));
        async move {
            let Some(target) = target.filter(|target| !target.calls_http()) else {
                return Ok(());
            };
            let prewarmed = target.prewarm(connections).await;
            prewarmed.or_else(|error| error.met().map(drop).ok_or(error))
        }
    }

    async fn open(self, uri: Uri) -> Result<FallbackIo<C::Response>, ConnectError> {
        let mut opening = Opening::begin(self.multiplex.labels_of(&uri));
        let opened = self.choose(uri, &mut opening).await;
        opening.ends(opened.as_ref().err().map(ConnectError::word));
        opened
    }

    async fn choose(
        self,
        uri: Uri,
        opening: &mut Opening,
    ) -> Result<FallbackIo<C::Response>, ConnectError> {
        let within = self.multiplex.pool().get_open_timeout();
        let until = Instant::now() + within;
        let target = self.multiplex.target(&uri);
        let opens = self.config.get_protocols() != Protocols::Http;
        loop {
            if opens {
                let opened = match target.open() {
                    Found::Ready(opened) => opened,
                    Found::Waits(waiting) => {
                        opening.waits();
                        let opened = timeout_at(until, waiting).await;
                        let late = |_| Err(ConnectError::timeout(within, target.error()));
                        opened.unwrap_or_else(late)
                    }
                };
                match opened {
                    Ok(channel) => return Ok(FallbackIo::Channel(channel)),
                    Err(error) => match error.met() {
                        // TLS has told: the connection that was dialled goes to one caller.
                        Some(met) => {
                            if let Some(io) = met.take(self.runtime().is_some()) {
                                return Ok(self.http(io, &target, Negotiated::Http));
                            }
                        }
                        None => return Err(error),
                    },
                }
            }
            opening.waits();
            match self.dial(&uri, until).await? {
                Direct::Http(io, negotiated) => return Ok(self.http(io, &target, negotiated)),
                Direct::Connection(connection) if opens => target.adopt(connection),
                Direct::Connection(_) => {
                    let error = "TLS chose tcpchan, which is off: take it out of the ALPN";
                    return Err(ConnectError::dial(error));
                }
            }
        }
    }

    fn http(
        &self,
        io: C::Response,
        target: &Arc<Target>,
        negotiated: Negotiated,
    ) -> FallbackIo<C::Response> {
        let by_tls = negotiated == Negotiated::Http;
        target.note_http(by_tls);
        let asked = (!by_tls).then(|| target.clone());
        FallbackIo::Http(HttpIo::new(io, self.questions.connected, asked))
    }

    fn runtime(&self) -> Option<&Handle> {
        self.multiplex.runtime()
    }

    /// Dials for this caller alone, who takes the dial with it when it goes away.
    fn dial(
        &self,
        uri: &Uri,
        until: Instant,
    ) -> impl Future<Output = Result<Direct<C::Response>, ConnectError>> + use<C> {
        let runtime = self.runtime().cloned().unwrap_or_else(Handle::current);
        let mut dial = JoinSet::new();
        dial.spawn_on(self.multiplex.dialler(uri).direct(until), &runtime);
        async move {
            match dial.join_next().await {
                Some(Ok(dialled)) => dialled,
                Some(Err(error)) if error.is_panic() => {
                    Err(ConnectError::dial("the dial panicked"))
                }
                _ => Err(ConnectError::dial(
                    "the runtime for connections was shut down",
                )),
            }
        }
    }
}

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper::rt::{Read, Write};
use hyper_util::client::legacy::connect::{Connected, Connection as Connects};
use hyper_util::rt::TokioIo;
use tokio::runtime::Handle;
use tower_service::Service;

use super::config::PoolConfig;
use super::connector::Connector;
use super::error::{BoxError, ConnectError};
use super::pool::{Dialler, Settings, Target, Targets};
use super::stats::TargetStats;
use super::user_info::without_user_info;
use crate::config::Config;
use crate::driver::{Channel, Describe};
use crate::observability::{self, Label, TargetLabels};

/// A connector that opens channels on few connections per scheme and authority.
///
/// The first call dials through the inner connector. Calls that come meanwhile share that
/// dial. A connection that is suspect, drains or has ended gets no new channels and is
/// replaced; [`PoolConfig`] has the settings. Clones share their connections.
///
/// It goes where the connector went, here under hyper-util's client:
///
/// ```
/// use http_body_util::Empty;
/// use hyper_util::client::legacy::{Client, connect::HttpConnector};
/// use hyper_util::rt::TokioExecutor;
/// use tcpchan::client::Multiplex;
///
/// let connector = Multiplex::new(HttpConnector::new());
/// let client: Client<_, Empty<bytes::Bytes>> =
///     Client::builder(TokioExecutor::new()).build(connector.clone());
/// for target in connector.stats() {
///     println!("{:?}: {} connections", target.authority, target.connections.len());
/// }
/// # let _ = client;
/// ```
///
/// # Runtimes
///
/// A dial, the task of its connection and the pool's timers run on the runtime of the
/// caller that first needs them, or on that of [`with_runtime`](Self::with_runtime).
///
/// - If that runtime ends, its connections end, with an error for what is on them. The
///   next caller's runtime takes over, and callers that wait lose nothing.
/// - If it is busy or not run, as one of a single thread between two `block_on`s, its
///   connections get no new channels once their task was overdue for the suspect time of
///   [`Config::answer_within`]. They end after the dead time.
///
/// # Panics
///
/// A call that is polled outside a tokio runtime, or in one without time
/// (`enable_time`).
#[derive(Clone)]
#[must_use]
pub struct Multiplex<C> {
    inner: C,
    config: Config,
    describe: Option<Describe>,
    targets: Arc<Targets>,
    /// The metrics' labels of targets, if they have any.
    labels: Option<Arc<TargetLabels>>,
}

impl<C> Multiplex<C> {
    /// Wraps a connector: a `tower::Service<Uri>` whose response is hyper's
    /// I/O, such as hyper-util's `HttpConnector` (with `set_nodelay(true)`).
    pub fn new(inner: C) -> Self
    where
        C: Connector,
    {
        let config = Config::default();
        let (suspect_after, dead) = config.core().get_answer_within();
        let settings = Settings {
            pool: PoolConfig::default(),
            suspect_after,
            dead,
            runtime: None,
        };
        Multiplex {
            targets: Targets::new(settings),
            inner,
            config,
            describe: None,
            labels: None,
        }
    }

    /// The same connector with this configuration of its connections, which it shares with no
    /// other.
    pub fn with_config(self, config: Config) -> Self {
        let (suspect_after, dead) = config.core().get_answer_within();
        let settings = Settings {
            suspect_after,
            dead,
            ..self.settings()
        };
        Multiplex {
            config,
            ..self.with(settings)
        }
    }

    /// The same connector with these settings of its pool, whose connections it shares with no
    /// other.
    pub fn with_pool(self, pool: PoolConfig) -> Self {
        let settings = Settings {
            pool,
            ..self.settings()
        };
        self.with(settings)
    }

    /// The same connector with connections of its own, which are dialled and run on this
    /// runtime.
    ///
    /// By default a connection runs on the runtime of the caller that had it dialled, and ends
    /// with it. If a program calls from several runtimes, give the connections one that stays
    /// and is not blocked.
    ///
    /// Once the runtime has shut down, every call fails.
    pub fn with_runtime(self, runtime: Handle) -> Self {
        let settings = Settings {
            runtime: Some(runtime),
            ..self.settings()
        };
        self.with(settings)
    }

    /// The same connector with connections of its own, which pass on what the inner connector
    /// says of them: its [extras](Connected::extra), which hyper-util's client puts into the
    /// extensions of each response.
    ///
    /// Without this, they have hyper-util's `HttpInfo`, the addresses, if the TCP socket of the
    /// connection can be found.
    pub fn with_extras(self) -> Self
    where
        C: Service<Uri>,
        C::Response: Connects + 'static,
    {
        let (describe, settings): (Describe, _) = (of_connector::<C::Response>, self.settings());
        Multiplex {
            describe: Some(describe),
            ..self.with(settings)
        }
    }

    /// The same connector with connections of its own, whose metrics have the labels
    /// `server_address` and `server_port` ([`observability`](crate::observability)).
    ///
    /// A recorder keeps a series for ever, so only the first `most` targets get labels of
    /// their own. All others are `other`. A target has some twenty series, three
    /// histograms with a series for each bucket, and more for each kind of error.
    #[cfg(feature = "metrics")]
    pub fn with_target_labels(self, most: usize) -> Self {
        let settings = self.settings();
        Multiplex {
            labels: Some(Arc::new(TargetLabels::new(most))),
            ..self.with(settings)
        }
    }

    fn with(self, settings: Settings) -> Self {
        Multiplex {
            targets: Targets::new(settings),
            ..self
        }
    }

    fn settings(&self) -> Settings {
        Settings::clone(&self.targets.settings)
    }

    /// What was done for each target, and the state of its connections. It looks at each target:
    /// if there are many, ask [`stats_of`](Self::stats_of) for the one that you mean.
    pub fn stats(&self) -> Vec<TargetStats> {
        self.targets.stats()
    }

    /// The same for the target of a URI, which is its scheme and authority; `None` if there was
    /// no call for it. The cost does not grow with the number of targets.
    pub fn stats_of(&self, uri: &Uri) -> Option<TargetStats> {
        self.targets.stats_of(&without_user_info(uri))
    }
}

impl<C: fmt::Debug> fmt::Debug for Multiplex<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Multiplex")
            .field("inner", &self.inner)
            .field("config", &self.config)
            .field("pool", &self.targets.settings.pool)
            .finish_non_exhaustive()
    }
}

/// The channel to come. Dropping it loses no dial for other callers.
#[must_use = "futures do nothing unless polled"]
pub struct Connecting(Pin<Box<dyn Future<Output = Result<Channel, ConnectError>> + Send>>);

impl fmt::Debug for Connecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connecting").finish_non_exhaustive()
    }
}

impl Future for Connecting {
    type Output = Result<Channel, ConnectError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl<C> Service<Uri> for Multiplex<C>
where
    C: Service<Uri> + Clone + Send + 'static,
    C::Response: Read + Write + Send + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send,
{
    type Response = Channel;
    type Error = ConnectError;
    type Future = Connecting;

    /// Always ready: the inner connector is asked when a dial is needed.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Connecting {
        let (target, labels) = (self.target(&uri), self.labels_of(&uri));
        let open = observability::opening(target.open(), labels, ConnectError::word);
        Connecting(Box::pin(open))
    }
}

impl<C> Multiplex<C>
where
    C: Service<Uri> + Clone + Send + 'static,
    C::Response: Read + Write + Send + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send,
{
    /// Dials before there is work. Waits until `connections` connections to the URI's scheme
    /// and authority have answered their hello. Those that are up count, and
    /// [`PoolConfig::connections`] is the limit.
    ///
    /// Call it from what checks whether the program is ready; it may be called again and again.
    /// Connections without work stay for half a minute at least, or for good if the start of
    /// `connections` keeps them. Cancel safe: what is dialled stays.
    ///
    /// # Errors
    ///
    /// A dial's own error, if it fails and no other is running. A timeout after
    /// [`open_timeout`](PoolConfig::open_timeout).
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, or in one without time (`enable_time`).
    pub fn prewarm(
        &self,
        uri: &Uri,
        connections: usize,
    ) -> impl Future<Output = Result<(), ConnectError>> + Send + use<C> {
        self.target(uri).prewarm(connections)
    }

    fn labels_of(&self, uri: &Uri) -> Vec<Label> {
        let labels = self.labels.as_deref();
        labels.map_or_else(Vec::new, |labels| labels.of(uri.host(), uri.port_u16()))
    }

    fn target(&self, uri: &Uri) -> Arc<Target> {
        let uri = without_user_info(uri);
        self.targets.target(&uri, || {
            Box::new(Dialler {
                connector: self.inner.clone(),
                uri: uri.clone().into_owned(),
                config: self.config.clone(),
                within: self.targets.settings.pool.open_timeout,
                target: observability::Target::new(
                    uri.host(),
                    uri.port_u16(),
                    self.labels_of(&uri),
                ),
                describe: self.describe,
            })
        })
    }
}

impl Connects for Channel {
    fn connected(&self) -> Connected {
        self.connect_info()
    }
}

fn of_connector<T: Connects + 'static>(io: &dyn Any) -> Connected {
    let io = io.downcast_ref::<TokioIo<T>>();
    io.map_or_else(Connected::new, |io| io.inner().connected())
}

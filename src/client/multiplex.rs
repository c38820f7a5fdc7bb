use std::any::Any;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper::rt::{Read, Write};
use hyper_util::client::legacy::connect::{Connected, Connection as Connects};
use hyper_util::rt::TokioIo;
use tokio::runtime::Handle;
use tower_service::Service;

use super::config::PoolConfig;
use super::connect_to::ConnectTo;
use super::connecting::Connecting;
use super::connector::Connector;
use super::discovery::Discovery;
use super::error::{BoxError, ConnectError};
use super::pool::{DialTo, Dialler, Target, Targets};
use super::settings::Settings;
use super::stats::TargetStats;
use super::user_info::without_user_info;
use crate::config::Config;
use crate::driver::{Channel, Connection, ConnectionStats};
#[cfg(feature = "metrics")]
use crate::observability::TargetLabels;
use crate::observability::{self, Label};

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
/// While servers have no tcpchan yet, a [`Fallback`](super::Fallback) goes around it.
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
    /// If a discovery resolves names.
    dial_to: Option<DialTo<C>>,
    targets: Arc<Targets>,
}

impl<C> Multiplex<C> {
    /// Wraps a connector: a `tower::Service<Uri>` whose response is hyper's
    /// I/O, such as hyper-util's `HttpConnector`. TCP_NODELAY and the other options of
    /// [`Config::socket`](crate::Config::socket) are set on its sockets. If the socket is hidden in a
    /// type that this crate does not know, the connector has to set them itself
    /// ([`SocketProfile::apply`](crate::SocketProfile::apply)).
    ///
    /// Everything else is set by a method `with_x`, and read by the method `x`. Each `with_x`
    /// returns a connector that shares its connections with no other.
    ///
    /// ```
    /// use hyper_util::client::legacy::connect::HttpConnector;
    /// use tcpchan::client::{Multiplex, PoolConfig};
    ///
    /// let pool = PoolConfig::default().connections(2..=4)?;
    /// let connector = Multiplex::new(HttpConnector::new()).with_pool(pool);
    /// assert_eq!(connector.pool().get_connections(), 2..=4);
    /// # Ok::<(), tcpchan::ConfigError>(())
    /// ```
    pub fn new(inner: C) -> Self
    where
        C: Connector,
    {
        Multiplex::with_settings(inner, Settings::default())
    }

    pub(super) fn with_settings(inner: C, settings: Settings) -> Self {
        Multiplex {
            inner,
            dial_to: None,
            targets: Targets::new(settings),
        }
    }

    /// The same connector with this configuration of its connections.
    pub fn with_config(self, config: Config) -> Self {
        self.with(|settings| settings.config = config)
    }

    /// The configuration of its connections.
    pub fn config(&self) -> &Config {
        &self.settings().config
    }

    /// The same connector with these settings of its pool.
    pub fn with_pool(self, pool: PoolConfig) -> Self {
        self.with(|settings| settings.pool = pool)
    }

    /// The settings of its pool.
    pub fn pool(&self) -> &PoolConfig {
        &self.settings().pool
    }

    /// The same connector with a discovery of its targets' addresses: each address that a
    /// name resolves to gets connections of its own. Channels are balanced over all of them,
    /// and changes are followed.
    ///
    /// Without it the inner connector resolves a name at each dial, and takes the first
    /// address that connects. All channels may then go to one server.
    ///
    /// The URI, the `host` header and the name in TLS stay as they are. A target whose host is
    /// an address is dialled as without it.
    pub fn with_discovery(self, discovery: Discovery) -> Self
    where
        C: ConnectTo + Clone + Send + 'static,
        C::Response: Read + Write + Send + 'static,
        C::Error: Into<BoxError>,
        C::Future: Send,
    {
        Multiplex {
            dial_to: Some(Dialler::dial_to),
            ..self.with(|settings| settings.discovery = Some(discovery))
        }
    }

    /// The discovery of its targets' addresses, if it has one.
    #[must_use]
    pub fn discovery(&self) -> Option<&Discovery> {
        self.settings().discovery.as_ref()
    }

    /// The same connector with connections that are dialled and run on this runtime.
    ///
    /// By default a connection runs on the runtime of the caller that had it dialled, and ends
    /// with it. If a program calls from several runtimes, give the connections one that stays
    /// and is not blocked.
    ///
    /// Once the runtime has shut down, every call fails.
    pub fn with_runtime(self, runtime: Handle) -> Self {
        self.with(|settings| settings.runtime = Some(runtime))
    }

    /// The runtime of its connections, if it is not that of the callers.
    #[must_use]
    pub fn runtime(&self) -> Option<&Handle> {
        self.settings().runtime.as_ref()
    }

    /// The same connector with connections that pass on what the inner connector says of
    /// them: its [extras](Connected::extra), which hyper-util's client puts into the
    /// extensions of each response.
    ///
    /// Without this, they have hyper-util's `HttpInfo`, the addresses, if the TCP socket of the
    /// connection can be found.
    pub fn with_extras(self) -> Self
    where
        C: Service<Uri>,
        C::Response: Connects + 'static,
    {
        self.with(|settings| settings.describe = Some(of_connector::<C::Response>))
    }

    /// Whether the inner connector's extras are passed on.
    #[must_use]
    pub fn extras(&self) -> bool {
        self.settings().describe.is_some()
    }

    /// The same connector with connections whose metrics have the labels
    /// `server_address` and `server_port` ([`observability`](crate::observability)).
    ///
    /// A recorder keeps a series for ever, so only the first `most` targets get labels of
    /// their own. All others are `other`. A target has some twenty series, three
    /// histograms with a series for each bucket, and more for each kind of error.
    #[cfg(feature = "metrics")]
    pub fn with_target_labels(self, most: usize) -> Self {
        self.with(|settings| settings.labels = Some(Arc::new(TargetLabels::new(most))))
    }

    /// How many targets have labels of their own in the metrics, if any.
    #[cfg(feature = "metrics")]
    #[must_use]
    pub fn target_labels(&self) -> Option<usize> {
        self.settings().labels.as_ref().map(|labels| labels.most())
    }

    /// The connector that it dials with.
    pub fn connector(&self) -> &C {
        &self.inner
    }

    /// The same with this connector in place of its own.
    pub(super) fn over(self, inner: C, settings: Settings) -> Self {
        Multiplex {
            inner,
            targets: Targets::new(settings),
            ..self
        }
    }

    pub(super) fn with(self, set: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.settings().clone();
        set(&mut settings);
        Multiplex {
            targets: Targets::new(settings),
            ..self
        }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.targets.settings
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

    /// The shortest round trip of the target's connections that answer.
    #[cfg(feature = "requests")]
    pub(super) fn rtt_of(&self, uri: &Uri) -> Option<std::time::Duration> {
        self.targets.find(&without_user_info(uri))?.rtt()
    }

    /// The connections of the target of a URI, those that drain too, with their peers: for
    /// people who look. It costs a system call for each connection.
    pub fn connections(&self, uri: &Uri) -> Vec<ConnectionStats> {
        let connections = self.targets.connections(&without_user_info(uri));
        connections.iter().map(Connection::snapshot).collect()
    }
}

impl<C: fmt::Debug> fmt::Debug for Multiplex<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Multiplex")
            .field("inner", &self.inner)
            .field("settings", self.settings())
            .finish_non_exhaustive()
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
        Connecting::new(self.target(&uri), self.labels_of(&uri))
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

    pub(super) fn labels_of(&self, uri: &Uri) -> Vec<Label> {
        let labels = self.settings().labels.as_deref();
        labels.map_or_else(Vec::new, |labels| labels.of(uri.host(), uri.port_u16()))
    }

    pub(super) fn target(&self, uri: &Uri) -> Arc<Target> {
        let uri = without_user_info(uri);
        self.targets.target(&uri, || Box::new(self.dialler(&uri)))
    }

    pub(super) fn dialler(&self, uri: &Uri) -> Dialler<C> {
        let settings = self.settings();
        let labels = self.labels_of(uri);
        Dialler {
            connector: self.inner.clone(),
            dial_to: self.dial_to,
            uri: without_user_info(uri).into_owned(),
            config: settings.config.clone(),
            within: settings.pool.open_timeout,
            target: observability::Target::new(uri.host(), uri.port_u16(), labels),
            describe: settings.describe,
            fallback: settings.fallback.clone(),
        }
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

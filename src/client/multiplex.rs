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
use tower_service::Service;

use super::config::PoolConfig;
use super::dial::Dialler;
use super::error::{BoxError, ConnectError};
use super::pool::{Pool, Settings};
use super::stats::TargetStats;
use crate::config::Config;
use crate::driver::{Channel, Tell};

/// A connector that opens channels on few connections per scheme and authority.
///
/// The first call dials through the inner connector; calls that come
/// meanwhile share that dial. Connections are watched: one that is late,
/// drains or has ended gets no new channels and is replaced, as
/// [`PoolConfig`] says. Clones share their connections.
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
/// # Panics
///
/// A call that is polled outside a tokio runtime, or in one without time
/// (`enable_time`).
#[derive(Clone)]
#[must_use]
pub struct Multiplex<C> {
    inner: C,
    config: Config,
    tell: Option<Tell>,
    settings: Arc<Settings>,
    pool: Arc<Pool>,
}

impl<C> Multiplex<C> {
    /// Wraps a connector: a `tower::Service<Uri>` whose response is hyper's
    /// I/O, such as hyper-util's `HttpConnector` (with `set_nodelay(true)`).
    pub fn new(inner: C) -> Self {
        let (config, pool) = Default::default();
        Multiplex::with(inner, config, pool, None)
    }

    /// The same connector with connections of this configuration, which it
    /// shares with no other.
    pub fn with_config(self, config: Config) -> Self {
        Multiplex::with(self.inner, config, self.settings.pool.clone(), self.tell)
    }

    /// The same connector with connections that are kept like this, which it
    /// shares with no other.
    pub fn with_pool(self, pool: PoolConfig) -> Self {
        Multiplex::with(self.inner, self.config, pool, self.tell)
    }

    /// The same connector with connections, which it shares with no other, of which a
    /// hyper-util client learns what the inner connector tells: the
    /// [extras](Connected::extra) that are in the extensions of each response.
    ///
    /// It always learns hyper-util's `HttpInfo`, the addresses, where a connection's
    /// TCP socket can be found.
    pub fn with_extras(self) -> Self
    where
        C: Service<Uri>,
        C::Response: Connects + 'static,
    {
        let (tell, pool): (Tell, _) = (of_connector::<C::Response>, self.settings.pool.clone());
        Multiplex::with(self.inner, self.config, pool, Some(tell))
    }

    fn with(inner: C, config: Config, pool: PoolConfig, tell: Option<Tell>) -> Self {
        let late = config.suspect_after;
        Multiplex {
            inner,
            config,
            tell,
            settings: Arc::new(Settings { pool, late }),
            pool: Arc::default(),
        }
    }

    /// What was done for each target, and how its connections are.
    pub fn stats(&self) -> Vec<TargetStats> {
        self.pool.stats()
    }

    /// The same for the URI's target, if it is known.
    #[cfg(feature = "requests")]
    pub(super) fn stats_of(&self, uri: &Uri) -> Option<TargetStats> {
        self.pool.stats_of(uri)
    }
}

impl<C: fmt::Debug> fmt::Debug for Multiplex<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Multiplex")
            .field("inner", &self.inner)
            .field("config", &self.config)
            .field("pool", &self.settings.pool)
            .finish_non_exhaustive()
    }
}

/// The channel to come. Dropping it loses no dial for other callers.
///
/// Poll it, or drop it: while the target takes no more channels, callers are
/// woken one for each channel that ends, and one that is not polled then keeps
/// the next waiting until another channel ends or its
/// [`open_timeout`](PoolConfig::open_timeout) is over.
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
        let target = self.pool.target(&uri, &self.settings, || {
            Box::new(Dialler {
                connector: self.inner.clone(),
                uri: uri.clone(),
                config: self.config.clone(),
                tell: self.tell,
            })
        });
        Connecting(Box::pin(target.open()))
    }
}

impl Connects for Channel {
    fn connected(&self) -> Connected {
        self.told()
    }
}

fn of_connector<T: Connects + 'static>(io: &dyn Any) -> Connected {
    let io = io.downcast_ref::<TokioIo<T>>();
    io.map_or_else(Connected::new, |io| io.inner().connected())
}

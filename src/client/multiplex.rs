use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper::rt::{Read, Write};
use hyper_util::client::legacy::connect::{Connected, Connection as Connects};
use hyper_util::rt::TokioIo;
use tower_service::Service;

use super::pool::{self, Pool, Slot};
use crate::config::Config;
use crate::driver::{Channel, Connection};

/// A connector that opens channels on one connection per scheme and authority.
///
/// The first call dials through the inner connector; calls that come
/// meanwhile share that dial. A connection that has ended or drains is
/// replaced by the next call.
#[derive(Clone, Debug)]
pub struct Multiplex<C> {
    inner: C,
    config: Config,
    pool: Pool,
}

impl<C> Multiplex<C> {
    /// Wraps a connector: a `tower::Service<Uri>` whose response is hyper's
    /// I/O, such as hyper-util's `HttpConnector` (with `set_nodelay(true)`).
    pub fn new(inner: C) -> Self {
        Multiplex {
            inner,
            config: Config::default(),
            pool: Pool::default(),
        }
    }

    /// The configuration of connections that are dialled from now on.
    pub fn with_config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why no channel could be had. Cloned for every caller that shared the dial.
#[derive(Clone, Debug)]
pub struct ConnectError(Arc<BoxError>);

impl ConnectError {
    pub(super) fn new(error: BoxError) -> Self {
        ConnectError(Arc::new(error))
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no channel to the target")
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&**self.0)
    }
}

/// The channel to come. Dropping it loses no dial for other callers.
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
        let this = self.clone();
        Connecting(Box::pin(async move {
            let slot = this.slot(&uri);
            let connection = pool::connection(slot).await?;
            match connection.open().await {
                // It ended or drained meanwhile, and nothing was sent: once more.
                Err(_) if !connection.is_open() => {
                    let slot = this.slot(&uri);
                    let connection = pool::connection(slot).await?;
                    connection.open().await
                }
                result => result,
            }
            .map_err(|error| ConnectError::new(error.into()))
        }))
    }
}

impl<C> Multiplex<C>
where
    C: Service<Uri> + Clone + Send + 'static,
    C::Response: Read + Write + Send + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send,
{
    fn slot(&self, uri: &Uri) -> Slot {
        let dial = || dial(self.inner.clone(), uri.clone(), self.config.clone());
        self.pool.slot(uri, dial)
    }
}

async fn dial<C>(mut inner: C, uri: Uri, config: Config) -> Result<Connection, ConnectError>
where
    C: Service<Uri>,
    C::Response: Read + Write + Send + 'static,
    C::Error: Into<BoxError>,
{
    let error = |error: C::Error| ConnectError::new(error.into());
    poll_fn(|cx| inner.poll_ready(cx)).await.map_err(error)?;
    let io = inner.call(uri).await.map_err(error)?;
    Ok(Connection::client(TokioIo::new(io), config))
}

impl Connects for Channel {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

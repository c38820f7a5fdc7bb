//! A connector without its type.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout};
use tower_service::Service;

use crate::client::connect_to::ConnectTo;
use crate::client::error::{BoxError, ConnectError};
use crate::client::fallback::config::FallbackConfig;
use crate::client::fallback::negotiated::Questions;
use crate::config::Config;
use crate::driver::{Connection, Describe};
use crate::observability::{self, Origin};
use crate::proto::Role;
use crate::socket::find;

pub(in crate::client) type Dialling =
    Pin<Box<dyn Future<Output = Result<Connection, ConnectError>> + Send>>;

/// A connector and what it is asked for, without their types.
pub(in crate::client) trait Dial: Send {
    /// Dials this address, or what the connector finds.
    fn dial(&self, addr: Option<SocketAddr>) -> Dialling;
}

/// Dials an address by a connector that takes one.
pub(in crate::client) type DialTo<C> = fn(&Dialler<C>, SocketAddr) -> Dialling;

#[derive(Clone)]
pub(in crate::client) struct Dialler<C> {
    pub connector: C,
    /// If names are resolved.
    pub dial_to: Option<DialTo<C>>,
    pub uri: Uri,
    pub config: Config,
    /// How long a dial may take, up to its connection.
    pub within: Duration,
    /// As metrics and events name it.
    pub target: observability::Target,
    pub describe: Option<Describe>,
    /// What is asked where the server may speak HTTP.
    pub fallback: Option<(Questions, FallbackConfig)>,
}

impl<C> Dial for Dialler<C>
where
    C: Service<Uri> + Clone + Send + 'static,
    C::Response: Read + Write + Send + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send,
{
    fn dial(&self, addr: Option<SocketAddr>) -> Dialling {
        match (addr, self.dial_to) {
            (Some(addr), Some(dial_to)) => dial_to(self, addr),
            _ => self.dial_by(|connector, uri| connector.call(uri), None),
        }
    }
}

impl<C> Dialler<C>
where
    C: Service<Uri> + Clone + Send + 'static,
    C::Response: Read + Write + Send + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send,
{
    /// Dials an address by a connector that takes one.
    pub fn dial_to(&self, addr: SocketAddr) -> Dialling
    where
        C: ConnectTo,
    {
        let call = move |connector: &mut C, uri| connector.connect_to(uri, addr);
        self.dial_by(call, Some(addr))
    }

    fn dial_by(
        &self,
        call: impl FnOnce(&mut C, Uri) -> C::Future + Send + 'static,
        addr: Option<SocketAddr>,
    ) -> Dialling {
        let (mut dialler, within) = (self.clone(), self.within);
        Box::pin(async move {
            let dial = observability::Dial::begin(dialler.target.clone());
            let (until, io) = (Instant::now() + within, dialler.connect(call));
            let io = timeout(within, io).await;
            let of = |error: ConnectError| error.of(addr);
            let (io, dial) = told(dial, within, io.map(|io| io.map_err(of)))?;
            match dialler.fallback.is_some() {
                true => dialler.ask(io, dial, until).await,
                false => dialler.start(io, dial),
            }
        })
    }
}

/// The I/O object that was dialled; tells of a dial that failed.
pub(super) fn told<T>(
    dial: observability::Dial,
    within: Duration,
    result: Result<Result<T, ConnectError>, Elapsed>,
) -> Result<(T, observability::Dial), ConnectError> {
    match result {
        Ok(Ok(io)) => Ok((io, dial)),
        Ok(Err(error)) => {
            dial.fails(&error);
            Err(error)
        }
        Err(_) => {
            dial.times_out();
            Err(ConnectError::timeout(within, None))
        }
    }
}

impl<C> Dialler<C>
where
    C: Service<Uri>,
    C::Response: Read + Write + Send + 'static,
    C::Error: Into<BoxError>,
{
    pub(super) async fn connect(
        &mut self,
        call: impl FnOnce(&mut C, Uri) -> C::Future,
    ) -> Result<C::Response, ConnectError> {
        let connector = &mut self.connector;
        poll_fn(|cx| connector.poll_ready(cx))
            .await
            .map_err(ConnectError::dial)?;
        let io = call(connector, self.uri.clone()).await;
        io.map_err(ConnectError::dial)
    }

    /// A connection of tcpchan on this I/O object, which tells of the dial's end.
    pub(super) fn start(
        &self,
        io: C::Response,
        dial: observability::Dial,
    ) -> Result<Connection, ConnectError> {
        // Nobody accepts channels of the server's here, so none may wait.
        let mut config = self.config.clone().refuse_channels();
        config.socket = config.socket.defer_congestion(find);
        let io = TokioIo::new(io);
        if let Some(Err(error)) = find(&io).map(|tcp| config.socket.apply(tcp)) {
            let error = ConnectError::dial(error);
            dial.fails(&error);
            return Err(error);
        }
        let origin = Origin::dialled(dial);
        let connection = Connection::spawn(Role::Client, io, config, origin);
        if let Some(describe) = self.describe {
            connection.describe_with(describe);
        }
        Ok(connection)
    }
}

//! A connector without its type.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tower_service::Service;

use crate::client::error::{BoxError, ConnectError};
use crate::config::Config;
use crate::driver::{Connection, Describe};
use crate::observability::{self, Origin};
use crate::proto::Role;
use crate::socket::find;

pub(in crate::client) type Dialling =
    Pin<Box<dyn Future<Output = Result<Connection, ConnectError>> + Send>>;

/// A connector and what it is asked for, without their types.
pub(in crate::client) trait Dial: Send {
    fn dial(&self) -> Dialling;
}

pub(in crate::client) struct Dialler<C> {
    pub connector: C,
    pub uri: Uri,
    pub config: Config,
    /// How long a dial may take, up to its connection.
    pub within: Duration,
    /// As metrics and events name it.
    pub target: observability::Target,
    pub describe: Option<Describe>,
}

impl<C> Dial for Dialler<C>
where
    C: Service<Uri> + Clone + Send + 'static,
    C::Response: Read + Write + Send + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send,
{
    fn dial(&self) -> Dialling {
        let (mut connector, uri) = (self.connector.clone(), self.uri.clone());
        let (within, target) = (self.within, self.target.clone());
        // Nobody accepts channels of the server's here, so none may wait.
        let mut config = self.config.clone().refuse_channels();
        let describe = self.describe;
        config.socket = config.socket.defer_congestion(find);
        Box::pin(async move {
            let dial = observability::Dial::begin(target);
            match timeout(within, connect(&mut connector, uri, &config)).await {
                Ok(Ok(io)) => {
                    let origin = Origin::dialled(dial);
                    let connection = Connection::spawn(Role::Client, io, config, origin);
                    if let Some(describe) = describe {
                        connection.describe_with(describe);
                    }
                    Ok(connection)
                }
                Ok(Err(error)) => {
                    dial.fails(&error);
                    Err(error)
                }
                Err(_) => {
                    dial.times_out();
                    Err(ConnectError::timeout(within, None))
                }
            }
        })
    }
}

async fn connect<C>(
    connector: &mut C,
    uri: Uri,
    config: &Config,
) -> Result<TokioIo<C::Response>, ConnectError>
where
    C: Service<Uri>,
    C::Response: 'static,
    C::Error: Into<BoxError>,
{
    poll_fn(|cx| connector.poll_ready(cx))
        .await
        .map_err(ConnectError::dial)?;
    let io = connector.call(uri).await.map_err(ConnectError::dial)?;
    let io = TokioIo::new(io);
    if let Some(tcp) = find(&io) {
        config.socket.apply(tcp).map_err(ConnectError::dial)?;
    }
    Ok(io)
}

//! One dial, made by a task of its own so that no caller takes it from others.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Weak;
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;
use tower_service::Service;

use super::error::{BoxError, ConnectError};
use super::target::Target;
use crate::config::Config;
use crate::driver::{Connection, Tell};
use crate::observability;
use crate::socket::find;

pub(super) type Dialling = Pin<Box<dyn Future<Output = Result<Connection, ConnectError>> + Send>>;

/// A connector and what it is asked for, without their types.
pub(super) trait Dial: Send {
    fn dial(&self) -> Dialling;
}

pub(super) struct Dialler<C> {
    pub connector: C,
    pub uri: Uri,
    pub config: Config,
    pub tell: Option<Tell>,
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
        let (mut config, tell) = (self.config.clone(), self.tell);
        // Nobody accepts channels of the server's here, so none may wait.
        config.max_waiting = Some(0);
        config.socket = config.socket.late(find);
        Box::pin(async move {
            let dial = observability::Dial::begin(uri.host(), uri.port_u16());
            match connect(&mut connector, uri, &config).await {
                Ok(io) => {
                    let connection = dial.succeeds(|| Connection::client(io, config));
                    if let Some(tell) = tell {
                        connection.told_by(tell);
                    }
                    Ok(connection)
                }
                Err(error) => {
                    dial.fails(&error);
                    Err(error)
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

/// The place of a dial at its target, which learns of its end however it ends.
pub(super) struct Ticket {
    pub target: Weak<Target>,
    pub result: Option<Result<Connection, ConnectError>>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(target) = self.target.upgrade() {
            let lost = || Err(ConnectError::dial("the dial panicked or lost its runtime"));
            target.dialled(self.result.take().unwrap_or_else(lost));
        }
    }
}

/// Dials once, not before `start`.
pub(super) async fn run(mut ticket: Ticket, start: Instant, within: Duration) {
    if start > Instant::now() {
        tokio::time::sleep_until(start).await; // a millisecond at least
    }
    let Some(dial) = ticket.target.upgrade().map(|target| target.dial()) else {
        return;
    };
    let result = tokio::time::timeout(within, dial).await;
    ticket.result = Some(result.unwrap_or_else(|_| Err(ConnectError::timeout(within, None))));
}

//! One connection as a connector.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use http::Uri;
use tower_service::Service;

use crate::driver::{Channel, Connection};

/// The channel to come of a [`Connection`] that serves as a connector. Dropping it opens
/// nothing.
#[must_use = "futures do nothing unless polled"]
pub struct Opening {
    connection: Connection,
    /// While the peer takes no more channels. What waits borrows the connection, so it has no
    /// name, and hyper-util's client takes only futures that can be moved.
    waits: Option<Pin<Box<dyn Future<Output = io::Result<Channel>> + Send>>>,
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opening").finish_non_exhaustive()
    }
}

impl Future for Opening {
    type Output = io::Result<Channel>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Opening { connection, waits } = &mut *self;
        if let Some(waits) = waits {
            return waits.as_mut().poll(cx);
        }
        let opened = pin!(connection.open()).poll(cx);
        if opened.is_ready() {
            return opened;
        }
        let connection = connection.clone();
        let open = waits.insert(Box::pin(async move { connection.open().await }));
        open.as_mut().poll(cx)
    }
}

/// A connector for hyper clients that opens channels on this connection,
/// whatever the URI: for a connection that the other side dialled, as an
/// acceptor that dials does. It is not replaced when it ends.
impl Service<Uri> for Connection {
    type Response = Channel;
    type Error = io::Error;
    type Future = Opening;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Opening {
        Opening {
            connection: self.clone(),
            waits: None,
        }
    }
}

//! One connection as a connector.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Uri;
use tower_service::Service;

use crate::driver::{Channel, Connection};

/// A connector for hyper clients that opens channels on this connection,
/// whatever the URI: for a connection that the other side dialled, as an
/// acceptor that dials does. It is not replaced when it ends.
impl Service<Uri> for Connection {
    type Response = Channel;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Channel>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let connection = self.clone();
        Box::pin(async move { connection.open().await })
    }
}

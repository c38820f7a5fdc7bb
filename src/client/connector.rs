//! What a multiplex dials with.

use http::Uri;
use hyper::rt::{Read, Write};
use tower_service::Service;

use super::error::BoxError;

/// A connector that a [`Multiplex`](super::Multiplex) can dial with: a
/// `tower::Service<Uri>` whose response is hyper's I/O, such as hyper-util's
/// `HttpConnector`. Whatever fits is one.
///
/// A stream of tokio's goes into hyper-util's `TokioIo`:
///
/// ```
/// use hyper_util::rt::TokioIo;
/// use tcpchan::client::Multiplex;
/// use tokio::net::TcpStream;
///
/// let connector = tower::service_fn(|_: http::Uri| async {
///     TcpStream::connect("10.0.0.1:3000").await.map(TokioIo::new)
/// });
/// let multiplex = Multiplex::new(connector);
/// # let _ = multiplex;
/// ```
///
/// Without it, the compiler says what is missing:
///
/// ```compile_fail
/// # use tcpchan::client::Multiplex;
/// # use tokio::net::TcpStream;
/// let connector = tower::service_fn(|_: http::Uri| async {
///     TcpStream::connect("10.0.0.1:3000").await
/// });
/// let multiplex = Multiplex::new(connector);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no connector that a `Multiplex` can dial with",
    label = "not a connector",
    note = "a connector is a `tower::Service<http::Uri>` that is `Clone + Send + 'static`, with \
            a future that is `Send` and an error that converts into a boxed one",
    note = "its response must be hyper's I/O, `hyper::rt::Read + Write + Send + 'static`: wrap a \
            stream of tokio's in `hyper_util::rt::TokioIo`"
)]
pub trait Connector {}

#[diagnostic::do_not_recommend]
impl<C> Connector for C
where
    C: Service<Uri> + Clone + Send + 'static,
    C::Response: Read + Write + Send + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send,
{
}

//! Which socket is in the I/O object of a connection.

use std::any::Any;

use tokio::net::TcpStream;

#[cfg(feature = "server")]
use crate::rewind::Rewind;

/// The TCP socket, if it is not hidden in another type than those of tokio, hyper-util
/// and rustls.
pub(crate) fn find(io: &dyn Any) -> Option<&TcpStream> {
    let tcp = io.downcast_ref();
    #[cfg(feature = "server")]
    let tcp = tcp.or_else(|| Some(io.downcast_ref::<Rewind<TcpStream>>()?.get_ref()));
    #[cfg(feature = "client")]
    let tcp = tcp.or_else(|| of_connector(io));
    #[cfg(feature = "tls")]
    let tcp = tcp.or_else(|| under_tls(io));
    tcp
}

/// What hyper-util's or this crate's connectors make.
#[cfg(feature = "client")]
fn of_connector(io: &dyn Any) -> Option<&TcpStream> {
    use hyper_util::rt::TokioIo;

    type Plain = TokioIo<TokioIo<TcpStream>>;
    #[cfg(feature = "tls")]
    if let Some(io) = io.downcast_ref::<TokioIo<TokioIo<tokio_rustls::client::TlsStream<Plain>>>>()
    {
        return Some(io.inner().inner().get_ref().0.inner().inner());
    }
    Some(io.downcast_ref::<Plain>()?.inner().inner())
}

#[cfg(feature = "tls")]
fn under_tls(io: &dyn Any) -> Option<&TcpStream> {
    use tokio_rustls::{TlsStream, client, server};

    #[cfg(feature = "server")]
    if let Some(io) = io.downcast_ref::<server::TlsStream<Rewind<TcpStream>>>() {
        return Some(io.get_ref().0.get_ref());
    }
    if let Some(io) = io.downcast_ref::<server::TlsStream<TcpStream>>() {
        return Some(io.get_ref().0);
    }
    if let Some(io) = io.downcast_ref::<client::TlsStream<TcpStream>>() {
        return Some(io.get_ref().0);
    }
    Some(io.downcast_ref::<TlsStream<TcpStream>>()?.get_ref().0)
}

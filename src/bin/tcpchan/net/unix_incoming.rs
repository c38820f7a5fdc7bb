//! A unix listener as a stream, for an acceptor.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use tcpchan::server::ConnectionLimits;
use tokio::net::{UnixListener, UnixStream};

/// The peers have no address of IP; they get this one.
const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// The limits of a unix socket. Its peers have one address: what one does, the others must not pay
/// for.
pub fn unix_limits(limits: ConnectionLimits) -> ConnectionLimits {
    limits.clone().exempt(LOCAL.ip(), 32).unwrap_or(limits)
}

pub struct UnixIncoming(pub UnixListener);

impl Stream for UnixIncoming {
    type Item = io::Result<(UnixStream, SocketAddr)>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let accepted = ready!(self.0.poll_accept(cx));
        Poll::Ready(Some(accepted.map(|(stream, _)| (stream, LOCAL))))
    }
}

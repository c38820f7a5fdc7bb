//! A TCP listener as a stream.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use tokio::net::{TcpListener, TcpStream};

use crate::config::Config;
use crate::socket::SocketProfile;

/// A TCP listener as a stream.
pub(super) struct Incoming {
    listener: TcpListener,
    profile: SocketProfile,
}

impl Incoming {
    pub fn new(listener: TcpListener, config: &mut Config) -> Self {
        config.socket.prepare(&listener);
        let profile = config.socket.clone();
        Incoming { listener, profile }
    }
}

impl Stream for Incoming {
    type Item = io::Result<(TcpStream, SocketAddr)>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let accepted = ready!(self.listener.poll_accept(cx)).map(|(stream, addr)| {
            // A socket that is gone already says so again when it is read.
            let _ = self.profile.apply(&stream);
            (stream, addr)
        });
        Poll::Ready(Some(accepted))
    }
}

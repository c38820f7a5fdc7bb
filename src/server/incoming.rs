//! A TCP listener as a stream.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use tokio::net::{TcpListener, TcpStream};

use crate::config::Config;

/// A TCP listener as a stream.
pub(super) struct Incoming(TcpListener);

impl Incoming {
    pub fn new(listener: TcpListener, config: &mut Config) -> Self {
        config.socket.prepare(&listener);
        Incoming(listener)
    }
}

impl Stream for Incoming {
    type Item = io::Result<(TcpStream, SocketAddr)>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_accept(cx).map(Some)
    }
}

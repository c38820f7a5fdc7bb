//! A TCP listener as a stream of sockets that the runtime does not know yet. So one that is
//! refused costs it nothing.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream as Registered};

use crate::config::Config;

/// A TCP listener as a stream.
pub(super) struct Incoming(TcpListener);

impl Incoming {
    pub fn new(listener: TcpListener, config: &mut Config) -> Self {
        config.socket.prepare(&listener);
        Incoming(listener)
    }

    /// What the runtime is to serve.
    pub fn register(io: TcpStream) -> io::Result<Registered> {
        io.set_nonblocking(true)?;
        Registered::from_std(io)
    }
}

impl Stream for Incoming {
    type Item = io::Result<(TcpStream, SocketAddr)>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let accepted = match SockRef::from(&self.0).accept() {
            Ok((socket, addr)) => addr
                .as_socket()
                .map(|addr| (socket.into(), addr))
                .ok_or_else(|| io::ErrorKind::ConnectionAborted.into()),
            // The runtime is asked when there is another, or has one that has just come.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                ready!(self.0.poll_accept(cx)).and_then(|(io, addr)| Ok((io.into_std()?, addr)))
            }
            Err(error) => Err(error),
        };
        Poll::Ready(Some(accepted))
    }
}

//! A TCP listener as a stream of sockets that the runtime does not know yet. So most that are
//! refused cost it nothing.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream as Registered};

use crate::config::Config;

/// A TCP listener as a stream.
pub(super) struct Incoming {
    listener: TcpListener,
    /// The runtime is asked for the next. Only when its own accept finds none does it wait, and
    /// each that finds none costs as much as what it does for a socket. So every other one is the
    /// runtime's.
    asks: bool,
}

impl Incoming {
    pub fn new(listener: TcpListener, config: &mut Config) -> Self {
        config.socket.prepare(&listener);
        Incoming {
            listener,
            asks: false,
        }
    }

    /// What the runtime is to serve.
    pub fn register(io: TcpStream) -> io::Result<Registered> {
        io.set_nonblocking(true)?;
        Registered::from_std(io)
    }
}

impl Stream for Incoming {
    type Item = io::Result<(TcpStream, SocketAddr)>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let asks = std::mem::take(&mut self.asks);
        if !asks {
            match SockRef::from(&self.listener).accept() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Some(Err(error))),
                Ok((socket, addr)) => {
                    self.asks = true;
                    let addr = addr.as_socket().ok_or(io::ErrorKind::ConnectionAborted);
                    let accepted = addr.map(|addr| (socket.into(), addr));
                    return Poll::Ready(Some(accepted.map_err(Into::into)));
                }
            }
        }
        let accepted = ready!(self.listener.poll_accept(cx));
        Poll::Ready(Some(
            accepted.and_then(|(io, addr)| Ok((io.into_std()?, addr))),
        ))
    }
}

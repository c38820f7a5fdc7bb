//! A connection of either kind, to a client or to a service.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

use super::address::Address;

#[derive(Debug)]
pub enum Stream {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

/// Who has made a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    Tcp(SocketAddr),
    /// A process of this host, with its number where the system tells.
    Local(Option<i32>),
}

impl Client {
    /// Its address, if it has one.
    pub fn addr(self) -> Option<SocketAddr> {
        match self {
            Client::Tcp(addr) => Some(addr),
            Client::Local(_) => None,
        }
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Client::Tcp(addr) => addr.fmt(f),
            Client::Local(Some(pid)) => write!(f, "unix, process {pid}"),
            Client::Local(None) => f.write_str("unix"),
        }
    }
}

impl Stream {
    pub async fn connect(to: &Address) -> io::Result<Stream> {
        match to {
            Address::Tcp(to) => TcpStream::connect(to).await.map(Stream::Tcp),
            #[cfg(unix)]
            Address::Unix(name) => super::unix::connect(name).await.map(Stream::Unix),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// The address of this side, if it has one.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Stream::Tcp(tcp) => tcp.local_addr().ok(),
            #[cfg(unix)]
            Stream::Unix(_) => None,
        }
    }
}

/// Calls a method of whichever stream it is.
macro_rules! delegate {
    ($self:ident, $method:ident($($argument:ident),*)) => {
        match $self.get_mut() {
            Stream::Tcp(io) => Pin::new(io).$method($($argument),*),
            #[cfg(unix)]
            Stream::Unix(io) => Pin::new(io).$method($($argument),*),
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        delegate!(self, poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        delegate!(self, poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, poll_shutdown(cx))
    }
}

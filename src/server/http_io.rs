//! An HTTP connection that came to a port of tcpchan's.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(feature = "tls")]
use tokio_rustls::server::TlsStream;

use super::drain::Token;

/// An HTTP connection of a [`SharedPort`](super::SharedPort), with or without TLS.
#[derive(Debug)]
pub struct HttpIo {
    stream: Stream,
    /// Until something was read: a server that is told to stop would close it.
    unseen: Option<Token>,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream<TcpStream>>),
}

impl HttpIo {
    pub(super) fn tcp(tcp: TcpStream) -> Self {
        HttpIo {
            stream: Stream::Tcp(tcp),
            unseen: None,
        }
    }

    #[cfg(feature = "tls")]
    pub(super) fn tls(tls: TlsStream<TcpStream>) -> Self {
        HttpIo {
            stream: Stream::Tls(Box::new(tls)),
            unseen: None,
        }
    }

    /// The same, which holds a token until something was read from it.
    pub(super) fn until_read(mut self, token: Option<Token>) -> Self {
        self.unseen = token;
        self
    }

    /// The socket.
    pub fn get_ref(&self) -> &TcpStream {
        match &self.stream {
            Stream::Tcp(tcp) => tcp,
            #[cfg(feature = "tls")]
            Stream::Tls(tls) => tls.get_ref().0,
        }
    }

    /// TLS, such as for the name or the protocol that the client asked for.
    #[cfg(feature = "tls")]
    pub fn get_tls(&self) -> Option<&TlsStream<TcpStream>> {
        match &self.stream {
            Stream::Tcp(_) => None,
            Stream::Tls(tls) => Some(tls),
        }
    }
}

/// Calls a method of whichever stream it is.
macro_rules! delegate {
    ($stream:expr, $method:ident($($argument:ident),*)) => {
        match $stream {
            Stream::Tcp(io) => Pin::new(io).$method($($argument),*),
            #[cfg(feature = "tls")]
            Stream::Tls(io) => Pin::new(io).$method($($argument),*),
        }
    };
}

impl AsyncRead for HttpIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(delegate!(&mut self.stream, poll_read(cx, buf)));
        self.unseen = None;
        Poll::Ready(read)
    }
}

impl AsyncWrite for HttpIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        delegate!(&mut self.stream, poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        delegate!(&mut self.stream, poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Tcp(io) => io.is_write_vectored(),
            #[cfg(feature = "tls")]
            Stream::Tls(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(&mut self.stream, poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(&mut self.stream, poll_shutdown(cx))
    }
}

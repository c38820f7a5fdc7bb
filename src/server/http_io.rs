//! An HTTP connection that came to a port of tcpchan's.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(feature = "tls")]
use tokio_rustls::server::TlsStream;

use super::drain::Token;
use super::peer::Peer;
use crate::observability::HttpConnection;

/// Bytes of a request that are looked at for the end of its head. They are held for each
/// connection that has sent none yet.
const HEAD: usize = 16 << 10;

/// An HTTP connection of a [`SharedPort`](super::SharedPort), with or without TLS.
#[derive(Debug)]
pub struct HttpIo {
    stream: Stream,
    /// What was read to see whose the connection is, until it is read again.
    head: BytesMut,
    /// Until something was read: a server that is told to stop would close it.
    unread: Option<Token>,
    /// Counted, once it is known to be one of HTTP's: for metrics, and for the limits.
    counted: Option<(HttpConnection, Peer)>,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream<TcpStream>>),
}

impl HttpIo {
    fn new(stream: Stream) -> Self {
        HttpIo {
            stream,
            head: BytesMut::new(),
            unread: None,
            counted: None,
        }
    }

    pub(super) fn tcp(tcp: TcpStream) -> Self {
        HttpIo::new(Stream::Tcp(tcp))
    }

    #[cfg(feature = "tls")]
    pub(super) fn tls(tls: TlsStream<TcpStream>) -> Self {
        HttpIo::new(Stream::Tls(Box::new(tls)))
    }

    /// Waits until the bytes tell whether the connection is tcpchan's.
    pub(super) async fn sort(&mut self) -> io::Result<bool> {
        loop {
            let left = HEAD - self.head.len();
            let mut room = (&mut self.head).limit(left);
            let read = match &mut self.stream {
                Stream::Tcp(io) => io.read_buf(&mut room).await?,
                #[cfg(feature = "tls")]
                Stream::Tls(io) => io.read_buf(&mut room).await?,
            };
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(sorted) = sort(&self.head) {
                return Ok(sorted);
            }
        }
    }

    /// The same, known to be one of HTTP's, which holds a token until something was read
    /// from it.
    pub(super) fn until_read(mut self, token: Option<Token>, peer: Peer) -> Self {
        self.unread = token;
        self.counted = Some((HttpConnection::new(), peer));
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

/// Whether it is tcpchan or HTTP, once that is known and a request's head is whole.
fn sort(bytes: &[u8]) -> Option<bool> {
    match bytes[0] {
        0 | 1 => Some(true),
        b'!'..=b'~' | b'\r' | b'\n' => {
            let ends = |end: &[u8]| end.starts_with(b"\n\n") || end == b"\n\r\n";
            let whole = bytes.windows(3).any(ends) || bytes.ends_with(b"\n\n");
            (whole || bytes.len() == HEAD).then_some(false)
        }
        _ => Some(false), // no method begins so: HTTP's server refuses it at once
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
        if !self.head.is_empty() {
            let count = self.head.len().min(buf.remaining());
            buf.put_slice(&self.head.split_to(count));
            self.unread = None;
            return Poll::Ready(Ok(()));
        }
        let read = ready!(delegate!(&mut self.stream, poll_read(cx, buf)));
        self.unread = None;
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

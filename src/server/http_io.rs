//! An HTTP connection that came to a port of tcpchan's.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(feature = "tls")]
use tokio_rustls::rustls::ServerConnection;
#[cfg(feature = "tls")]
use tokio_rustls::server::TlsStream;

use super::drain::Token;
use super::peer::Peer;
use crate::observability::HttpConnection;
use crate::rewind::Rewind;

/// Bytes of a request that are looked at for the end of its head. They are held for each
/// connection that has sent none yet.
const HEAD: usize = 16 << 10;

#[cfg(feature = "tls")]
type Tls = TlsStream<Rewind<TcpStream>>;

/// An HTTP connection of a [`SharedPort`](super::SharedPort), with or without TLS.
#[derive(Debug)]
pub struct HttpIo {
    stream: Stream,
    /// Until something was read: a server that is told to stop would close it.
    unread: Option<Token>,
    /// Counted, once it is known to be one of HTTP's: for metrics, and for the limits.
    counted: Option<Box<(HttpConnection, Peer)>>,
}

#[derive(Debug)]
enum Stream {
    Tcp(Rewind<TcpStream>),
    #[cfg(feature = "tls")]
    Tls(Box<Rewind<Tls>>),
}

impl HttpIo {
    fn new(stream: Stream) -> Self {
        HttpIo {
            stream,
            unread: None,
            counted: None,
        }
    }

    pub(super) fn tcp(tcp: Rewind<TcpStream>) -> Self {
        HttpIo::new(Stream::Tcp(tcp))
    }

    #[cfg(feature = "tls")]
    pub(super) fn tls(tls: Tls) -> Self {
        HttpIo::new(Stream::Tls(Box::new(Rewind::new(tls))))
    }

    /// Waits until the bytes tell whether the connection is tcpchan's.
    pub(super) async fn sort(&mut self) -> io::Result<bool> {
        match &mut self.stream {
            Stream::Tcp(io) => sort(io).await,
            #[cfg(feature = "tls")]
            Stream::Tls(io) => sort(io).await,
        }
    }

    /// The same, known to be one of HTTP's, which holds a token until something was read
    /// from it.
    pub(super) fn until_read(mut self, token: Option<Token>, peer: Peer) -> Self {
        self.unread = token;
        self.counted = Some(Box::new((HttpConnection::new(), peer)));
        self
    }

    /// The socket.
    pub fn get_ref(&self) -> &TcpStream {
        match &self.stream {
            Stream::Tcp(tcp) => tcp.get_ref(),
            #[cfg(feature = "tls")]
            Stream::Tls(tls) => tls.get_ref().get_ref().0.get_ref(),
        }
    }

    /// TLS, such as for the name or the protocol that the client asked for.
    #[cfg(feature = "tls")]
    pub fn get_tls(&self) -> Option<&ServerConnection> {
        match &self.stream {
            Stream::Tcp(_) => None,
            Stream::Tls(tls) => Some(tls.get_ref().get_ref().1),
        }
    }
}

/// Reads ahead until the bytes tell.
async fn sort<T: AsyncRead + Unpin>(io: &mut Rewind<T>) -> io::Result<bool> {
    let mut seen = 0;
    loop {
        if let Some(sorted) = sorted(io.head(), seen) {
            return Ok(sorted);
        }
        seen = io.head().len();
        io.fill(HEAD).await?;
    }
}

/// Whether it is tcpchan or HTTP, once that is known and a request's head is whole. It was
/// not with the first bytes that were `seen`, so each byte is looked at a few times at most.
fn sorted(bytes: &[u8], seen: usize) -> Option<bool> {
    match *bytes.first()? {
        0 | 1 => Some(true),
        b'!'..=b'~' | b'\r' | b'\n' => {
            let ends = |end: &[u8]| end.starts_with(b"\n\n") || end == b"\n\r\n";
            let news = &bytes[seen.saturating_sub(2)..];
            let whole = news.windows(3).any(ends) || news.ends_with(b"\n\n");
            (whole || bytes.len() >= HEAD).then_some(false)
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

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_head_ends_at_the_same_byte_in_whatever_pieces_it_comes(
            head in "[a\r\n]{1,60}",
            cuts in vec(1usize..8, 60),
        ) {
            let head = head.as_bytes();
            let whole = |bytes: &[u8]| sorted(bytes, 0).is_some();
            let mut end = 0;
            for cut in cuts {
                let seen = end;
                end = head.len().min(end + cut);
                let ends = sorted(&head[..end], seen).is_some();
                prop_assert_eq!(ends, whole(&head[..end]));
                if ends {
                    break;
                }
            }
        }
    }

    /// Else a head that comes byte by byte costs the square of its length.
    #[test]
    fn the_part_of_a_head_that_was_seen_is_not_looked_at_again() {
        let head = b"GET / HTTP/1.1\n\nmore";
        assert_eq!(sorted(head, 0), Some(false));
        assert_eq!(sorted(head, head.len() - 2), None);
    }
}

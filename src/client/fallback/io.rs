//! What a call gets: a channel, or a connection that carries HTTP.

use std::any::Any;
use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection as Connects};

use crate::client::error::ConnectError;
use crate::client::pool::Target;
use crate::driver::{Channel, Describe};

/// The first byte of a peer of tcpchan, in version 1. Neither HTTP/1 nor HTTP/2 begins so.
const HELLO: u8 = 1;

/// What a call of a [`Fallback`](super::Fallback) gets.
#[derive(Debug)]
#[non_exhaustive]
pub enum FallbackIo<T> {
    /// The server speaks tcpchan.
    Channel(Channel),
    /// The server speaks HTTP: a connection of its own.
    Http(HttpIo<T>),
}

/// A connection of the inner connector that carries HTTP.
pub struct HttpIo<T> {
    io: T,
    connected: Describe,
    /// Until the first byte has come: the target is told if that is tcpchan's.
    asked: Option<Arc<Target>>,
}

impl<T> HttpIo<T> {
    pub(super) fn new(io: T, connected: Describe, asked: Option<Arc<Target>>) -> Self {
        HttpIo {
            io,
            connected,
            asked,
        }
    }

    /// The connector's I/O object.
    pub fn get_ref(&self) -> &T {
        &self.io
    }
}

impl<T: Read + Unpin> HttpIo<T> {
    /// Reads for the first time. A server that has changed to tcpchan since it was asked
    /// answers with its hello, and has seen no request.
    fn poll_first(
        &mut self,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut bytes = [0; 512];
        let room = buf.remaining().min(bytes.len());
        let mut first = ReadBuf::new(&mut bytes[..room]);
        ready!(Pin::new(&mut self.io).poll_read(cx, first.unfilled()))?;
        let target = self.asked.take();
        if let (Some(target), Some(&HELLO)) = (target, first.filled().first()) {
            target.speaks_tcpchan();
            return Poll::Ready(Err(io::Error::other(ConnectError::changed())));
        }
        buf.put_slice(first.filled());
        Poll::Ready(Ok(()))
    }
}

impl<T> fmt::Debug for HttpIo<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpIo").finish_non_exhaustive()
    }
}

/// Calls a method of whichever stream it is.
macro_rules! delegate {
    ($self:ident, $method:ident($($argument:ident),*)) => {
        match $self.get_mut() {
            FallbackIo::Channel(io) => Pin::new(io).$method($($argument),*),
            FallbackIo::Http(http) => Pin::new(&mut http.io).$method($($argument),*),
        }
    };
}

impl<T: Read + Unpin> Read for FallbackIo<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            FallbackIo::Channel(channel) => Pin::new(channel).poll_read(cx, buf),
            FallbackIo::Http(http) if http.asked.is_some() => http.poll_first(cx, buf),
            FallbackIo::Http(http) => Pin::new(&mut http.io).poll_read(cx, buf),
        }
    }
}

impl<T: Write + Unpin> Write for FallbackIo<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        delegate!(self, poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        delegate!(self, poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            FallbackIo::Channel(channel) => Write::is_write_vectored(channel),
            FallbackIo::Http(http) => http.io.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, poll_shutdown(cx))
    }
}

/// Of a channel what a [`Multiplex`](crate::client::Multiplex) says, and that hyper-util's
/// client is not to use it for a second request. Of a connection what the inner connector
/// says: whether TLS chose HTTP/2, or it goes through a proxy.
impl<T: 'static> Connects for FallbackIo<T> {
    fn connected(&self) -> Connected {
        match self {
            FallbackIo::Channel(channel) => {
                // The client's pool can't be off, since it must keep connections of HTTP.
                let connected = channel.connected();
                connected.poison();
                connected
            }
            FallbackIo::Http(http) => {
                let io: &dyn Any = &http.io;
                (http.connected)(io)
            }
        }
    }
}

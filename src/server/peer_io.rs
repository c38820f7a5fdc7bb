//! Streams with who is at their other end, as servers of streams want them.

use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::acceptor::Acceptor;
use super::peer::PeerInfo;
use super::shared_port::{SharedIo, SharedPort};
use crate::driver::Channel;

/// An accepted channel, or a connection of a [`SharedPort`], with who is at its other end.
///
/// The streams of an [`Acceptor`] and of a [`SharedPort`] yield it, for servers that take
/// a stream. With the feature `tonic` its `Connected` gives the [`PeerInfo`] to handlers.
#[derive(Debug)]
pub struct PeerIo<T> {
    io: T,
    peer: PeerInfo,
}

impl<T> PeerIo<T> {
    /// Who is at the other end.
    pub fn peer(&self) -> &PeerInfo {
        &self.peer
    }

    /// What it consists of.
    pub fn into_parts(self) -> (T, PeerInfo) {
        (self.io, self.peer)
    }
}

/// Never ends nor fails. For servers that take a stream, such as tonic's
/// `serve_with_incoming`.
impl Stream for Acceptor {
    type Item = Result<PeerIo<Channel>, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let accepted = self.poll_accept(cx);
        accepted.map(|(io, peer)| Some(Ok(PeerIo { io, peer })))
    }
}

/// Never ends nor fails. For servers that take a stream, such as tonic's
/// `serve_with_incoming`.
impl Stream for SharedPort {
    type Item = Result<PeerIo<SharedIo>, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let accepted = self.poll_accept(cx);
        accepted.map(|(io, peer)| Some(Ok(PeerIo { io, peer })))
    }
}

#[cfg(feature = "tonic")]
impl<T> tonic::transport::server::Connected for PeerIo<T> {
    type ConnectInfo = PeerInfo;

    fn connect_info(&self) -> PeerInfo {
        self.peer.clone()
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for PeerIo<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for PeerIo<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

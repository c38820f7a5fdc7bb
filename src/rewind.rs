//! A stream of which bytes were read ahead.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// Looks at the first bytes of a stream, and gives them back to whoever reads it.
#[derive(Debug)]
pub(crate) struct Rewind<T> {
    io: T,
    head: BytesMut,
}

impl<T> Rewind<T> {
    pub fn new(io: T) -> Self {
        let head = BytesMut::new();
        Rewind { io, head }
    }

    pub fn get_ref(&self) -> &T {
        &self.io
    }

    /// What was read ahead.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// Takes so many bytes of what was read ahead.
    pub fn take_head(&mut self, count: usize) -> BytesMut {
        let taken = self.head.split_to(count);
        if self.head.is_empty() {
            self.head = BytesMut::new(); // it holds no memory
        }
        taken
    }
}

impl<T: AsyncRead + Unpin> Rewind<T> {
    /// Reads ahead, to at most so many bytes, of which some must be missing. Cancel safe.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` if no more come.
    pub async fn fill(&mut self, most: usize) -> io::Result<()> {
        let missing = most.saturating_sub(self.head.len());
        let mut room = (&mut self.head).limit(missing);
        match self.io.read_buf(&mut room).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Rewind<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.head.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let count = self.head.len().min(buf.remaining());
        buf.put_slice(&self.take_head(count));
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Rewind<T> {
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

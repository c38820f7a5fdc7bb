use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::{Handle, now};
use super::shared::{register, to_io};
use crate::proto::{ChannelError, Read};

/// One byte stream of a connection, with the behaviour of a TCP connection.
///
/// Shutting down the writer sends a FIN, the only clean end of file. A reset,
/// a peer that let go and a lost connection are errors. Dropping a channel
/// that was not shut down resets it, and asks the peer to stop sending.
#[derive(Debug)]
pub struct Channel {
    handle: Arc<Handle>,
    id: u32,
}

impl Channel {
    pub(super) fn new(handle: Arc<Handle>, id: u32) -> Self {
        Channel { handle, id }
    }

    /// The channel's number on its connection.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Gives up writing: the peer's reader gets an error with this code.
    pub fn reset(&self, code: u32) {
        self.handle
            .0
            .change(|inner| inner.core.reset(self.id, code));
    }

    pub(super) fn poll_write_slices(
        &self,
        cx: &Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if slices.iter().all(|slice| slice.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        let mut inner = self.handle.0.lock();
        let mut total = 0;
        for slice in slices.iter().filter(|slice| !slice.is_empty()) {
            match inner.core.write(self.id, slice) {
                Ok(n) => total += n,
                Err(error) if total == 0 => return Poll::Ready(Err(to_io(error))),
                Err(_) => break,
            }
        }
        if total == 0 {
            register(&mut inner.writers, self.id, cx.waker());
            return Poll::Pending;
        }
        let task = inner.task.take();
        drop(inner);
        if let Some(task) = task {
            task.wake();
        }
        Poll::Ready(Ok(total))
    }
}

impl AsyncRead for Channel {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut inner = self.handle.0.lock();
        match inner.core.read(self.id, buf.initialize_unfilled(), now()) {
            Ok(Read::Bytes(n)) => buf.advance(n),
            Ok(Read::Finished) => {}
            Ok(Read::Blocked) if buf.remaining() == 0 => {}
            Ok(Read::Blocked) => {
                register(&mut inner.readers, self.id, cx.waker());
                return Poll::Pending;
            }
            Err(error) => return Poll::Ready(Err(to_io(error))),
        }
        let task = inner.core.owes_window(self.id).then(|| inner.task.take());
        drop(inner);
        if let Some(Some(task)) = task {
            task.wake();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Channel {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_slices(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_slices(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Does nothing: what was written leaves by itself.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = self.handle.0.change(|inner| inner.core.finish(self.id));
        Poll::Ready(match result {
            Err(error @ ChannelError::Connection(_)) => Err(to_io(error)),
            _ => Ok(()),
        })
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.handle.0.change(|inner| {
            inner.core.release(self.id);
            inner.readers.remove(&self.id);
            inner.writers.remove(&self.id);
        });
    }
}

//! The two directions of a channel, for a task each. They share the channel,
//! whose connection's lock is the only one.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::channel::Channel;

impl Channel {
    /// The two directions, each for a task of its own. Dropping the reader
    /// asks the peer to stop; dropping a writer that was not shut down resets
    /// the channel.
    pub fn into_split(self) -> (ReadHalf, WriteHalf) {
        let channel = Arc::new(self);
        (ReadHalf::new(channel.clone()), WriteHalf::new(channel))
    }
}

/// The reading direction of a [`Channel`], from [`Channel::into_split`]. Dropping it asks the peer to stop, with code 0.
#[derive(Debug)]
pub struct ReadHalf(Arc<Channel>);

/// The writing direction of a [`Channel`], from [`Channel::into_split`]. Dropping it before a shutdown
/// resets the channel, behind what was written.
#[derive(Debug)]
pub struct WriteHalf {
    channel: Arc<Channel>,
    finished: bool,
}

impl ReadHalf {
    pub(super) fn new(channel: Arc<Channel>) -> Self {
        ReadHalf(channel)
    }

    /// Gives up reading, as [`Channel::stop`] does.
    pub fn stop(&self, code: u32) {
        self.0.stop(code);
    }
}

impl WriteHalf {
    pub(super) fn new(channel: Arc<Channel>) -> Self {
        WriteHalf {
            channel,
            finished: false,
        }
    }

    /// Gives up writing, as [`Channel::reset`] does.
    pub fn reset(&self, code: u32) {
        self.channel.reset(code);
    }
}

impl AsyncRead for ReadHalf {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let most = buf.remaining();
        self.0
            .poll_read_with(cx, most, |bytes| buf.put_slice(bytes))
    }
}

impl AsyncWrite for WriteHalf {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.channel.poll_write_slices(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.channel.poll_write_slices(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.finished = true;
        Poll::Ready(self.channel.finish())
    }
}

impl Drop for ReadHalf {
    fn drop(&mut self) {
        self.0.stop(0);
    }
}

impl Drop for WriteHalf {
    fn drop(&mut self) {
        if !self.finished {
            self.channel.reset_after_flush();
        }
    }
}

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

#[cfg(feature = "client")]
use hyper_util::client::legacy::connect::Connected;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
#[cfg(feature = "server")]
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::coop::poll_proceed;

#[cfg(feature = "client")]
use super::connected::Source;
use super::handle::Handle;
#[cfg(feature = "server")]
use super::unused::Token;
#[cfg(feature = "server")]
use crate::memory_budget::Share;
use crate::proto::{ChannelError, Key, REFUSED, Read};

/// One byte stream of a connection, with the behaviour of a TCP connection.
///
/// Shutting down the writer sends a FIN, the only clean end of file. A reset,
/// a peer that released the channel, and a lost connection, are errors of `io`,
/// whose `get_ref` is a [`proto::ChannelError`](crate::proto::ChannelError).
///
/// Dropping a channel that was not shut down resets it, and asks the peer to
/// stop sending. What was written before still arrives: all of it behind a
/// shutdown, and else as much as the peer has room for. Behind a shutdown the peer
/// is asked to stop only if it sends more or does not end its side soon. The guide has
/// [a table of all ends](crate::guide::channels#how-a-channel-ends).
///
/// Reads and writes are cancel safe: a poll that is pending has taken nothing. They
/// take part in tokio's cooperative scheduling, as those of a `TcpStream` do.
///
/// A write fails once the peer reads no more, and what the peer sends may still be read.
///
/// By hyper's traits two failures of a channel that this side opened come later, since
/// hyper would lose what they are about:
///
/// - If the peer reads no more, a write fails once the peer's end was read. Until then it
///   waits with the reader, or is dropped while bytes wait for the reader, for up to 10 s
///   in which it takes none. So an answer that comes before the request's end arrives.
/// - If nothing was written, the reader learns of a failure a second after the channel
///   was opened. So a request that hyper is handed meanwhile gets the error.
///
/// ```
/// use tcpchan::Channel;
/// use tokio::io::AsyncWriteExt;
///
/// /// Sends back what comes, and ends cleanly when the peer has.
/// async fn echo(channel: Channel) -> std::io::Result<()> {
///     let (mut reader, mut writer) = channel.into_split();
///     tokio::io::copy(&mut reader, &mut writer).await?;
///     writer.shutdown().await
/// }
/// ```
#[derive(Debug)]
pub struct Channel {
    pub(super) handle: Arc<Handle>,
    pub(super) key: Key,
    /// The place that it takes among those that an application may have, and its memory.
    #[cfg(feature = "server")]
    place: Option<(Option<OwnedSemaphorePermit>, Share)>,
}

impl Channel {
    pub(super) fn new(handle: Arc<Handle>, key: Key) -> Self {
        Channel {
            handle,
            key,
            #[cfg(feature = "server")]
            place: None,
        }
    }

    /// Takes a place until it is dropped.
    #[cfg(feature = "server")]
    pub(crate) fn hold_place(&mut self, place: (Option<OwnedSemaphorePermit>, Share)) {
        self.place = Some(place);
    }

    /// Holds a token for the channel, which was accepted, until the application
    /// begins with it. Dropping it refuses it until then.
    #[cfg(feature = "server")]
    pub(crate) fn hold_unused(&self, token: impl FnOnce() -> Token) {
        self.handle.0.lock().hold_unused(token);
    }

    /// The channel's number on its connection: odd if the client opened it,
    /// even if the server did; anything with a version 0 peer.
    pub fn id(&self) -> u32 {
        let inner = self.handle.0.lock();
        inner.core.id(self.key).unwrap_or_default()
    }

    /// Gives up writing: what has not left is dropped, and the peer's reader gets an error
    /// with this code. Behind a shutdown it gets that only if not all had left, and the
    /// clean end otherwise.
    ///
    /// The code [`proto::REFUSED`](crate::proto::REFUSED) is that of [`refuse`](Self::refuse),
    /// and 0 where that could not say it.
    pub fn reset(&self, code: u32) {
        self.handle
            .0
            .change(|inner| inner.core.reset(self.key, code));
    }

    /// A writer that was dropped before its shutdown.
    pub(super) fn reset_after_flush(&self) {
        self.handle
            .0
            .change(|inner| inner.core.reset_after_flush(self.key, 0));
    }

    /// Gives up reading: the peer's writer gets an error with this code, or with 0 for
    /// [`proto::REFUSED`](crate::proto::REFUSED).
    pub fn stop(&self, code: u32) {
        self.handle
            .0
            .change(|inner| inner.core.stop(self.key, code));
    }

    /// Gives up both directions and tells the peer that the application never
    /// saw the channel, so that it may try again what it was for. A channel that this side
    /// opened, read from, wrote to or shut down is only reset, with code 0.
    pub fn refuse(self) {
        self.reset(REFUSED);
    }

    /// What hyper-util learns of the connection.
    #[cfg(feature = "client")]
    pub(crate) fn connect_info(&self) -> Connected {
        let shared = &self.handle.0;
        let source = shared
            .connected
            .get_or_init(|| Source::socket(shared.transport().io()));
        source.connected(shared.transport().io())
    }

    /// Reads up to `most` bytes into `sink`. Ready without a byte is the end.
    pub(super) fn poll_read_with(
        &self,
        cx: &mut Context<'_>,
        most: usize,
        sink: impl FnMut(&[u8]),
    ) -> Poll<io::Result<()>> {
        let coop = ready!(poll_proceed(cx));
        let mut inner = self.handle.0.lock();
        let paused = !inner.core.wants_input();
        match inner.core.read_with(self.key, most, sink) {
            Ok(Read::Bytes(_)) => {}
            Ok(Read::Blocked) if most > 0 => {
                let old = inner.register_reader(self.key, cx);
                drop(inner);
                drop(old);
                return Poll::Pending;
            }
            Ok(_) => {
                coop.made_progress();
                let used = inner.on_used();
                drop(inner);
                drop(used);
                return Poll::Ready(Ok(()));
            }
            Err(error) => {
                coop.made_progress();
                return Poll::Ready(Err(error.into()));
            }
        }
        coop.made_progress();
        let used = inner.on_used();
        let resumes = paused && inner.core.wants_input();
        inner.fit_less_memory();
        let tell = resumes || inner.core.is_credit_pending(self.key);
        let task = tell.then(|| inner.task_to_wake()).flatten();
        drop(inner);
        drop(used);
        if let Some(task) = task {
            task.wake();
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn poll_write_slices(
        &self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if slices.iter().all(|slice| slice.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        let coop = ready!(poll_proceed(cx));
        let mut inner = self.handle.0.lock();
        let (bytes, state) = (slices.iter().map(|slice| slice.len()).sum(), &mut *inner);
        state.memory.need_to_send(&mut state.core, bytes);
        let mut total = 0;
        for slice in slices.iter().filter(|slice| !slice.is_empty()) {
            match inner.core.write(self.key, slice) {
                Ok(n) => {
                    total += n;
                    if n < slice.len() {
                        break;
                    }
                }
                Err(error) if total == 0 => {
                    coop.made_progress();
                    return Poll::Ready(Err(error.into()));
                }
                Err(_) => break,
            }
        }
        if total == 0 {
            let old = inner.register_writer(self.key, cx);
            drop(inner);
            drop(old);
            return Poll::Pending;
        }
        coop.made_progress();
        let used = inner.on_used();
        let task = inner.task_to_wake();
        drop(inner);
        drop(used);
        if let Some(task) = task {
            task.wake();
        }
        Poll::Ready(Ok(total))
    }

    /// FIN follows what was written. Finishing twice, or after the peer's STOP,
    /// is no error; on a connection that is gone it is.
    pub(super) fn finish(&self) -> io::Result<()> {
        let (finished, used) = self.handle.0.change(|inner| {
            let finished = inner.core.finish(self.key);
            (finished, inner.on_used())
        });
        drop(used);
        match finished {
            Err(error @ (ChannelError::Connection(_) | ChannelError::Refused(_))) => {
                Err(error.into())
            }
            _ => Ok(()),
        }
    }
}

impl AsyncRead for Channel {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_read_with(cx, buf.remaining(), |bytes| buf.put_slice(bytes))
    }
}

impl AsyncWrite for Channel {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_slices(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
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

    /// Sends a FIN behind what was written; does not wait for it to leave.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.finish())
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        let kept = self.handle.0.change(|inner| {
            if inner.is_refusable(self.key) {
                inner.core.reset(self.key, REFUSED);
            }
            inner.core.release(self.key);
            inner.fit_memory();
            inner.unregister(self.key)
        });
        drop(kept);
    }
}

//! hyper's I/O traits, so that a channel goes to hyper as it is.

use std::io::{self, IoSlice};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::time::sleep;

use super::channel::Channel;
use crate::proto::{ChannelError, ConnectionError, OpenError};

impl Channel {
    /// Ready when the reader may learn of a failure.
    fn poll_held(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.handle.0.lock();
        let Some(left) = inner
            .deferred
            .left(self.key)
            .filter(|_| inner.core.is_opened_unused(self.key))
        else {
            return Poll::Ready(());
        };
        let held = inner.deferred.take_timer(self.key);
        let has_runtime = inner.core.error() != Some(&ConnectionError::Abandoned);
        let runtime = inner.deferred.runtime();
        drop(inner);
        if !has_runtime {
            return Poll::Ready(());
        }
        // By the connection's timers, since the caller's runtime may have none; without
        // the lock, since it drops a waker; and that runtime may have just gone.
        let _entered = runtime.enter();
        let polled = catch_unwind(AssertUnwindSafe(|| {
            let mut held = held.unwrap_or_else(|| Box::pin(sleep(left)));
            (held.as_mut().poll(cx), held)
        }));
        let Ok((poll, held)) = polled else {
            return Poll::Ready(());
        };
        self.handle.0.lock().deferred.put_timer(self.key, held);
        poll
    }

    /// What hyper's writer learns of a failure. hyper takes an error of a write for the end of
    /// the channel, and would lose the answer of a peer that answered early and reads no more.
    ///
    /// - While the reader waits for the answer, the writer waits too.
    /// - While an answer waits for the reader, written bytes are dropped, since nobody would
    ///   read them. After ten seconds in which the reader took nothing, the writer gets the
    ///   error.
    fn poll_write_failed(
        &self,
        cx: &mut Context<'_>,
        error: io::Error,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut inner = self.handle.0.lock();
        let Some(unread) = inner.core.unread_answer(self.key) else {
            return Poll::Ready(Err(match inner.core.is_opened_unused(self.key) {
                true => nothing_sent(error),
                false => error,
            }));
        };
        if !inner.has_reader(self.key) {
            return Poll::Ready(match inner.deferred.may_drop(self.key, unread) {
                true => Ok(slices.iter().map(|slice| slice.len()).sum()),
                false => Err(error),
            });
        }
        let old = inner.register_writer(self.key, cx);
        drop(inner);
        drop(old);
        Poll::Pending
    }
}

impl Read for Channel {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let most = cursor.remaining();
        let result = ready!(self.poll_read_with(cx, most, |bytes| cursor.put_slice(bytes)));
        if result.is_err() {
            ready!(self.poll_held(cx));
        }
        Poll::Ready(result)
    }
}

/// If the connection ended before the first write, the error is that of an open: nothing was
/// sent, so the request may be tried again.
fn nothing_sent(error: io::Error) -> io::Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        Some(ChannelError::Connection(end)) => OpenError::Connection(end.clone()).into(),
        _ => error,
    }
}

impl Write for Channel {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.poll_write_slices(cx, slices) {
            Poll::Ready(Err(error)) => self.poll_write_failed(cx, error, slices),
            written => written,
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.finish())
    }
}

//! hyper's I/O traits, so that a channel goes to hyper as it is.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until};

use super::channel::Channel;
use crate::proto::{ChannelError, OpenError};

/// How long after a channel was opened hyper's reader learns at the earliest that
/// it failed, while nothing was written on it. hyper may lose a request that it is
/// handed while its reader learns of an end (hyper issue 4122), and a channel is
/// asked for when there is a request. So that comes first, and fails at the writer.
const HELD: Duration = Duration::from_secs(1);

impl Read for Channel {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let most = cursor.remaining();
        let result = ready!(this.poll_read_with(cx, most, |bytes| cursor.put_slice(bytes)));
        if result.is_err()
            && this.unseen.is_fresh()
            && let Some(until) = this.opened.map(|opened| opened + HELD)
            && until > Instant::now()
            && Handle::try_current().is_ok()
        {
            let held = this
                .held
                .get_or_insert_with(|| Box::pin(sleep_until(until)));
            ready!(held.as_mut().poll(cx));
        }
        Poll::Ready(result)
    }
}

/// Where the first write meets the end of the connection, the channel may as
/// well never have been opened.
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
        let fresh = self.unseen.is_fresh();
        let written = self.poll_write_slices(cx, slices);
        match fresh {
            true => written.map_err(nothing_sent),
            false => written,
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

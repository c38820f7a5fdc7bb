//! hyper's I/O traits, so that a channel goes to hyper as it is.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep, sleep};

use super::channel::Channel;
use crate::proto::{ChannelError, ConnectionError, Key, OpenError};

/// How long after a channel was opened hyper's reader learns at the earliest that
/// it failed, while nothing was written on it. hyper may lose a request that it is
/// handed while its reader learns of an end (hyper issue 4122), and a channel is
/// asked for when there is a request. So that comes first, and fails at the writer.
const HELD: Duration = Duration::from_secs(1);

/// How long what hyper's writer writes is dropped while nobody takes any of an answer that
/// waits. A writer without a reader, as of an upgraded connection, would never learn else
/// that nothing of it arrives.
const DROPPED: Duration = Duration::from_secs(10);

/// The channels of a connection whose failures hyper learns of later.
#[derive(Debug)]
pub(super) struct Young {
    since: Instant,
    /// When channels of this side were opened, in milliseconds, which wrap after
    /// 49 days; by [`Key::index`].
    opened: Vec<u32>,
    /// Those of which hyper's reader has yet to learn that they failed.
    held: HashMap<Key, Pin<Box<Sleep>>>,
    /// Those whose writes are dropped: the bytes that wait for the reader, and since when
    /// they do.
    dropping: HashMap<Key, (usize, Instant)>,
    /// That of the connection, which has timers.
    runtime: Handle,
}

impl Young {
    pub fn new() -> Self {
        Young {
            since: Instant::now(),
            opened: Vec::new(),
            held: HashMap::new(),
            dropping: HashMap::new(),
            runtime: Handle::current(),
        }
    }

    fn now(&self) -> u32 {
        self.since.elapsed().as_millis() as u32
    }

    /// Notes a channel that was opened.
    pub fn opened(&mut self, key: Key) {
        let now = self.now();
        if key.index() >= self.opened.len() {
            self.opened.resize(key.index() + 1, now);
        }
        self.opened[key.index()] = now;
    }

    /// How long the reader of a channel that failed is to be held.
    fn left(&self, key: Key) -> Option<Duration> {
        let age = self.now().wrapping_sub(*self.opened.get(key.index())?);
        HELD.checked_sub(Duration::from_millis(age.into()))
    }

    /// Whether what is written to a channel may be dropped, of which so many bytes wait for
    /// the reader.
    fn may_drop(&mut self, key: Key, unread: usize) -> bool {
        let now = Instant::now();
        let waits = self.dropping.entry(key).or_insert((unread, now));
        if waits.0 != unread {
            *waits = (unread, now);
        }
        now < waits.1 + DROPPED
    }

    /// Forgets a channel; the caller drops what it returns without the lock.
    pub fn forget(&mut self, key: Key) -> impl Sized + use<> {
        if !self.dropping.is_empty() {
            self.dropping.remove(&key);
        }
        match self.held.is_empty() {
            true => None,
            false => self.held.remove(&key),
        }
    }
}

impl Channel {
    /// Ready when the reader may learn of a failure.
    fn poll_held(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.handle.0.lock();
        let Some(left) = inner
            .young
            .left(self.key)
            .filter(|_| inner.core.is_fresh(self.key))
        else {
            return Poll::Ready(());
        };
        let held = inner.young.held.remove(&self.key);
        let has_runtime = inner.core.error() != Some(&ConnectionError::Abandoned);
        let runtime = inner.young.runtime.clone();
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
        self.handle.0.lock().young.held.insert(self.key, held);
        poll
    }

    /// What hyper's writer learns of a failure. It takes that for the end of the channel,
    /// and would lose the answer of a peer that has answered early and reads no more.
    /// So while its reader waits for the answer the writer waits too, and while an answer
    /// waits for its reader what is written is dropped, as nobody would read it: until
    /// the reader has taken nothing for [`DROPPED`].
    fn poll_write_failed(
        &self,
        cx: &mut Context<'_>,
        error: io::Error,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut inner = self.handle.0.lock();
        let Some(unread) = inner.core.unanswered(self.key) else {
            return Poll::Ready(Err(match inner.core.is_fresh(self.key) {
                true => nothing_sent(error),
                false => error,
            }));
        };
        if !inner.has_reader(self.key) {
            return Poll::Ready(match inner.young.may_drop(self.key, unread) {
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

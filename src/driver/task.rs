//! The task of one connection.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::shared::Shared;

/// Bytes that one read may take: several frames per system call.
const READ: usize = 64 * 1024;

/// Encoded bytes that wait for the transport. They can't be reordered any
/// more, so few are kept.
const WRITE: usize = 64 * 1024;

/// Rounds of reading and writing before the task lets others run.
const ROUNDS: usize = 16;

pub(super) struct Task<T> {
    io: Pin<Box<T>>,
    shared: Arc<Shared>,
    sleep: Pin<Box<Sleep>>,
    input: Box<[u8]>,
    output: Vec<u8>,
    written: usize,
    /// How long to wait for channels to end once all handles are gone, and
    /// for the last bytes to leave.
    linger: Duration,
    until: Option<Instant>,
    unflushed: bool,
}

impl<T: AsyncRead + AsyncWrite> Task<T> {
    pub fn new(io: T, shared: Arc<Shared>, linger: Duration) -> Self {
        Task {
            io: Box::pin(io),
            shared,
            sleep: Box::pin(tokio::time::sleep(Duration::ZERO)),
            input: vec![0; READ].into(),
            output: Vec::with_capacity(WRITE),
            written: 0,
            linger,
            until: None,
            unflushed: false,
        }
    }

    /// True if bytes came.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> bool {
        let mut buf = ReadBuf::new(&mut self.input);
        let Poll::Ready(result) = self.io.as_mut().poll_read(cx, &mut buf) else {
            return false;
        };
        let mut inner = self.shared.lock();
        if result.is_ok() && !buf.filled().is_empty() {
            inner.core.handle_input(buf.filled(), Instant::now().into());
            return true;
        }
        inner.core.handle_eof();
        false
    }

    /// Ready once all that the core owes has left; true if bytes left.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut any = false;
        loop {
            if self.written == self.output.len() {
                self.output.clear();
                self.written = 0;
                let now = Instant::now().into();
                let core = &mut self.shared.lock().core;
                core.poll_transmit(&mut self.output, WRITE, now);
            }
            if self.output.is_empty() {
                break;
            }
            let bytes = &self.output[self.written..];
            let Poll::Ready(n) = self.io.as_mut().poll_write(cx, bytes)? else {
                return Poll::Ready(Ok(any));
            };
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += n;
            (any, self.unflushed) = (true, true);
            if any {
                self.dispatch();
            }
        }
        if self.unflushed && self.io.as_mut().poll_flush(cx)?.is_ready() {
            self.unflushed = false;
        }
        Poll::Ready(Ok(any))
    }

    fn dispatch(&self) {
        let mut wake = Vec::new();
        self.shared.lock().dispatch(&mut wake);
        wake.into_iter().for_each(std::task::Waker::wake);
    }

    /// Tells the core the time, and closes what nobody holds any more.
    fn poll_time(&mut self, cx: &mut Context<'_>) {
        let mut inner = self.shared.lock();
        if inner.closing && inner.core.error().is_none() {
            let until = *self.until.get_or_insert(Instant::now() + self.linger);
            if inner.core.channels() == 0 || until <= Instant::now() {
                inner.core.close("");
            }
        }
        let deadline = inner.core.poll_timeout().map(Instant::from_std);
        let Some(deadline) = deadline.into_iter().chain(self.until).min() else {
            return;
        };
        drop(inner);
        if self.sleep.deadline() != deadline {
            self.sleep.as_mut().reset(deadline);
        }
        if self.sleep.as_mut().poll(cx).is_ready() {
            self.shared
                .lock()
                .core
                .handle_timeout(Instant::now().into());
            cx.waker().wake_by_ref();
        }
    }

    /// The last bytes and the shutdown, for `linger` at most.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let until = *self.until.get_or_insert(Instant::now() + self.linger);
        self.sleep.as_mut().reset(until);
        if self.sleep.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        while self.written < self.output.len() {
            let bytes = &self.output[self.written..];
            match ready!(self.io.as_mut().poll_write(cx, bytes)) {
                Ok(n) if n > 0 => self.written += n,
                _ => return Poll::Ready(()),
            }
        }
        self.io.as_mut().poll_shutdown(cx).map(drop)
    }
}

impl<T: AsyncRead + AsyncWrite> Future for Task<T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.shared.lock().task = Some(cx.waker().clone());
        for _ in 0..ROUNDS {
            let ended = this.shared.lock().core.error().is_some();
            let read = !ended && this.poll_read(cx);
            this.dispatch();
            this.poll_time(cx);
            let wrote = match this.poll_write(cx) {
                Poll::Ready(Ok(wrote)) => wrote,
                Poll::Ready(Err(_)) => {
                    this.shared.lock().core.handle_eof();
                    (this.written, this.unflushed) = (this.output.len(), false);
                    false
                }
                Poll::Pending => false,
            };
            this.dispatch();
            if this.shared.lock().core.error().is_some() {
                return this.poll_end(cx);
            }
            if !read && !wrote {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<T> Drop for Task<T> {
    /// Also when the runtime drops the task: nobody is left asleep.
    fn drop(&mut self) {
        let mut wake = Vec::new();
        let mut inner = self.shared.lock();
        inner.core.handle_eof();
        inner.dispatch(&mut wake);
        drop(inner);
        wake.into_iter().for_each(std::task::Waker::wake);
    }
}

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
    /// Bytes came or left in this round.
    progress: bool,
    /// When the last bytes must have left.
    ending: Option<Instant>,
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
            progress: false,
            ending: None,
        }
    }

    fn has_ended(&self) -> bool {
        self.shared.lock().core.error().is_some()
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) {
        let mut buf = ReadBuf::new(&mut self.input);
        let Poll::Ready(result) = self.io.as_mut().poll_read(cx, &mut buf) else {
            return;
        };
        let mut inner = self.shared.lock();
        if result.is_ok() && !buf.filled().is_empty() {
            inner.core.handle_input(buf.filled(), Instant::now().into());
            self.progress = true;
        } else {
            inner.core.handle_eof();
        }
    }

    /// Ready once all that the core owes has left.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.written == self.output.len() {
                self.refill();
            }
            if self.output.is_empty() {
                break;
            }
            let bytes = &self.output[self.written..];
            let n = ready!(self.io.as_mut().poll_write(cx, bytes))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += n;
            (self.progress, self.unflushed) = (true, true);
        }
        if self.unflushed {
            ready!(self.io.as_mut().poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Takes from the core what it owes; writers that waited go on.
    fn refill(&mut self) {
        self.output.clear();
        self.written = 0;
        let now = Instant::now().into();
        let core = &mut self.shared.lock().core;
        core.poll_transmit(&mut self.output, WRITE, now);
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
        let until = *self.ending.get_or_insert(Instant::now() + self.linger);
        if self.sleep.deadline() != until {
            self.sleep.as_mut().reset(until);
        }
        if self.sleep.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        match ready!(self.poll_write(cx)) {
            Ok(()) => self.io.as_mut().poll_shutdown(cx).map(drop),
            Err(_) => Poll::Ready(()),
        }
    }
}

impl<T: AsyncRead + AsyncWrite> Future for Task<T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.shared.lock().task = Some(cx.waker().clone());
        for _ in 0..ROUNDS {
            this.progress = false;
            if this.has_ended() {
                this.dispatch();
                return this.poll_end(cx);
            }
            this.poll_read(cx);
            this.dispatch();
            this.poll_time(cx);
            if let Poll::Ready(Err(_)) = this.poll_write(cx) {
                this.shared.lock().core.handle_eof();
            }
            this.dispatch();
            if !this.progress && !this.has_ended() {
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

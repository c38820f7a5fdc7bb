//! The lingering close: the last bytes, the shutdown, and the peer's last bytes.
//!
//! If a socket is closed with unread bytes, TCP sends a reset, and the peer loses what it has
//! not read yet. So the socket is read until the peer closes. With a peer that broke the
//! protocol, reading stops after 256 KiB, and the socket stays open for the rest of a second.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::shared::Shared;
use super::transport::Transport;
use super::work_budget::yields;
use crate::proto::ConnectionError;

/// Bytes of one read, which are discarded: as many as one TLS record has.
const READ_SIZE: usize = 16 * 1024;

/// The most bytes that are read from a peer that broke the protocol. A flood comes with
/// megabytes, and copying them would delay others.
const CURT_BYTES: usize = 256 * 1024;

/// The longest close with a peer that broke the protocol: time for the GOAWAY to arrive on
/// the longest link, and no more for a peer that may be hostile.
const CURT: Duration = Duration::from_secs(1);

/// The longest orderly close, though the peer makes progress now and then: ten minutes, for
/// the bytes that are left on a very slow link.
const LONGEST: Duration = Duration::from_secs(600);

pub(super) struct LingeringClose {
    stage: Stage,
    /// How long a peer may be silent at an orderly end.
    patience: Duration,
    orderly: bool,
    /// The peer has answered a ping, as an honest one does.
    answered: bool,
    /// Bytes read since it began.
    read: usize,
    /// When it is over whatever the peer does.
    last: Instant,
}

enum Stage {
    Start,
    Writing,
    ShuttingDown,
    Reading,
    /// No more is read, but what was written may still be on its way.
    Waiting,
    Over,
}

impl LingeringClose {
    pub fn new(patience: Duration) -> Self {
        LingeringClose {
            stage: Stage::Start,
            patience,
            orderly: false,
            answered: false,
            read: 0,
            last: Instant::now(),
        }
    }

    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        shared: &Shared,
        mut sleep: Pin<&mut Sleep>,
    ) -> Poll<()> {
        if matches!(self.stage, Stage::Start) {
            let wait = self.start(shared);
            let now = Instant::now();
            self.last = now + LONGEST;
            sleep.as_mut().reset(self.last.min(now + wait));
        }
        let mut transport = shared.transport();
        transport.pacer.stop();
        loop {
            match self.step(cx, shared, &mut transport) {
                Poll::Ready(()) if matches!(self.stage, Stage::Over) => return Poll::Ready(()),
                Poll::Ready(()) if self.orderly => {
                    let wait = Instant::now() + self.patience;
                    sleep.as_mut().reset(wait.min(self.last));
                }
                Poll::Ready(()) => {}
                Poll::Pending => return sleep.as_mut().poll(cx),
            }
            // Bytes that keep coming must keep neither the end from coming nor
            // others from running.
            if sleep.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            if matches!(self.stage, Stage::Reading) {
                yields(cx);
                return Poll::Pending;
            }
        }
    }

    /// How long it may take.
    fn start(&mut self, shared: &Shared) -> Duration {
        let inner = shared.lock();
        let error = inner.core.error().cloned();
        let nothing_to_say = !inner.core.wants_transmit();
        self.answered = inner.core.stats().rtt.is_some();
        drop(inner);
        // What the task has encoded last may wait yet.
        let silent = nothing_to_say && shared.transport().is_idle();
        self.stage = Stage::Writing;
        match error {
            Some(ConnectionError::Closed) => {
                self.orderly = true;
                self.patience
            }
            // There is nobody to talk to, or nothing to say.
            Some(
                ConnectionError::Lost(_)
                | ConnectionError::Dead
                | ConnectionError::NoHello(_)
                | ConnectionError::HandshakeTimeout,
            ) if silent => {
                self.stage = Stage::Over;
                Duration::ZERO
            }
            _ => CURT,
        }
    }

    /// One thing done, or nothing to be done now.
    fn step(
        &mut self,
        cx: &mut Context<'_>,
        shared: &Shared,
        transport: &mut Transport,
    ) -> Poll<()> {
        match self.stage {
            Stage::Start | Stage::Over => return Poll::Ready(()),
            Stage::Waiting => return Poll::Pending,
            Stage::Writing => {
                let now = Instant::now().into();
                transport.fill(&mut shared.lock().core, usize::MAX, now);
                if transport.is_idle() {
                    self.stage = Stage::ShuttingDown;
                    return Poll::Ready(());
                }
                match transport.poll_write(cx) {
                    Ok(Poll::Ready(())) => {}
                    Ok(Poll::Pending) if transport.resumed() => {}
                    Ok(Poll::Pending) => return Poll::Pending,
                    Err(_) => self.stage = Stage::Over,
                }
            }
            Stage::ShuttingDown => match transport.poll_shutdown(cx) {
                Poll::Ready(Ok(())) => self.stage = Stage::Reading,
                Poll::Ready(Err(_)) => self.stage = Stage::Over,
                Poll::Pending => return Poll::Pending,
            },
            Stage::Reading => {
                let mut over = false;
                let read = transport.poll_read(cx, READ_SIZE, |read| {
                    let bytes = read.map_or(0, |read| read.len());
                    over |= bytes == 0;
                    self.read += bytes;
                    false
                });
                if over {
                    self.stage = Stage::Over;
                } else if self.read >= CURT_BYTES && !self.orderly {
                    self.stage = match self.answered {
                        true => Stage::Waiting,
                        false => Stage::Over,
                    };
                } else if read.is_pending() {
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(())
    }
}

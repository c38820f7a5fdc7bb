//! The task of one connection.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::farewell::Farewell;
use super::shared::{Shared, Wake};
use crate::observability::Meter;

/// How often others are let run before a write, so that theirs goes with it:
/// once if somebody waits for it, and otherwise until a channel that has just
/// come was accepted and answered.
const YIELDS: u8 = 1;
const LAZY_YIELDS: u8 = 4;

/// Rounds of reading and writing before the task lets others run.
const ROUNDS: usize = 16;

/// How long a transport that takes no more is still read.
const LAST_READ: Duration = Duration::from_secs(1);

pub(super) struct Task {
    shared: Arc<Shared>,
    sleep: Pin<Box<Sleep>>,
    /// The transport takes no more; until when it is still read.
    broken: Option<Instant>,
    wake: Wake,
    /// How often others were let run since the last write.
    yields: u8,
    farewell: Farewell,
    meter: Meter,
}

impl Task {
    /// `patience` is how long a peer may be silent at an orderly end.
    pub fn new(shared: Arc<Shared>, patience: Duration, meter: Meter) -> Self {
        Task {
            shared,
            sleep: Box::pin(tokio::time::sleep(Duration::ZERO)),
            broken: None,
            wake: Wake::default(),
            yields: 0,
            farewell: Farewell::new(patience),
            meter,
        }
    }

    /// One round: whether there was progress.
    fn round(&mut self, cx: &mut Context<'_>) -> bool {
        let now = Instant::now();
        let read = self.read(cx, now);
        self.poll_time(cx, now);
        if self.lets_others_run() {
            cx.waker().wake_by_ref();
            return false;
        }
        let wrote = self.write(cx, now);
        read || wrote
    }

    /// Whether others should run before what is owed is written.
    fn lets_others_run(&mut self) -> bool {
        let inner = self.shared.lock();
        let most = match inner.core.is_urgent() {
            true => YIELDS,
            false => LAZY_YIELDS,
        };
        let wait = inner.core.wants_transmit() && self.yields < most;
        drop(inner);
        self.yields = if wait { self.yields + 1 } else { 0 };
        wait
    }

    fn read(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let mut transport = self.shared.transport();
        let wants = self.shared.lock().core.wants_input();
        let read = match wants {
            true => transport.poll_read(cx, |result| {
                self.shared.input(result, now.into(), &mut self.wake)
            }),
            false => return false,
        };
        drop(transport);
        let Poll::Ready(some) = read else {
            return false;
        };
        self.shared.note_busy(&self.wake);
        self.wake = self.shared.wake(std::mem::take(&mut self.wake));
        some
    }

    /// Sends until nothing is owed or the transport is full.
    fn write(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        if self.broken.is_some() {
            return false;
        }
        let mut transport = self.shared.transport();
        let mut any = false;
        let failed = loop {
            let mut inner = self.shared.lock();
            if transport.resumed() {
                inner.core.handle_progress(now.into());
            }
            let owed = inner.core.wants_transmit();
            transport.fill(&mut inner.core, now.into());
            // What was owed for a channel that is over needs no bytes, but
            // whoever waits for the last of it must look again.
            let settled = owed && !inner.core.wants_transmit();
            inner.dispatch(&mut self.wake);
            drop(inner);
            if transport.is_idle() {
                any |= settled;
                break false;
            }
            match transport.poll_write(cx) {
                Ok(Poll::Ready(())) => any = true,
                Ok(Poll::Pending) => {
                    self.shared.lock().core.handle_blocked(now.into());
                    break false;
                }
                Err(_) => break true,
            }
        };
        drop(transport);
        if failed {
            // What was received before may still be read.
            self.broken = Some(now + LAST_READ);
            cx.waker().wake_by_ref();
        }
        self.wake = self.shared.wake(std::mem::take(&mut self.wake));
        any
    }

    /// Tells the core the time, and closes what nobody holds any more.
    fn poll_time(&mut self, cx: &mut Context<'_>, now: Instant) {
        let report = self
            .meter
            .look(now.into(), || self.shared.lock().core.stats());
        let sent = self.shared.transport().is_idle();
        let mut inner = self.shared.lock();
        let over = sent && inner.core.channels() == 0 && !inner.core.wants_transmit();
        if over && inner.closing {
            inner.core.close("");
        }
        if over && inner.core.is_drained() {
            inner.core.close("drained");
        }
        if self.broken.is_some_and(|until| until <= now) {
            inner.core.handle_eof();
        }
        let deadline = inner.core.poll_timeout().map(Instant::from_std);
        let report = report.map(Instant::from_std);
        let deadlines = [deadline, self.broken, report];
        let Some(deadline) = deadlines.into_iter().flatten().min() else {
            return;
        };
        let armed = match self.sleep.is_elapsed() {
            true => deadline,
            false => deadline.min(self.sleep.deadline()),
        };
        inner.armed = armed.into();
        drop(inner);
        // A deadline moves with each input; the timer follows when it fires.
        if deadline < self.sleep.deadline() || self.sleep.is_elapsed() {
            self.sleep.as_mut().reset(deadline);
        }
        while self.sleep.as_mut().poll(cx).is_ready() {
            if deadline > now {
                self.sleep.as_mut().reset(deadline);
                self.shared.lock().armed = deadline.into();
                continue;
            }
            self.shared.lock().core.handle_timeout(now.into());
            cx.waker().wake_by_ref();
            return;
        }
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.shared.lock();
        inner.dispatch(&mut self.wake);
        drop(inner);
        self.wake = self.shared.wake(std::mem::take(&mut self.wake));
        self.farewell.poll(cx, &self.shared, self.sleep.as_mut())
    }

    fn has_ended(&self) -> bool {
        self.shared.lock().core.error().is_some()
    }
}

impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let old = this.shared.lock().register_task(cx.waker());
        drop(old);
        for _ in 0..ROUNDS {
            if this.has_ended() {
                return this.poll_end(cx);
            }
            if !this.round(cx) && !this.has_ended() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Task {
    /// Also when the runtime drops the task: nobody is left asleep.
    fn drop(&mut self) {
        let mut inner = self.shared.lock();
        inner.core.handle_eof();
        inner.dispatch(&mut self.wake);
        drop(inner);
        self.shared.wake(std::mem::take(&mut self.wake));
        self.meter.finish(|| self.shared.lock().core.stats());
        let io = self.shared.transport().take();
        drop(io);
        self.shared.openable.notify_waiters(); // the transport is gone
    }
}

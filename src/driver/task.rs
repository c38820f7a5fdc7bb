//! The task of one connection.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::close::LingeringClose;
use super::shared::{Inner, Shared, Wake};
use super::work_budget::{WorkBudget, yields};
use crate::proto::DeliverySample;

/// How often others are let run before a write, so that theirs goes with it:
/// once if somebody waits for it, and otherwise until a channel that has just
/// come was accepted and answered.
const YIELDS: u8 = 1;
const LAZY_YIELDS: u8 = 4;

/// Rounds of reading and writing before the task lets others run.
const ROUNDS: usize = 16;

/// When the task looks at the time next, if nothing is due.
const REST: Duration = Duration::from_secs(86_400);

/// How long a transport that takes no more is still read.
const LAST_READ: Duration = Duration::from_secs(1);

/// What a read came to.
#[derive(Default)]
struct AfterRead {
    /// More may be there at once.
    more: bool,
    /// The transport was at rest after it.
    at_rest: bool,
}

/// How far a write came.
enum Sent {
    /// Nothing is left.
    All,
    /// The rest waits, and something wakes the task for it.
    Part,
    /// The rest goes on once others have run.
    Piece,
}

/// What follows a read.
enum Next {
    /// Others, before what is owed is written.
    OthersRun,
    Write,
    /// Nothing is owed, and nothing waits to be written.
    Nothing,
}

pub(super) struct Task {
    shared: Arc<Shared>,
    sleep: Pin<Box<Sleep>>,
    /// The timer is set and will wake the task.
    waits: bool,
    /// The transport takes no more; until when it is still read, and why.
    broken: Option<(Instant, io::Error)>,
    wake: Wake,
    work: WorkBudget,
    /// How often others were let run since the last write.
    yields: u8,
    /// Until when what is owed waits for more.
    coalesces: Option<std::time::Instant>,
    /// Until when it waits so that the link is not overfilled.
    paced: Option<std::time::Instant>,
    /// The last round trip that the transport was told of.
    round: Option<DeliverySample>,
    close: LingeringClose,
}

impl Task {
    /// `patience` is how long a peer may be silent at an orderly end.
    pub fn new(shared: Arc<Shared>, patience: Duration) -> Self {
        Task {
            shared,
            sleep: Box::pin(tokio::time::sleep(Duration::ZERO)),
            waits: false,
            broken: None,
            wake: Wake::default(),
            work: WorkBudget::new(),
            yields: 0,
            coalesces: None,
            paced: None,
            round: None,
            close: LingeringClose::new(patience),
        }
    }

    /// One round of reading, writing and looking at the time; whether another
    /// should follow at once.
    fn round(&mut self, cx: &mut Context<'_>, wants_input: bool) -> bool {
        let now = Instant::now();
        if self.coalesces.is_some_and(|until| until <= now.into()) {
            self.write(cx, now); // it has waited enough
        }
        let read = match wants_input {
            true => self.read(cx, now),
            false => AfterRead::default(),
        };
        let sent = match self.what_follows(read.at_rest) {
            Next::OthersRun => {
                if !self.work.is_spent(cx) {
                    cx.waker().wake_by_ref();
                }
                return false;
            }
            Next::Write => self.write(cx, now),
            Next::Nothing => Sent::All,
        };
        let acted = self.poll_time(cx, now, matches!(sent, Sent::All));
        read.more || acted || matches!(sent, Sent::Piece)
    }

    /// What follows a read, or nothing to read: whether that left the transport at
    /// rest. Wakes whom anything has happened to.
    fn what_follows(&mut self, at_rest: bool) -> Next {
        let mut inner = self.shared.lock();
        inner.dispatch(&mut self.wake);
        let owes = inner.core.wants_transmit();
        let most = match owes && inner.core.is_urgent() {
            true => YIELDS,
            false => LAZY_YIELDS,
        };
        let round = inner.core.delivery_sample();
        drop(inner);
        self.shared.wake(&mut self.wake);
        if owes && self.yields < most {
            self.yields += 1;
            return Next::OthersRun;
        }
        self.yields = 0;
        let waits = self.coalesces.is_some() || self.paced.is_some() || self.broken.is_some();
        let measured = std::mem::replace(&mut self.round, round) != round;
        match at_rest && !owes && !waits && !measured {
            true => Next::Nothing,
            false => Next::Write,
        }
    }

    /// Reads, and wakes whom that is for.
    fn read(&mut self, cx: &mut Context<'_>, now: Instant) -> AfterRead {
        let (shared, wake, budget) = (&self.shared, &mut self.wake, &mut self.work);
        let mut transport = shared.transport();
        let piece = budget.read_size();
        let read = transport.poll_read(cx, piece, |read| {
            let (bytes, woken) = (read.as_ref().map_or(0, |read| read.len()), wake.count());
            let work = shared.input(read, now.into(), wake);
            budget.on_read(bytes, work, wake.count() - woken);
        });
        // What waits already is not held up by what keeps coming.
        if wake.is_for_many() && self.coalesces.is_none() {
            transport.coalescer.begin(now.into());
        }
        let at_rest = transport.is_at_rest();
        drop(transport);
        let more = matches!(read, Poll::Ready(true));
        if !more {
            self.work.on_idle();
        }
        if read.is_ready() {
            self.shared.wake(&mut self.wake);
        }
        AfterRead { more, at_rest }
    }

    /// Sends until nothing is owed, the transport is full, or a piece has made room
    /// for writers: what they write next goes with the rest, which may be small.
    fn write(&mut self, cx: &mut Context<'_>, now: Instant) -> Sent {
        (self.coalesces, self.paced) = (None, None);
        if self.broken.is_some() {
            return Sent::Part;
        }
        let mut transport = self.shared.transport();
        let sent = loop {
            let mut inner = self.shared.lock();
            if transport.resumed() {
                let found = inner.on_blocked(false, now.into());
                self.wake.note_changed(found);
            }
            inner.throughput.pace = transport.pace(&mut inner.core, now.into());
            transport.fill(&mut inner.core, now.into());
            transport.coalescer.measure(inner.core.min_rtt());
            inner.dispatch(&mut self.wake);
            let more = inner.core.wants_transmit();
            drop(inner);
            if transport.is_idle() {
                self.paced = transport.paced_until(more, now.into());
                break match self.paced {
                    None => Sent::All,
                    Some(_) => Sent::Part,
                };
            }
            self.coalesces = transport.coalesces_until(now.into());
            if self.coalesces.is_some() {
                break Sent::Part;
            }
            let makes_room = transport.is_whole() && self.wake.count() > 0;
            match transport.poll_write(cx) {
                Ok(Poll::Ready(())) => transport.note_written(now.into()),
                Ok(Poll::Pending) => {
                    let found = self.shared.lock().on_blocked(true, now.into());
                    self.wake.note_changed(found);
                    break Sent::Part;
                }
                Err(error) => {
                    // What was received before may still be read.
                    self.broken = Some((now + LAST_READ, error));
                    break Sent::Part;
                }
            }
            if makes_room {
                break Sent::Piece;
            }
        };
        transport.note_waiting(self.paced.is_some(), now.into());
        drop(transport);
        self.shared.wake(&mut self.wake);
        sent
    }

    /// Tells the core the time, and closes what nobody holds any more; whether
    /// that gave something to do.
    fn poll_time(&mut self, cx: &mut Context<'_>, now: Instant, sent: bool) -> bool {
        let report = self.shared.report(now.into());
        let mut inner = self.shared.lock();
        if self.ends(&mut inner, now, sent) {
            return true;
        }
        let deadline = inner.core.poll_timeout().map(Instant::from_std);
        let report = report.map(Instant::from_std);
        let broken = self.broken.as_ref().map(|(until, _)| *until);
        let coalesces = self.coalesces.map(Instant::from_std);
        let paced = self.paced.map(Instant::from_std);
        let deadlines = [deadline, broken, report, coalesces, paced];
        let Some(deadline) = deadlines.into_iter().flatten().min() else {
            inner.arm(now.into_std() + REST);
            return false;
        };
        let armed = match self.sleep.is_elapsed() {
            true => deadline,
            false => deadline.min(self.sleep.deadline()),
        };
        inner.arm(armed.into());
        drop(inner);
        // A deadline moves with each input; the timer follows when it fires.
        if deadline < self.sleep.deadline() || self.sleep.is_elapsed() {
            self.sleep.as_mut().reset(deadline);
        } else if self.waits && now < self.sleep.deadline() {
            return false;
        }
        self.waits = true;
        while self.sleep.as_mut().poll(cx).is_ready() {
            if deadline > Instant::now() {
                self.sleep.as_mut().reset(deadline);
                self.shared.lock().arm(deadline.into());
                continue;
            }
            self.shared.lock().core.handle_timeout(now.into());
            return true;
        }
        false
    }

    /// Ends the connection if it is over, though nobody says so.
    fn ends(&self, inner: &mut Inner, now: Instant, sent: bool) -> bool {
        let over = sent && inner.core.channels() == 0 && !inner.core.wants_transmit();
        if over && inner.closing {
            inner.core.close("");
        }
        if over && inner.core.is_drained() {
            inner.core.close("drained");
        }
        if let Some((until, error)) = &self.broken
            && *until <= now
        {
            inner.core.handle_error(error);
        }
        inner.core.error().is_some()
    }

    /// Closes the transport, and tells the channels of the end, some in each poll.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.shared.lock();
        inner.dispatch(&mut self.wake);
        let more = inner.dispatch_ends(&mut self.wake);
        drop(inner);
        self.shared.wake(&mut self.wake);
        let over = self.close.poll(cx, &self.shared, self.sleep.as_mut());
        if more {
            yields(cx);
            return Poll::Pending;
        }
        over
    }
}

impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        for _ in 0..ROUNDS {
            let mut inner = this.shared.lock();
            let old = inner.register_task(cx.waker());
            let (ended, wants_input) = (inner.core.error().is_some(), inner.core.wants_input());
            drop(inner);
            this.waits &= old.is_none(); // the timer knows who waits
            drop(old);
            if ended {
                return this.poll_end(cx);
            }
            if !this.round(cx, wants_input) || this.work.is_spent(cx) {
                return Poll::Pending;
            }
        }
        yields(cx);
        Poll::Pending
    }
}

impl Drop for Task {
    /// Also when the runtime drops the task: nobody is left asleep.
    fn drop(&mut self) {
        let mut inner = self.shared.lock();
        match std::thread::panicking() {
            true => {
                let panicked = io::Error::other("the connection's task panicked");
                inner.core.handle_error(&panicked);
            }
            false => inner.core.abandon(),
        }
        inner.dispatch(&mut self.wake);
        while inner.dispatch_ends(&mut self.wake) {}
        drop(inner);
        self.shared.wake(&mut self.wake);
        self.shared.finish();
        let io = self.shared.transport().take();
        drop(io);
        self.shared.notify_openable(); // the transport is gone
    }
}

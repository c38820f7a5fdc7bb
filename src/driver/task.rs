//! The task of one connection.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::close::LingeringClose;
use super::parts::PART;
use super::send::decision::{Decision, Known, Reason, decide};
use super::shared::{Inner, Shared};
use super::transport::Transport;
use super::wake::Wake;
use super::work_budget::{WorkBudget, yields};
use crate::memory_budget::LOOK_AGAIN;
use crate::proto::DeliverySample;

/// Passes of reading and writing in one poll, at most. Most polls end after one or two; the
/// bound keeps a fast peer from holding the runtime's thread.
const PASSES: usize = 16;

/// The longest time between two looks at the clock, if nothing is due: a day.
const REST: Duration = Duration::from_secs(86_400);

/// How long a transport that failed to write is still read: the peer may have said why it
/// closed.
const LAST_READ: Duration = Duration::from_secs(1);

/// What a read came to.
#[derive(Default)]
struct AfterRead {
    /// More may be there at once.
    more: bool,
    /// The transport was at rest after it.
    at_rest: bool,
    /// The task is to run again behind those who were woken.
    follows: bool,
}

/// How far a write came.
enum Sent {
    /// Nothing is left.
    All,
    /// The rest waits, and something wakes the task for it.
    Part,
    /// A write quantum left. The rest follows once other tasks have run.
    Quantum,
}

/// Until when a transport that takes no more is still read, and why it takes no more.
type Broken = (Instant, io::Error);

pub(super) struct Task {
    shared: Arc<Shared>,
    sleep: Pin<Box<Sleep>>,
    /// The timer is set and will wake the task.
    waits: bool,
    broken: Option<Broken>,
    wake: Wake,
    work: WorkBudget,
    /// Bytes of memory of the output that the transport has not taken.
    output: usize,
    /// It has yielded since the last write.
    yielded: bool,
    /// It runs behind one reader of a message.
    behind_one: bool,
    /// Until when bytes wait, and what for.
    wait: Option<(std::time::Instant, Reason)>,
    /// The last that the pacer has seen.
    sample: Option<DeliverySample>,
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
            output: 0,
            yielded: false,
            behind_one: false,
            wait: None,
            sample: None,
            close: LingeringClose::new(patience),
        }
    }

    /// One pass of reading, writing and looking at the time; whether another
    /// should follow at once. A `part` of those who were kept is woken in place of a read.
    fn pass(&mut self, cx: &mut Context<'_>, may_read: usize, part: bool, now: Instant) -> bool {
        if let Some((until, Reason::Coalescing)) = self.wait
            && until <= now.into_std()
        {
            // What keeps coming in does not hold up what has waited enough.
            self.write(cx, now);
        }
        let behind_one = std::mem::take(&mut self.behind_one);
        let read = match may_read {
            1.. if !part => self.read(cx, may_read, now),
            _ => AfterRead::default(),
        };
        // The task runs again behind those who were woken, to write their answers at once.
        let follows = part || read.follows;
        let decision = match follows && !self.yielded {
            true => Decision::Yield,
            false => self.decide_to_write(read.at_rest, behind_one),
        };
        self.yielded = follows || decision == Decision::Yield;
        let sent = match decision {
            Decision::Yield => return self.run_again(cx),
            Decision::Write => self.write(cx, now),
            _ if self.broken.is_some() => Sent::Part,
            _ => Sent::All,
        };
        let acted = self.poll_time(cx, now, matches!(sent, Sent::All));
        match follows {
            true => self.run_again(cx),
            false => read.more || acted || matches!(sent, Sent::Quantum),
        }
    }

    /// Has the task run once others have.
    fn run_again(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.work.is_spent(cx) {
            cx.waker().wake_by_ref();
        }
        false
    }

    /// What follows a read, or nothing to read: whether that left the transport at
    /// rest. Wakes whom anything has happened to.
    fn decide_to_write(&mut self, at_rest: bool, behind_one: bool) -> Decision {
        let mut inner = self.shared.lock();
        inner.dispatch(&mut self.wake);
        let frames = inner.core.wants_transmit();
        let sample = inner.core.delivery_sample();
        drop(inner);
        self.shared.wake(&mut self.wake);
        if frames || behind_one {
            self.wake.is_unanswered = !frames;
        }
        let decision = decide(Known::Pending {
            broken: self.broken.is_some(),
            frames,
            yielded: self.yielded,
            idle: at_rest && self.wait.is_none() && sample == self.sample,
        });
        if decision != Decision::Yield {
            self.sample = sample;
        }
        decision
    }

    /// Reads, and wakes whom that is for: of many the first part, if nothing more came. Each of
    /// the others is woken right before the frames of the one before are written, so that the peer
    /// works on those meanwhile. If all frames left at once, each side would wait while the other
    /// works.
    fn read(&mut self, cx: &mut Context<'_>, most: usize, now: Instant) -> AfterRead {
        let (shared, wake, budget) = (&self.shared, &mut self.wake, &mut self.work);
        let mut transport = shared.transport();
        let read = transport.poll_read(cx, most, |read| {
            let (bytes, woken) = (read.as_ref().map_or(0, |read| read.len()), wake.count());
            let work = shared.input(read, now.into(), wake);
            budget.on_read(bytes, work, wake.count() - woken);
            wake.is_for_one
        });
        // What waits already is not held up by what keeps coming.
        if wake.is_for_many() && !matches!(self.wait, Some((_, Reason::Coalescing))) {
            transport.coalescer.open(now.into());
        }
        let at_rest = transport.is_at_rest();
        drop(transport);
        let more = matches!(read, Poll::Ready(true));
        let for_one = std::mem::take(&mut self.wake.is_for_one);
        self.behind_one = for_one && !more;
        // Behind a message there may be more, which counts as work until a read finds nothing.
        if !more && !for_one {
            self.work.on_idle();
        }
        // A peer that has sent more works already. If others are to run anyway, all may.
        let many = self.wake.count() > PART && !more && !self.work.is_over();
        if many {
            self.shared.lock().keep_rest(&mut self.wake);
        }
        if read.is_ready() {
            self.shared.wake(&mut self.wake);
        }
        AfterRead {
            more,
            at_rest,
            follows: many || self.behind_one,
        }
    }

    /// Writes until the [decision](decide) is another.
    fn write(&mut self, cx: &mut Context<'_>, now: Instant) -> Sent {
        self.wait = None;
        if self.broken.is_some() {
            return Sent::Part;
        }
        let mut transport = self.shared.transport();
        let sent = loop {
            let (known, more) = encode(&self.shared, &mut transport, &mut self.wake, now.into());
            match decide(known) {
                Decision::Write => {}
                Decision::WaitUntil(until, reason) => {
                    self.wait = Some((until, reason));
                    break Sent::Part;
                }
                Decision::Leave | Decision::Yield => break Sent::All,
            }
            let (quantum, woke_writers) = (transport.has_quantum(), self.wake.count() > 0);
            let written = match transport.poll_write(cx) {
                Ok(written) => written,
                Err(error) => {
                    // What was received before may still be read.
                    self.broken = Some((now + LAST_READ, error));
                    break Sent::Part;
                }
            };
            match written {
                Poll::Ready(()) => transport.note_written(now.into()),
                Poll::Pending => {
                    let found = self.shared.lock().on_blocked(true, now.into());
                    self.wake.note_changed(found);
                }
            }
            match decide(Known::Written {
                blocked: written.is_pending(),
                quantum,
                woke_writers,
                all: !more && transport.is_at_rest(),
            }) {
                Decision::Write => {}
                Decision::Yield => break Sent::Quantum,
                _ if written.is_ready() => break Sent::All,
                _ => break Sent::Part,
            }
        };
        let paced = matches!(self.wait, Some((_, Reason::Pacing)));
        transport.note_waiting(paced, now.into());
        self.output = transport.output_memory();
        if self.output > 0 && !self.shared.lock().hold_output(self.output) {
            self.output = transport.fit_output();
        }
        drop(transport);
        self.shared.wake(&mut self.wake);
        sent
    }

    /// Tells the core the time, and closes what nobody holds any more; whether
    /// that gave something to do.
    fn poll_time(&mut self, cx: &mut Context<'_>, now: Instant, sent: bool) -> bool {
        let report = self.shared.report(now.into());
        let mut inner = self.shared.lock();
        let short = inner.core.is_short_of_memory();
        let rests = !short && inner.memory.is_at_rest(&inner.core, self.output);
        if !rests {
            inner.hold_output(self.output);
        }
        if ends(&mut inner, &mut self.broken, now, sent) {
            return true;
        }
        let still_short = !rests && inner.core.is_short_of_memory();
        if short && !still_short {
            return true; // others have given some back
        }
        let deadline = inner.core.poll_timeout().map(Instant::from_std);
        let report = report.map(Instant::from_std);
        let memory = still_short.then(|| now + LOOK_AGAIN);
        let broken = self.broken.as_ref().map(|(until, _)| *until);
        let wait = self.wait.map(|(until, _)| until.into());
        let others = [broken, report, wait, memory];
        let Some(deadline) = others.into_iter().flatten().fold(deadline, sooner) else {
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

    /// Closes the transport, and tells the channels of the end, some in each poll.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.shared.lock();
        inner.take_rest(&mut self.wake);
        inner.dispatch(&mut self.wake);
        let more = inner.dispatch_ends(&mut self.wake);
        inner.fit_memory();
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

fn sooner(first: Option<Instant>, other: Instant) -> Option<Instant> {
    Some(first.map_or(other, |first| first.min(other)))
}

/// Ends the connection if it is over, though nobody says so.
fn ends(inner: &mut Inner, broken: &mut Option<Broken>, now: Instant, sent: bool) -> bool {
    let over = sent && inner.core.channels() == 0 && !inner.core.wants_transmit();
    if over && inner.closing {
        inner.core.close("");
    }
    if over && inner.core.is_drained() {
        inner.core.close("drained");
    }
    if let Some((_, error)) = broken.take_if(|(until, _)| *until <= now) {
        inner.core.handle_error(error);
    }
    inner.core.error().is_some()
}

/// Encodes what may leave now; what is known then, and whether more is to leave.
fn encode(
    shared: &Shared,
    transport: &mut Transport,
    wake: &mut Wake,
    now: std::time::Instant,
) -> (Known, bool) {
    let mut inner = shared.lock();
    if transport.resumed() {
        let found = inner.on_blocked(false, now);
        wake.note_changed(found);
    }
    inner.throughput.pace = transport.pace(&mut inner.core, now);
    let most = inner.memory.may_encode(&inner.core);
    transport.fill(&mut inner.core, most, now);
    transport.coalescer.measure(inner.core.min_rtt());
    inner.dispatch(wake);
    let more = inner.core.wants_transmit();
    drop(inner);
    (transport.encoded(more, now), more)
}

impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        for _ in 0..PASSES {
            let now = Instant::now();
            let mut inner = this.shared.lock();
            let old = inner.register_task(cx.waker());
            let part = inner.take_part(&mut this.wake, now.into());
            let ended = inner.core.error().is_some();
            let (state, size) = (&mut *inner, this.work.read_size());
            let may_read = match ended {
                true => 0,
                false => state.memory.may_read(&mut state.core, size, now.into()),
            };
            drop(inner);
            this.waits &= old.is_none(); // the timer knows who waits
            drop(old);
            if ended {
                return this.poll_end(cx);
            }
            if !this.pass(cx, may_read, part, now) || this.work.is_spent(cx) {
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
        inner.take_rest(&mut self.wake);
        match std::thread::panicking() {
            true => {
                let panicked = io::Error::other("the connection's task panicked");
                inner.core.handle_error(panicked);
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

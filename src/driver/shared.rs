//! What the task and its handles share: the core and the wakers under one lock
//! that is held for microseconds, the transport under another. Nothing is
//! woken under a lock. Whoever takes both takes the transport's first.

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{PoisonError, TryLockError};
use std::task::{Context, Waker};
#[cfg(feature = "client")]
use std::time::Duration;
use std::time::Instant;

use tokio::task::coop::has_budget_remaining;

#[cfg(feature = "hyper")]
use super::hyper_io::Young;
use super::sync::{AtomicBool, Mutex, MutexGuard, Notify, Place};
use super::transport::{Input, Transport};
use crate::observability::{Noted, Observer};
use crate::proto::{self, Event, Key};

/// Channels with bytes to send that whoever writes sends at once, though more will
/// follow: so that the peer works on these meanwhile.
pub(super) const BATCH: usize = 16;

/// Channels that learn at once of the end of their connection: each is a task of
/// the application's, which ends with it.
pub(super) const ENDS: usize = 8;

#[derive(Debug)]
pub(super) struct Shared {
    inner: Mutex<Inner>,
    transport: Mutex<Transport>,
    /// Few channels are busy, so whoever writes may write to the transport.
    alone: AtomicBool,
    pub acceptable: Notify,
    pub openable: Notify,
    /// Woken with those who wait for `openable`.
    #[cfg(feature = "client")]
    pub watcher: std::sync::OnceLock<Waker>,
    /// Where the task runs.
    pub place: Place,
    #[cfg(feature = "client")]
    pub told: std::sync::OnceLock<super::told::Told>,
    observer: Observer,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub core: proto::Connection,
    /// When the task last read: precise enough for what a handle sends, where no time
    /// is measured from it.
    pub clock: Instant,
    /// When the task looks at the time next.
    pub armed: Instant,
    /// All handles are gone: end once the channels are over.
    pub closing: bool,
    task: Option<Waker>,
    /// Since when the task has been woken and was not run.
    woken: Option<Instant>,
    /// By [`Key::index`].
    wakers: Vec<Wakers>,
    /// How many of those have learned of the end.
    told: usize,
    /// What is held while the application has yet to begin with a channel that it
    /// accepted.
    #[cfg(feature = "server")]
    pub unseen: Option<super::unseen::Token>,
    #[cfg(feature = "hyper")]
    pub young: Young,
}

#[derive(Debug, Default)]
struct Wakers {
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// What to wake once the locks are free.
#[derive(Debug, Default)]
pub(super) struct Wake {
    wakers: Vec<Waker>,
    /// Channels that have something to read.
    readable: usize,
    acceptable: bool,
    openable: bool,
    noted: Noted,
}

impl Shared {
    pub fn new(core: proto::Connection, transport: Transport, observer: Observer) -> Self {
        Shared {
            inner: Mutex::new(Inner {
                core,
                clock: now(),
                armed: now(),
                closing: false,
                task: None,
                woken: None,
                wakers: Vec::new(),
                told: 0,
                #[cfg(feature = "server")]
                unseen: None,
                #[cfg(feature = "hyper")]
                young: Young::new(),
            }),
            transport: Mutex::new(transport),
            alone: AtomicBool::new(true),
            acceptable: Notify::new(),
            openable: Notify::new(),
            #[cfg(feature = "client")]
            watcher: Default::default(),
            place: Place::here(),
            #[cfg(feature = "client")]
            told: Default::default(),
            observer,
        }
    }

    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn transport(&self) -> MutexGuard<'_, Transport> {
        self.transport
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn try_transport(&self) -> Option<MutexGuard<'_, Transport>> {
        match self.transport.try_lock() {
            Ok(transport) => Some(transport),
            Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Runs `change` on the core, then wakes the task so that what it owes
    /// leaves.
    pub fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = self.lock();
        let value = change(&mut inner);
        let task = inner.task_to_wake();
        drop(inner);
        if let Some(task) = task {
            task.wake();
        }
        value
    }

    /// Runs `write` on the core and sends what it owes at once if nothing else
    /// waits to be sent; otherwise the task sends it with the rest, or whoever
    /// fills a batch. `write` gets the output, and up to which length, if it may
    /// append to it.
    pub fn write<T>(
        &self,
        write: impl FnOnce(&mut Inner, Option<(&mut Vec<u8>, usize)>) -> T,
    ) -> T {
        if self.alone.load(Relaxed)
            && let Some(sender) = self.sender().filter(Sender::takes_at_once)
        {
            return sender.send(write);
        }
        let (value, batch) = self.change(|inner| {
            let value = write(inner, None);
            (value, inner.core.sending() >= BATCH)
        });
        if batch && let Some(sender) = self.sender() {
            sender.send(|_, _| ());
        }
        value
    }

    /// The right to write to the transport, if nobody has it and nothing waits
    /// there. A caller who is to let others run has it not: a socket would take nothing
    /// of it.
    fn sender(&self) -> Option<Sender<'_>> {
        let takes = |t: &MutexGuard<'_, Transport>| t.is_idle() && has_budget_remaining();
        let mut transport = self.try_transport().filter(takes)?;
        let gathers = transport.gather.is_on() && transport.gather.until(0, now()).is_some();
        let spaced = transport.pacer.is_on() && transport.pacer.room(now()) == 0;
        (!gathers && !spaced).then_some(Sender {
            shared: self,
            transport,
        })
    }

    /// Gives the core what was read; nothing is the end. The work that it was, in
    /// frames.
    pub fn input(&self, read: io::Result<Input<'_>>, now: Instant, wake: &mut Wake) -> usize {
        let mut inner = self.lock();
        inner.clock = now;
        let before = inner.core.work_received();
        match read {
            Ok(Input::Bytes([])) => inner.core.handle_eof(),
            Ok(Input::Bytes(bytes)) => inner.core.handle_input(bytes, now),
            Ok(Input::Block(block)) => inner.core.handle_block(&block, now),
            Err(error) => inner.core.handle_error(&error),
        }
        inner.dispatch(wake);
        (inner.core.work_received() - before) as usize
    }

    /// Wakes what `dispatch` found and tells what it noted, of which nothing is
    /// left.
    pub fn wake(&self, wake: &mut Wake) {
        if wake.is_empty() {
            return;
        }
        if std::mem::take(&mut wake.acceptable) {
            self.acceptable.notify_waiters();
        }
        if std::mem::take(&mut wake.openable) {
            self.notify_openable();
        }
        for waker in wake.wakers.drain(..) {
            waker.wake();
        }
        wake.readable = 0;
        self.observer.tell(&mut wake.noted, || {
            let inner = self.lock();
            (inner.core.stats(), inner.core.error().cloned())
        });
    }

    /// Wakes those who wait for what [`Connection::changed`] tells.
    ///
    /// [`Connection::changed`]: super::Connection::changed
    pub fn notify_openable(&self) {
        self.openable.notify_waiters();
        #[cfg(feature = "client")]
        if let Some(watcher) = self.watcher.get() {
            watcher.wake_by_ref();
        }
    }

    /// Ends the connection in the place of its task, which is not run, and wakes whoever waits for it.
    #[cfg(feature = "client")]
    pub fn abandon(&self) {
        let mut wake = Wake::default();
        let mut inner = self.lock();
        inner.core.abandon();
        inner.dispatch(&mut wake);
        while inner.dispatch_ends(&mut wake) {}
        drop(inner);
        self.wake(&mut wake);
    }

    /// Notes for how many channels the last input was: up to two (one that
    /// ends and one that begins) are better served at once.
    pub fn note_busy(&self, wake: &Wake) {
        self.alone.store(!wake.is_for_many(), Relaxed);
    }
}

impl Wake {
    fn is_empty(&self) -> bool {
        let nobody = self.wakers.is_empty() && !self.acceptable && !self.openable;
        nobody && self.readable == 0 && self.noted.is_empty()
    }

    /// Channels whose readers and writers are to be woken.
    pub fn count(&self) -> usize {
        self.wakers.len()
    }
}

/// Who writes to the transport in the task's place.
struct Sender<'a> {
    shared: &'a Shared,
    transport: MutexGuard<'a, Transport>,
}

impl Sender<'_> {
    fn takes_at_once(&self) -> bool {
        self.transport.takes_at_once()
    }

    /// Runs `write` on the core, sends what it owes before and after, and wakes
    /// the task if something is left for it.
    fn send<T>(mut self, write: impl FnOnce(&mut Inner, Option<(&mut Vec<u8>, usize)>) -> T) -> T {
        let mut inner = self.shared.lock();
        let Some(task) = inner.task.clone() else {
            return write(&mut inner, None); // its first poll is still to come
        };
        let now = match inner.core.owes_ping()
            || self.transport.gather.is_on()
            || self.transport.pacer.is_on()
        {
            true => now(), // a time is measured from here
            false => inner.clock,
        };
        self.transport.fill(&mut inner.core, now);
        let value = write(&mut inner, Some(self.transport.output(now)));
        if !self.transport.is_whole() {
            self.transport.fill(&mut inner.core, now);
        }
        let mut wake = Wake::default();
        inner.dispatch(&mut wake);
        let more = inner.core.wants_transmit() || inner.is_due_sooner();
        if more {
            inner.woken.get_or_insert_with(self::now);
        }
        drop(inner);
        self.transport.note_at_once();
        let some = !self.transport.is_idle();
        let (failed, lost) = self.write(&task);
        self.transport.note_waiting(false, now);
        if some && !failed {
            self.transport.gather.begin(now);
        }
        drop(self.transport);
        if lost.is_some() {
            self.shared.place.run(|| drop(lost));
        }
        self.shared.wake(&mut wake);
        if failed || more {
            task.wake();
        }
        value
    }
}

impl Sender<'_> {
    /// Writes as the task does; whether that failed. A panic of the transport is for
    /// its connection to bear, not for who writes to a channel: the I/O object that is
    /// lost by it is to be dropped without the lock.
    fn write(&mut self, task: &Waker) -> (bool, Option<impl Sized + use<>>) {
        let transport = &mut *self.transport;
        let write = || transport.poll_write(&mut Context::from_waker(task));
        match self.shared.place.run(write) {
            Some(written) => (written.is_err(), None),
            None => {
                let panicked = io::Error::other("the transport panicked");
                self.shared.lock().core.handle_error(&panicked);
                (true, Some(transport.take()))
            }
        }
    }
}

impl Wake {
    /// Whether there is something to read for more than one channel that ends
    /// and one that begins.
    pub fn is_for_many(&self) -> bool {
        self.readable > 2
    }
}

impl Inner {
    /// Takes the core's events: what to wake once the lock is free. The channels
    /// learn of the end from the task, by [`dispatch_ends`](Self::dispatch_ends).
    pub fn dispatch(&mut self, wake: &mut Wake) {
        while let Some(event) = self.core.poll_event() {
            wake.noted.note(event);
            match event {
                Event::Readable(key) => {
                    wake.readable += 1;
                    wake.wakers.extend(self.slot(key).reader.take());
                }
                Event::Writable(key) => wake.wakers.extend(self.slot(key).writer.take()),
                Event::Acceptable => wake.acceptable = true,
                Event::Connected
                | Event::Openable
                | Event::Draining
                | Event::Drained
                | Event::Suspect
                | Event::Recovered
                | Event::HeldUp => wake.openable = true,
                Event::Closed => (wake.acceptable, wake.openable) = (true, true),
            }
        }
    }

    /// Whether what was sent asks for an answer before the task looks again.
    fn is_due_sooner(&self) -> bool {
        let due = self.core.poll_timeout();
        due.is_some_and(|due| due < self.armed)
    }

    /// Once the connection has ended: some of those who wait for its channels;
    /// whether there may be more.
    pub fn dispatch_ends(&mut self, wake: &mut Wake) -> bool {
        let most = wake.count() + ENDS;
        while let Some(slot) = self.wakers.get_mut(self.told)
            && wake.count() < most
        {
            wake.wakers.extend(slot.reader.take());
            wake.wakers.extend(slot.writer.take());
            self.told += 1;
        }
        self.told < self.wakers.len()
    }

    fn slot(&mut self, key: Key) -> &mut Wakers {
        let index = key.index();
        if index >= self.wakers.len() {
            self.wakers.resize_with(index + 1, Wakers::default);
        }
        &mut self.wakers[index]
    }

    /// Notes who reads; what it returns is to be dropped without the lock.
    #[must_use]
    pub fn register_reader(&mut self, key: Key, cx: &Context<'_>) -> Option<Waker> {
        register(&mut self.slot(key).reader, cx.waker())
    }

    /// Notes who writes; what it returns is to be dropped without the lock.
    #[must_use]
    pub fn register_writer(&mut self, key: Key, cx: &Context<'_>) -> Option<Waker> {
        register(&mut self.slot(key).writer, cx.waker())
    }

    /// Forgets who waits for a channel that was let go of; the caller drops it
    /// without the lock.
    #[must_use]
    pub fn unregister(&mut self, key: Key) -> impl Sized + use<> {
        #[cfg(feature = "hyper")]
        let held = self.young.forget(key);
        #[cfg(not(feature = "hyper"))]
        let held = ();
        (std::mem::take(self.slot(key)), held, self.seen())
    }

    /// Notes the task; what it returns is to be dropped without the lock. After
    /// the end, handles have nothing more for it: those that learn of the end
    /// would call it before others have had their turn.
    #[must_use]
    pub fn register_task(&mut self, waker: &Waker) -> Option<Waker> {
        self.woken = self.core.error().map(|_| self.armed);
        register(&mut self.task, waker)
    }

    /// The task's waker, unless it was woken already.
    pub fn task_to_wake(&mut self) -> Option<Waker> {
        match self.woken {
            Some(_) => None,
            None => {
                self.woken = Some(now());
                self.task.clone()
            }
        }
    }

    /// How long the task has had something to do and was not run: its runtime is busy,
    /// or nobody runs it.
    #[cfg(feature = "client")]
    pub fn overdue(&self, now: Instant) -> Duration {
        let due = self.woken.map_or(self.armed, |woken| woken.min(self.armed));
        now.saturating_duration_since(due)
    }
}

/// Keeps a waker without cloning one that is there already; the one before.
fn register(place: &mut Option<Waker>, waker: &Waker) -> Option<Waker> {
    match place {
        Some(there) if there.will_wake(waker) => None,
        _ => place.replace(waker.clone()),
    }
}

/// The time as the runtime sees it, which a test may pause.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into()
}

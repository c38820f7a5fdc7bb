//! What the task and its handles share. The core and the wakers are under one lock, which is
//! held for microseconds. Nothing is woken under it, and no system call is made.
//!
//! Only the task reads the transport and writes to it. When each writer wrote to the
//! transport itself, an echo on one stream took 4 % less processor time, and an echo on 64
//! streams 70 % more, because writes shared no system call (`benches/README.md`).
//!
//! The transport has a lock of its own, because handles ask it what it is. Only the task
//! takes both locks: the transport's first.

use std::io;
use std::sync::PoisonError;
use std::task::{Context, Waker};
#[cfg(feature = "client")]
use std::time::Duration;
use std::time::Instant;

use super::clock::now;
#[cfg(feature = "hyper")]
use super::deferred_error::DeferredErrors;
use super::memory::Memory;
use super::parts::Parts;
use super::sync::{Mutex, MutexGuard, Notify};
use super::throughput::Monitor;
use super::transport::{Input, MESSAGE, Transport};
use super::unused::{Token, Unused};
use super::wake::Wake;
use crate::memory_budget::Lease;
use crate::observability::Observer;
use crate::proto::{self, Event, Key};

/// Channels whose tasks are woken in one poll after the connection has ended. Each is a task
/// of the application, so all at once would delay others.
pub(super) const ENDS: usize = 8;

#[derive(Debug)]
pub(super) struct Shared {
    inner: Mutex<Inner>,
    transport: Mutex<Transport>,
    pub acceptable: Notify,
    pub openable: Notify,
    /// Woken with those who wait for `openable`.
    #[cfg(feature = "client")]
    pub watcher: std::sync::OnceLock<Waker>,
    #[cfg(feature = "client")]
    pub connected: std::sync::OnceLock<super::connected::Source>,
    observer: Observer,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub core: proto::Connection,
    pub throughput: Monitor,
    pub(super) memory: Memory,
    /// All handles are gone: end once the channels are over.
    pub closing: bool,
    task: Option<Waker>,
    /// Since when the task has been woken and was not run.
    woken: Option<Instant>,
    /// When the task looks at the time next.
    #[cfg(feature = "client")]
    armed: Instant,
    /// By [`Key::index`].
    wakers: Vec<Wakers>,
    parts: Parts,
    /// How many of those have learned of the end.
    dispatched: usize,
    unused: Unused,
    #[cfg(feature = "hyper")]
    pub deferred: DeferredErrors,
}

#[derive(Debug, Default)]
struct Wakers {
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Shared {
    pub fn new(
        mut core: proto::Connection,
        transport: Transport,
        observer: Observer,
        lease: Option<Lease>,
    ) -> Self {
        let mut memory = Memory::new(lease);
        memory.fit(&mut core); // so that the first that is read has its limit
        Shared {
            inner: Mutex::new(Inner {
                core,
                throughput: Monitor::new(now()),
                memory,
                closing: false,
                task: None,
                woken: None,
                #[cfg(feature = "client")]
                armed: now(),
                wakers: Vec::new(),
                parts: Parts::default(),
                dispatched: 0,
                unused: Unused::default(),
                #[cfg(feature = "hyper")]
                deferred: DeferredErrors::new(),
            }),
            transport: Mutex::new(transport),
            acceptable: Notify::new(),
            openable: Notify::new(),
            #[cfg(feature = "client")]
            watcher: Default::default(),
            #[cfg(feature = "client")]
            connected: Default::default(),
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

    /// Runs `change` on the core, then wakes the task so that what is pending
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

    /// Gives the core what was read; nothing is the end. The work that it was, in
    /// frames.
    pub fn input(&self, read: io::Result<Input<'_>>, now: Instant, wake: &mut Wake) -> usize {
        let mut inner = self.lock();
        let before = inner.core.work_received();
        let len = read.as_ref().map_or(0, |read| read.len());
        let state = &mut *inner;
        state.memory.need_to_receive(&mut state.core, len);
        match read {
            Ok(Input::Bytes([])) => inner.core.handle_eof(),
            Ok(Input::Bytes(bytes)) => inner.core.handle_input(bytes, now),
            Ok(Input::Block(block)) => inner.core.handle_block(&block, now),
            Err(error) => inner.core.handle_error(error),
        }
        let state = &mut *inner;
        state.memory.refuse(&mut state.core);
        let limited = inner.on_received(len, now);
        wake.note_changed(limited);
        inner.dispatch(wake);
        let one_reads = wake.count() == 1 && wake.readable == 1 && !wake.acceptable;
        wake.is_for_one |= one_reads && !wake.is_unanswered && len <= MESSAGE;
        if wake.is_for_one {
            inner.woken = Some(now); // the task runs behind it
        }
        (inner.core.work_received() - before) as usize
    }

    /// Wakes what `dispatch` found and tells what it noted, of which nothing is
    /// left.
    #[inline]
    pub fn wake(&self, wake: &mut Wake) {
        if !wake.is_empty() {
            self.wake_all(wake);
        }
    }

    #[inline(never)]
    fn wake_all(&self, wake: &mut Wake) {
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
        if !wake.noted.is_empty() {
            self.observer.tell(&mut wake.noted, || {
                let inner = self.lock();
                (inner.core.stats(), inner.core.error().cloned())
            });
        }
    }

    /// Publishes what the connection has done, if it is time, or says when it is.
    pub fn report(&self, now: Instant) -> Option<Instant> {
        self.observer.report(now, || self.lock().core.stats())
    }

    /// Publishes the rest.
    pub fn finish(&self) {
        self.observer.finish(|| self.lock().core.stats());
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
        inner.take_rest(&mut wake);
        inner.core.abandon();
        inner.dispatch(&mut wake);
        while inner.dispatch_ends(&mut wake) {}
        drop(inner);
        self.wake(&mut wake);
    }
}

impl Inner {
    /// Keeps all but the first part for [`take_part`](Self::take_part).
    pub fn keep_rest(&mut self, wake: &mut Wake) {
        self.parts.keep(&mut wake.wakers);
    }

    /// Has the next part of those who were kept woken, behind whom the task runs again;
    /// whether there is one.
    pub fn take_part(&mut self, wake: &mut Wake, now: Instant) -> bool {
        let there_is = self.parts.give_part(&mut wake.wakers);
        if there_is {
            self.woken = Some(now);
        }
        there_is
    }

    /// Has all of them woken.
    pub fn take_rest(&mut self, wake: &mut Wake) {
        self.parts.give_all(&mut wake.wakers);
    }

    /// Takes the core's events: what to wake once the lock is free. The channels
    /// learn of the end from the task, by [`dispatch_ends`](Self::dispatch_ends).
    #[inline]
    pub fn dispatch(&mut self, wake: &mut Wake) {
        if self.core.has_events() {
            self.dispatch_all(wake);
        }
    }

    #[inline(never)]
    fn dispatch_all(&mut self, wake: &mut Wake) {
        while let Some(event) = self.core.poll_event() {
            wake.noted.note(event);
            match event {
                Event::Readable(key) => {
                    wake.readable += 1;
                    wake.wakers.extend(self.wakers_of(key).reader.take());
                }
                Event::Writable(key) => wake.wakers.extend(self.wakers_of(key).writer.take()),
                Event::Acceptable => wake.acceptable = true,
                Event::Connected
                | Event::Openable
                | Event::Draining
                | Event::Drained
                | Event::Suspect
                | Event::Recovered => wake.openable = true,
                Event::Closed => (wake.acceptable, wake.openable) = (true, true),
            }
        }
    }

    /// So many bytes were received; whether those who wait for what changes are to look.
    fn on_received(&mut self, len: usize, now: Instant) -> bool {
        self.throughput.on_received(len, &self.core, now)
    }

    /// The transport is write-blocked from now on, or is so no more. Whether those who
    /// wait for what changes are to look.
    pub fn on_blocked(&mut self, blocked: bool, now: Instant) -> bool {
        match blocked {
            true => self.core.handle_blocked(now),
            false => self.core.handle_progress(now),
        }
        self.throughput.on_blocked(&self.core, blocked, now)
    }

    /// Once the connection has ended: some of those who wait for its channels;
    /// whether there may be more.
    pub fn dispatch_ends(&mut self, wake: &mut Wake) -> bool {
        let most = wake.count() + ENDS;
        while let Some(wakers) = self.wakers.get_mut(self.dispatched)
            && wake.count() < most
        {
            wake.wakers.extend(wakers.reader.take());
            wake.wakers.extend(wakers.writer.take());
            self.dispatched += 1;
        }
        self.dispatched < self.wakers.len()
    }

    fn wakers_of(&mut self, key: Key) -> &mut Wakers {
        let index = key.index();
        if index >= self.wakers.len() {
            self.wakers.resize_with(index + 1, Wakers::default);
        }
        &mut self.wakers[index]
    }

    /// Whether somebody waits for bytes of a channel.
    #[cfg(feature = "hyper")]
    pub fn has_reader(&mut self, key: Key) -> bool {
        self.wakers_of(key).reader.is_some()
    }

    /// Notes who reads; what it returns is to be dropped without the lock.
    #[must_use]
    pub fn register_reader(&mut self, key: Key, cx: &Context<'_>) -> Option<Waker> {
        register(&mut self.wakers_of(key).reader, cx.waker())
    }

    /// Notes who writes; what it returns is to be dropped without the lock.
    #[must_use]
    pub fn register_writer(&mut self, key: Key, cx: &Context<'_>) -> Option<Waker> {
        register(&mut self.wakers_of(key).writer, cx.waker())
    }

    /// Forgets who waits for a channel that was released; the caller drops it
    /// without the lock.
    #[must_use]
    pub fn unregister(&mut self, key: Key) -> impl Sized + use<> {
        #[cfg(feature = "hyper")]
        let held = self.deferred.forget(key);
        #[cfg(not(feature = "hyper"))]
        let held = ();
        (std::mem::take(self.wakers_of(key)), held, self.on_used())
    }

    /// A channel was accepted: a token is held until the application has used each that
    /// it accepted.
    #[cfg(feature = "server")]
    pub fn hold_unused(&mut self, token: impl FnOnce() -> Token) {
        self.unused.hold(token);
    }

    /// Whether dropping the channel is to refuse it.
    pub fn is_refusable(&self, key: Key) -> bool {
        self.unused.is_refusable(&self.core, key)
    }

    /// After the application used a channel; the caller drops what it returns without
    /// the lock.
    #[must_use]
    pub fn on_used(&mut self) -> Option<Token> {
        self.unused.on_used(&self.core)
    }

    /// The transport's output has so much memory; whether there is enough for it.
    pub fn hold_output(&mut self, bytes: usize) -> bool {
        self.memory.hold_output(&mut self.core, bytes)
    }

    /// After a read of the application, which needs no more than before.
    pub fn fit_less_memory(&mut self) {
        self.memory.fit_less(&mut self.core);
    }

    /// Has as much of the memory budget as is needed now.
    pub fn fit_memory(&mut self) {
        self.memory.fit(&mut self.core);
    }

    /// Notes the task; what it returns is to be dropped without the lock. After
    /// the end, handles have nothing more for it: those that learn of the end
    /// would wake it before other tasks have run.
    #[must_use]
    pub fn register_task(&mut self, waker: &Waker) -> Option<Waker> {
        self.woken = self.core.error().map(|_| now());
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

    /// The task looks at the time next at this time.
    pub fn arm(&mut self, at: Instant) {
        #[cfg(feature = "client")]
        (self.armed = at);
        #[cfg(not(feature = "client"))]
        let _ = at;
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

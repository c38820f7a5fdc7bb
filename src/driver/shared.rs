//! What the task and its handles share: the core and the wakers, under one
//! lock that is held for microseconds. Nothing is woken under it.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use crate::proto::{self, ChannelError, ConnectionError, Event};

#[derive(Debug)]
pub(super) struct Shared(Mutex<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub core: proto::Connection,
    pub task: Option<Waker>,
    pub readers: HashMap<u32, Waker>,
    pub writers: HashMap<u32, Waker>,
    pub acceptors: Vec<Waker>,
    pub openers: Vec<Waker>,
    /// All handles are gone: end once the channels are over.
    pub closing: bool,
}

impl Shared {
    pub fn new(core: proto::Connection) -> Self {
        Shared(Mutex::new(Inner {
            core,
            task: None,
            readers: HashMap::new(),
            writers: HashMap::new(),
            acceptors: Vec::new(),
            openers: Vec::new(),
            closing: false,
        }))
    }

    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `change` on the core, then wakes the task so that what it owes
    /// leaves.
    pub fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = self.lock();
        let value = change(&mut inner);
        let task = inner.task.take();
        drop(inner);
        if let Some(task) = task {
            task.wake();
        }
        value
    }
}

impl Inner {
    /// Takes the core's events: the wakers to wake once the lock is free.
    pub fn dispatch(&mut self, wake: &mut Vec<Waker>) {
        while let Some(event) = self.core.poll_event() {
            match event {
                Event::Readable(id) => wake.extend(self.readers.remove(&id)),
                Event::Writable(id) => wake.extend(self.writers.remove(&id)),
                Event::Acceptable => wake.append(&mut self.acceptors),
                Event::Openable | Event::Draining => wake.append(&mut self.openers),
                Event::Closed(_) => {
                    wake.extend(self.readers.drain().map(|(_, waker)| waker));
                    wake.extend(self.writers.drain().map(|(_, waker)| waker));
                    wake.append(&mut self.acceptors);
                    wake.append(&mut self.openers);
                }
                Event::Connected => {}
            }
        }
    }
}

/// Keeps a waker without cloning one that is there already.
pub(super) fn register(wakers: &mut HashMap<u32, Waker>, id: u32, waker: &Waker) {
    match wakers.get_mut(&id) {
        Some(there) => there.clone_from(waker),
        None => drop(wakers.insert(id, waker.clone())),
    }
}

pub(super) fn to_io(error: ChannelError) -> io::Error {
    use io::ErrorKind::*;
    let kind = match &error {
        ChannelError::Reset(_) => ConnectionReset,
        ChannelError::Stopped(_) | ChannelError::Ended => BrokenPipe,
        ChannelError::Connection(error) => return connection_to_io(error.clone()),
        _ => NotConnected,
    };
    io::Error::new(kind, error)
}

pub(super) fn connection_to_io(error: ConnectionError) -> io::Error {
    use io::ErrorKind::*;
    let kind = match &error {
        ConnectionError::Closed => NotConnected,
        ConnectionError::Violation { .. } => InvalidData,
        ConnectionError::HandshakeTimeout | ConnectionError::Dead => TimedOut,
        _ => ConnectionAborted,
    };
    io::Error::new(kind, error)
}

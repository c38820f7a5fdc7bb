//! Errors of channels that hyper learns of later, since it would lose a request or an
//! answer otherwise.

use std::collections::HashMap;
use std::pin::Pin;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep};

use crate::proto::Key;

type Timer = Pin<Box<Sleep>>;

/// How long after its open a channel without a write hides a failure from hyper's reader.
///
/// hyper may lose a request that it is handed while its reader learns of an end (hyper issue
/// 4122). A channel is opened because there is a request, so the request comes within this
/// time, and fails at the writer.
const HELD: Duration = Duration::from_secs(1);

/// How long bytes of hyper's writer are dropped while the reader takes nothing of an answer
/// that waits. Without a bound, a writer that has no reader, as on an upgraded connection,
/// would never learn that nothing arrives.
const DROPPED: Duration = Duration::from_secs(10);

/// The channels of a connection whose failures hyper learns of later.
#[derive(Debug)]
pub(super) struct DeferredErrors {
    since: Instant,
    /// When channels of this side were opened, in milliseconds, which wrap after
    /// 49 days; by [`Key::index`].
    opened: Vec<u32>,
    /// Those of which hyper's reader has yet to learn that they failed.
    held: HashMap<Key, Timer>,
    /// Those whose writes are dropped: the bytes that wait for the reader, and since when
    /// they do.
    dropping: HashMap<Key, (usize, Instant)>,
    /// That of the connection, which has timers.
    runtime: Handle,
}

impl DeferredErrors {
    pub fn new() -> Self {
        DeferredErrors {
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
    pub fn left(&self, key: Key) -> Option<Duration> {
        let age = self.now().wrapping_sub(*self.opened.get(key.index())?);
        HELD.checked_sub(Duration::from_millis(age.into()))
    }

    /// Whether what is written to a channel may be dropped, of which so many bytes wait for
    /// the reader.
    pub fn may_drop(&mut self, key: Key, unread: usize) -> bool {
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

    /// What wakes the reader of a channel, to be polled without the lock.
    pub fn take_timer(&mut self, key: Key) -> Option<Timer> {
        self.held.remove(&key)
    }

    pub fn put_timer(&mut self, key: Key, timer: Timer) {
        self.held.insert(key, timer);
    }

    /// That of the connection, which has timers.
    pub fn runtime(&self) -> Handle {
        self.runtime.clone()
    }
}

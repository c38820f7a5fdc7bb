//! The half-open limit: how many connections may not have said their hello, and which one is
//! evicted for another.
//!
//! A new peer and one that will never say anything look alike. So nobody is evicted within
//! [`GRACE`]; others wait in the system's backlog meanwhile, and a crowd of honest peers, as
//! after a restart, is served in turn. After that, silence is a choice. The oldest silent
//! connection is evicted of the network with the most silent connections, so an attacker
//! with one network evicts only its own.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep};

use crate::observability::network;

/// How long an honest hello may take, even if its packet is lost once.
pub(super) const GRACE: Duration = Duration::from_secs(1);

/// The half-open connections of one listener.
#[derive(Debug)]
pub(super) struct HalfOpenLimit {
    permits: Arc<Mutex<Permits>>,
    most: usize,
    sleep: Pin<Box<Sleep>>,
}

/// The permit of one connection, until it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    permits: Arc<Mutex<Permits>>,
    id: u64,
    evicted: oneshot::Receiver<()>,
    exempt: bool,
}

#[derive(Debug, Default)]
struct Permits {
    /// The oldest first.
    held: VecDeque<Held>,
    /// Permits that can't be taken.
    exempt: usize,
    next_id: u64,
    /// Who waits for a permit.
    waiter: Option<Waker>,
}

#[derive(Debug)]
struct Held {
    id: u64,
    since: Instant,
    network: IpAddr,
    /// Dropped to take the permit away, which wakes who has it.
    _evict: oneshot::Sender<()>,
}

impl HalfOpenLimit {
    pub fn new(most: usize) -> Self {
        HalfOpenLimit {
            permits: Arc::default(),
            most,
            sleep: Box::pin(tokio::time::sleep(Duration::ZERO)),
        }
    }

    /// Ready once there is a free permit, or one that can be evicted.
    pub fn poll_permit(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let mut permits = lock(&self.permits);
            let oldest = permits.held.front().map(|oldest| oldest.since);
            let evictable = oldest.is_some_and(|since| since + GRACE <= Instant::now());
            if permits.count() < self.most || evictable {
                return Poll::Ready(());
            }
            permits.waiter = Some(cx.waker().clone());
            drop(permits);
            let Some(since) = oldest else {
                return Poll::Pending;
            };
            self.sleep.as_mut().reset(since + GRACE);
            if self.sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Gives a permit to a peer that has come now, after
    /// [`poll_permit`](Self::poll_permit).
    pub fn acquire(&self, addr: IpAddr) -> Permit {
        let (evict, evicted) = oneshot::channel();
        let mut permits = lock(&self.permits);
        let full = permits.count() >= self.most;
        let gone = full.then(|| permits.evict_one(Instant::now()));
        permits.next_id += 1;
        let id = permits.next_id;
        permits.held.push_back(Held {
            id,
            since: Instant::now(),
            network: network(addr),
            _evict: evict,
        });
        drop(permits);
        drop(gone);
        Permit {
            permits: self.permits.clone(),
            id,
            evicted,
            exempt: false,
        }
    }

    /// Evicts all silent connections, because the system has no file descriptor for another.
    pub fn evict_silent(&self) {
        let mut permits = lock(&self.permits);
        let old = permits.old(Instant::now());
        let taken: Vec<Held> = permits.held.drain(..old).collect();
        drop(permits);
        drop(taken);
    }
}

impl Permits {
    fn count(&self) -> usize {
        self.held.len() + self.exempt
    }

    /// How many have had their time.
    fn old(&self, now: Instant) -> usize {
        self.held.partition_point(|held| held.since + GRACE <= now)
    }

    /// The permit of this id, unless it was taken.
    fn remove(&mut self, id: u64) -> Option<Held> {
        // Ids rise from front to back.
        let at = self.held.binary_search_by_key(&id, |held| held.id).ok()?;
        self.held.remove(at)
    }

    /// The oldest permit of the network that has most of those that have had
    /// their time. It is to be dropped without the lock.
    fn evict_one(&mut self, now: Instant) -> Option<Held> {
        let old = self.old(now);
        let mut count = HashMap::new();
        for held in self.held.range(..old) {
            *count.entry(held.network).or_insert(0) += 1;
        }
        // Of networks that have as many, the one with the oldest permit.
        let crowd = |held: &Held| std::cmp::Reverse(count[&held.network]);
        let at = (0..old).min_by_key(|at| crowd(&self.held[*at]))?;
        self.held.remove(at)
    }
}

impl Permit {
    /// Waits until the permit is needed for another. Cancel safe.
    pub async fn evicted(&mut self) {
        let _ = (&mut self.evicted).await;
    }

    /// From now on it is not to be taken.
    pub fn exempt(&mut self) {
        let mut permits = lock(&self.permits);
        let held = permits.remove(self.id);
        self.exempt = held.is_some();
        permits.exempt += usize::from(self.exempt);
        drop(permits);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut permits = lock(&self.permits);
        let held = permits.remove(self.id);
        permits.exempt -= usize::from(self.exempt);
        let waiter = permits.waiter.take();
        drop(permits);
        drop(held);
        if let Some(waker) = waiter {
            waker.wake();
        }
    }
}

fn lock(permits: &Mutex<Permits>) -> MutexGuard<'_, Permits> {
    permits.lock().unwrap_or_else(PoisonError::into_inner)
}

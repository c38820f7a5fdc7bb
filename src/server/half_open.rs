//! The half-open limit: how many connections may not have said their hello, and which one is
//! evicted for another.
//!
//! A new peer and one that will never say anything look alike. So nobody is evicted within
//! [`GRACE`]; others wait in the system's backlog meanwhile, and a crowd of honest peers, as
//! after a restart, is served in turn. After that, silence is a choice. The oldest silent
//! connection is evicted of the network with the most silent connections, so an attacker
//! with one network evicts only its own.
//!
//! If the limit has been reached for [`GRACE`], and one network has more than half of the
//! connections, it is a flood. Then nobody waits any more, because whoever waits in the system's
//! backlog waits behind the flood. A connection of another network takes the place of the
//! flood's oldest one; a further one of the flood is refused.

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

#[derive(Debug)]
struct Permits {
    most: usize,
    /// The oldest first.
    held: VecDeque<Held>,
    /// How many of those each network has.
    by_network: HashMap<IpAddr, usize>,
    /// Permits that can't be taken.
    exempt: usize,
    /// Since when there has been no free one, but for moments.
    full_since: Option<Instant>,
    /// Since when there is a free one.
    free_since: Option<Instant>,
    /// Permits that were given back since [`full_since`](Self::full_since).
    returned: usize,
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
            permits: Arc::new(Mutex::new(Permits::new(most))),
            sleep: Box::pin(tokio::time::sleep(Duration::ZERO)),
        }
    }

    /// Ready once there is a free permit, or one that can be evicted, or a flood.
    pub fn poll_permit(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let (mut permits, now) = (lock(&self.permits), Instant::now());
            let oldest = permits.held.front().map(|oldest| oldest.since);
            let evictable = oldest.is_some_and(|since| since + GRACE <= now);
            if permits.count() < permits.most || evictable || permits.flood(now).is_some() {
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
    /// [`poll_permit`](Self::poll_permit). None if it belongs to a flood.
    pub fn acquire(&self, addr: IpAddr) -> Option<Permit> {
        let (evict, evicted) = oneshot::channel();
        let (network, now) = (network(addr), Instant::now());
        let mut permits = lock(&self.permits);
        let mut gone = None;
        if permits.count() >= permits.most {
            gone = permits.evict_one(now);
            if gone.is_none() && permits.flood(now) == Some(network) {
                return None;
            }
            gone = gone.or_else(|| permits.evict_of_flood(now));
        }
        let id = permits.hold(network, now, evict);
        drop(permits);
        drop(gone);
        Some(Permit {
            permits: self.permits.clone(),
            id,
            evicted,
            exempt: false,
        })
    }

    /// Evicts the oldest silent connection of the network of this address, because there is no
    /// memory for another of it.
    pub fn evict_silent_of(&self, addr: IpAddr) {
        let (network, now) = (network(addr), Instant::now());
        let mut permits = lock(&self.permits);
        let old = permits.old(now);
        let mut held = permits.held.range(..old);
        let oldest = held.position(|held| held.network == network);
        let taken = oldest.and_then(|at| permits.remove_at(at));
        if taken.is_some() {
            // It was not given back: else a flood that evicts its own would not count as one.
            permits.free_since.get_or_insert(now);
        }
        drop(permits);
        drop(taken);
    }

    /// Evicts all silent connections, because there is no file descriptor or no memory for
    /// another.
    pub fn evict_silent(&self) {
        let mut permits = lock(&self.permits);
        let old = permits.old(Instant::now());
        let taken: Vec<_> = (0..old).filter_map(|_| permits.remove_at(0)).collect();
        permits.on_returned(Instant::now());
        drop(permits);
        drop(taken);
    }
}

impl Permits {
    fn new(most: usize) -> Self {
        Permits {
            most,
            held: VecDeque::new(),
            by_network: HashMap::new(),
            exempt: 0,
            full_since: None,
            free_since: None,
            returned: 0,
            next_id: 0,
            waiter: None,
        }
    }

    /// Adds a permit; its id.
    fn hold(&mut self, network: IpAddr, now: Instant, evict: oneshot::Sender<()>) -> u64 {
        self.next_id += 1;
        self.held.push_back(Held {
            id: self.next_id,
            since: now,
            network,
            _evict: evict,
        });
        *self.by_network.entry(network).or_default() += 1;
        if self.count() >= self.most {
            self.on_full(now);
        }
        self.next_id
    }

    fn count(&self) -> usize {
        self.held.len() + self.exempt
    }

    /// How many have had their time.
    fn old(&self, now: Instant) -> usize {
        self.held.partition_point(|held| held.since + GRACE <= now)
    }

    /// The permit of this id, unless it was taken.
    fn remove(&mut self, id: u64) -> Option<Held> {
        let at = self.position(id)?;
        self.remove_at(at)
    }

    fn position(&self, id: u64) -> Option<usize> {
        // Ids rise from front to back.
        self.held.binary_search_by_key(&id, |held| held.id).ok()
    }

    fn remove_at(&mut self, at: usize) -> Option<Held> {
        let held = self.held.remove(at)?;
        self.count_down(held.network);
        Some(held)
    }

    /// The permit of this id is another network's, unless it was taken.
    fn assign(&mut self, id: u64, network: IpAddr) {
        if let Some(at) = self.position(id) {
            let before = std::mem::replace(&mut self.held[at].network, network);
            self.count_down(before);
            *self.by_network.entry(network).or_default() += 1;
        }
    }

    fn count_down(&mut self, network: IpAddr) {
        if let Some(count) = self.by_network.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                self.by_network.remove(&network);
            }
        }
    }

    fn on_full(&mut self, now: Instant) {
        let rested = self
            .free_since
            .take()
            .is_some_and(|since| since + GRACE <= now);
        if rested || self.full_since.is_none() {
            (self.full_since, self.returned) = (Some(now), 0);
        }
    }

    /// One was given back. A crowd that speaks gives back many; it is no flood. A few honest
    /// peers among the silent ones of a flood do not change what it is.
    fn on_returned(&mut self, now: Instant) {
        self.returned += 1;
        if self.returned > self.most / 2 {
            (self.full_since, self.returned) = (None, 0);
        }
        if self.count() < self.most {
            self.free_since.get_or_insert(now);
        }
    }

    /// The network that floods, if one does.
    fn flood(&self, now: Instant) -> Option<IpAddr> {
        self.full_since.filter(|since| *since + GRACE <= now)?;
        let largest = self.by_network.iter().max_by_key(|(_, count)| **count)?;
        (*largest.1 > self.most / 2).then_some(*largest.0)
    }

    /// The oldest permit of the network that floods. It is to be dropped without the lock.
    fn evict_of_flood(&mut self, now: Instant) -> Option<Held> {
        let network = self.flood(now)?;
        let at = self.held.iter().position(|held| held.network == network)?;
        self.remove_at(at)
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
        self.remove_at(at)
    }
}

impl Permit {
    /// Waits until the permit is needed for another. Cancel safe.
    pub async fn evicted(&mut self) {
        let _ = (&mut self.evicted).await;
    }

    /// Who has it was found to be of another network than it had come from.
    pub fn is_from(&self, addr: IpAddr) {
        lock(&self.permits).assign(self.id, network(addr));
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
        if held.is_some() || self.exempt {
            permits.on_returned(Instant::now()); // it was not evicted
        }
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

//! Connections that have not said their hello: how many there may be, and who
//! goes when another comes.
//!
//! A peer that is new and one that will never say anything look alike at first.
//! So nobody goes who came within the last [`GRACE`], and others wait in the
//! system's backlog meanwhile: a crowd of honest peers, as after a restart, is
//! served in turn. After that silence is a choice, and the oldest goes of the
//! network that has most places.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep};

/// In which an honest hello arrives, though its packet be lost once.
pub(super) const GRACE: Duration = Duration::from_secs(1);

/// The places of one listener.
#[derive(Debug)]
pub(super) struct Newcomers {
    places: Arc<Mutex<Places>>,
    most: usize,
    sleep: Pin<Box<Sleep>>,
}

/// The place of one connection, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Mutex<Places>>,
    id: u64,
    taken: oneshot::Receiver<()>,
    kept: bool,
}

#[derive(Debug, Default)]
struct Places {
    /// The oldest first.
    held: VecDeque<Held>,
    /// Places that can't be taken.
    kept: usize,
    next_id: u64,
    /// Who waits for a place.
    waits: Option<Waker>,
}

#[derive(Debug)]
struct Held {
    id: u64,
    since: Instant,
    network: IpAddr,
    /// Dropped to take the place away, which wakes who has it.
    _take: oneshot::Sender<()>,
}

impl Newcomers {
    pub fn new(most: usize) -> Self {
        Newcomers {
            places: Arc::default(),
            most,
            sleep: Box::pin(tokio::time::sleep(Duration::ZERO)),
        }
    }

    /// Ready once there is a place for another, or one that can be taken.
    pub fn poll_place(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let mut places = lock(&self.places);
            let oldest = places.held.front().map(|oldest| oldest.since);
            let can_be_taken = oldest.is_some_and(|since| since + GRACE <= Instant::now());
            if places.count() < self.most || can_be_taken {
                return Poll::Ready(());
            }
            places.waits = Some(cx.waker().clone());
            drop(places);
            let Some(since) = oldest else {
                return Poll::Pending;
            };
            self.sleep.as_mut().reset(since + GRACE);
            if self.sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Gives a place to a peer that has come now, after
    /// [`poll_place`](Self::poll_place).
    pub fn enter(&self, addr: IpAddr) -> Place {
        let (take, taken) = oneshot::channel();
        let mut places = lock(&self.places);
        let full = places.count() >= self.most;
        let gone = full.then(|| places.take_one(Instant::now()));
        places.next_id += 1;
        let id = places.next_id;
        places.held.push_back(Held {
            id,
            since: Instant::now(),
            network: network(addr),
            _take: take,
        });
        drop(places);
        drop(gone);
        Place {
            places: self.places.clone(),
            id,
            taken,
            kept: false,
        }
    }

    /// Takes the places of all who are silent, because the system has no room.
    pub fn thin(&self) {
        let mut places = lock(&self.places);
        let old = places.old(Instant::now());
        let taken: Vec<Held> = places.held.drain(..old).collect();
        drop(places);
        drop(taken);
    }
}

impl Places {
    fn count(&self) -> usize {
        self.held.len() + self.kept
    }

    /// How many have had their time.
    fn old(&self, now: Instant) -> usize {
        self.held.partition_point(|held| held.since + GRACE <= now)
    }

    /// The place of this id, unless it was taken.
    fn remove(&mut self, id: u64) -> Option<Held> {
        // Ids rise from front to back.
        let at = self.held.binary_search_by_key(&id, |held| held.id).ok()?;
        self.held.remove(at)
    }

    /// The oldest place of the network that has most of those that have had
    /// their time. It is to be dropped without the lock.
    fn take_one(&mut self, now: Instant) -> Option<Held> {
        let old = self.old(now);
        let mut count = HashMap::new();
        for held in self.held.range(..old) {
            *count.entry(held.network).or_insert(0) += 1;
        }
        // Of networks that have as many, the one with the oldest place.
        let crowd = |held: &Held| std::cmp::Reverse(count[&held.network]);
        let at = (0..old).min_by_key(|at| crowd(&self.held[*at]))?;
        self.held.remove(at)
    }
}

impl Place {
    /// Waits until the place is needed for another. Cancel safe.
    pub async fn taken(&mut self) {
        let _ = (&mut self.taken).await;
    }

    /// From now on it is not to be taken.
    pub fn keep(&mut self) {
        let mut places = lock(&self.places);
        let held = places.remove(self.id);
        self.kept = held.is_some();
        places.kept += usize::from(self.kept);
        drop(places);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = lock(&self.places);
        let held = places.remove(self.id);
        places.kept -= usize::from(self.kept);
        let waits = places.waits.take();
        drop(places);
        drop(held);
        if let Some(waker) = waits {
            waker.wake();
        }
    }
}

fn lock(places: &Mutex<Places>) -> MutexGuard<'_, Places> {
    places.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What one peer commonly has: an address of IPv4, a /64 of IPv6.
fn network(addr: IpAddr) -> IpAddr {
    match addr.to_canonical() {
        IpAddr::V6(addr) => Ipv6Addr::from_bits(addr.to_bits() & (!0 << 64)).into(),
        v4 => v4,
    }
}

//! How many bytes are free, and who may take them.

use std::fmt;
#[cfg(feature = "server")]
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
#[cfg(feature = "server")]
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::network::NetworkUse;
#[cfg(feature = "server")]
use super::network::Networks;
use crate::check::{ConfigError, check};

/// Bytes that each connection always has: enough for ten channels at rest, and for requests
/// that come one by one. Leases grow and shrink in steps of it.
pub(crate) const RESERVE: u64 = 32 << 10;

/// The budget of all connections that were given no other: a quarter of a small server's
/// memory of 2 GiB.
const DEFAULT: u64 = 512 << 20;

/// How long until one who has no memory looks again whether others have given some back.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// One part of so many of the budget is for reserves, so that connections that hold much never
/// keep others from beginning. Another is for the first channels of each connection.
const EIGHTHS: u64 = 8;

/// The bytes of memory that connections may hold together. Clones share them.
///
/// Each connection has 32 KiB, always. It leases more as it needs it, and gives that back
/// when it needs it no more. A quarter of the budget is set aside: half of it for the 32 KiB of
/// others, and half for the first eight channels of each. A connection may lease half of the rest
/// that no other has. So one alone may hold three eighths of the budget, and hundreds that hold
/// what they can leave something for the next.
///
/// The connections that acceptors have from one network (`server::ConnectionLimits`) lease at most
/// three times as much together as they leave to others, and so it is with first channels. What they
/// lease and the 32 KiB of each are at most three times what is free: a further connection is reset.
/// So a crowd at one address leaves clients at others room to begin.
///
/// The [guide](crate::guide::limits#memory-of-the-process) says what is counted, and what
/// happens to a connection that gets no more.
///
/// ```
/// use tcpchan::{Config, MemoryBudget};
///
/// let budget = MemoryBudget::new(1 << 30)?; // bytes
/// let server = Config::default().memory_budget(budget.clone());
/// let client = Config::default().memory_budget(budget.clone());
/// assert_eq!((budget.bytes(), budget.used()), (1 << 30, 0));
/// # Ok::<(), tcpchan::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct MemoryBudget(Arc<Budget>);

struct Budget {
    bytes: u64,
    free: AtomicU64,
    /// What is free for the first channels of each connection, if `free` is as much.
    few: AtomicU64,
    #[cfg(feature = "server")]
    networks: Mutex<Networks>,
    /// Told when more is free.
    freed: Notify,
    /// How many wait for that.
    waiting: AtomicU64,
}

impl MemoryBudget {
    /// A budget of so many bytes.
    ///
    /// # Errors
    ///
    /// Below 1 MiB.
    pub fn new(bytes: u64) -> Result<Self, ConfigError> {
        check("memory_budget", bytes.into(), 1 << 20..=u64::MAX.into())?;
        Ok(MemoryBudget::of(bytes))
    }

    /// The budget of 512 MiB that all connections of the process share that were given no
    /// other.
    #[must_use]
    pub fn of_process() -> Self {
        static PROCESS: OnceLock<MemoryBudget> = OnceLock::new();
        PROCESS.get_or_init(|| MemoryBudget::of(DEFAULT)).clone()
    }

    pub(super) fn of(bytes: u64) -> Self {
        MemoryBudget(Arc::new(Budget {
            bytes,
            free: AtomicU64::new(bytes),
            few: AtomicU64::new(bytes / EIGHTHS),
            #[cfg(feature = "server")]
            networks: Mutex::default(),
            freed: Notify::new(),
            waiting: AtomicU64::new(0),
        }))
    }

    /// All bytes of the budget.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.bytes
    }

    /// Bytes that connections have now. An acceptor has 32 KiB for the next one.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.0.bytes - self.0.free.load(SeqCst)
    }

    /// What the connections of a network have, which is named by an address.
    #[cfg(feature = "server")]
    pub(crate) fn network(&self, network: IpAddr) -> Arc<NetworkUse> {
        let mut networks = self
            .0
            .networks
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        networks.get(network)
    }

    pub(super) fn free(&self) -> u64 {
        self.0.free.load(SeqCst)
    }

    /// Takes what `wanted` says of what is free, if that is anything.
    pub(super) fn take(&self, wanted: impl Fn(u64) -> u64) -> Option<u64> {
        let mut taken = 0;
        let take = |free| {
            taken = wanted(free);
            (taken > 0).then(|| free - taken)
        };
        let update = self.0.free.fetch_update(SeqCst, SeqCst, take);
        update.is_ok().then_some(taken)
    }

    /// What `try_take` takes, as soon as there is enough. Cancel safe.
    #[cfg(feature = "server")]
    pub(super) async fn take_when_free<T>(&self, try_take: impl Fn() -> Option<T>) -> T {
        if let Some(taken) = try_take() {
            return taken;
        }
        let _waits = Waiting::new(&self.0.waiting);
        loop {
            let freed = self.0.freed.notified();
            if let Some(taken) = try_take() {
                self.0.freed.notify_one(); // what is left may do for the next
                return taken;
            }
            freed.await;
        }
    }

    /// What is for all that connections hold beyond their reserves and first channels, where so
    /// much is free.
    fn beyond_reserves(&self, free: u64) -> u64 {
        let kept = self.part() + self.0.few.load(SeqCst);
        free.saturating_sub(kept)
    }

    /// What a connection of the network may take that has taken so much: at most what is then
    /// free.
    pub(super) fn most(&self, free: u64, before: u64, network: Option<&NetworkUse>) -> u64 {
        let free = self.beyond_reserves(free);
        let free = network.map_or(free, |network| network.most(free));
        free.saturating_sub(before) / 2
    }

    /// Takes so many bytes of the part for first channels, if it has `kept` more, and if a part for
    /// reserves is left.
    #[cfg(feature = "server")]
    pub(super) fn take_for_few(&self, bytes: u64, kept: u64) -> bool {
        let few = &self.0.few;
        let least = bytes.saturating_add(kept);
        let has_room = few.load(SeqCst) >= least;
        let all = |free| bytes * u64::from(free >= self.part().saturating_add(bytes));
        if !has_room || self.take(all).is_none() {
            return false;
        }
        let take = |few| (few >= least).then(|| few - bytes);
        let taken = few.fetch_update(SeqCst, SeqCst, take).is_ok();
        if !taken {
            self.give_back(bytes); // others were quicker
        }
        taken
    }

    #[cfg(feature = "server")]
    pub(super) fn give_back_for_few(&self, bytes: u64) {
        self.0.few.fetch_add(bytes, SeqCst);
        self.give_back(bytes);
    }

    /// Bytes of the part for reserves, and of that for first channels.
    pub(super) fn part(&self) -> u64 {
        self.0.bytes / EIGHTHS
    }

    pub(super) fn give_back(&self, bytes: u64) {
        self.0.free.fetch_add(bytes, SeqCst);
        if self.0.waiting.load(SeqCst) > 0 {
            self.0.freed.notify_one();
        }
    }
}

/// The same budget, not one of the same size.
impl PartialEq for MemoryBudget {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for MemoryBudget {}

impl fmt::Debug for MemoryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBudget")
            .field("bytes", &self.bytes())
            .field("used", &self.used())
            .finish()
    }
}

/// Counts one who waits, until it is dropped.
#[cfg(feature = "server")]
struct Waiting<'a>(&'a AtomicU64);

#[cfg(feature = "server")]
impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicU64) -> Self {
        count.fetch_add(1, SeqCst);
        Waiting(count)
    }
}

#[cfg(feature = "server")]
impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

//! The memory that the connections of a process may hold together.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Notify;

use crate::check::{ConfigError, check};

/// Bytes that each connection always has: enough for ten channels at rest, and for requests
/// that come one by one. Leases grow and shrink in steps of it.
pub(crate) const RESERVE: u64 = 32 << 10;

/// The budget of all connections that were given no other: a quarter of a small server's
/// memory of 2 GiB.
const DEFAULT: u64 = 512 << 20;

/// How long until one who has no memory looks again whether others have given some back.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// One part of so many of the budget is for reserves and few channels, so that connections that
/// hold much never keep others from beginning.
const FOR_RESERVES: u64 = 4;

/// Channels of each connection that may also take of the first half of that part. The fewer a
/// connection has, the more of it: so a crowd that holds all else leaves others some channels.
#[cfg(feature = "server")]
const FEW_CHANNELS: u64 = 8;

/// The bytes of memory that connections may hold together. Clones share them.
///
/// Each connection has 32 KiB, always. It leases more as it needs it, and gives that back
/// when it needs it no more. It may lease at most as much as would then still be free, without
/// the last quarter of the budget. That is for the 32 KiB of others, and half of it for the
/// first eight channels of each. So a connection alone may hold three eighths of the budget,
/// and hundreds that hold what they can leave something for the next.
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

    fn of(bytes: u64) -> Self {
        MemoryBudget(Arc::new(Budget {
            bytes,
            free: AtomicU64::new(bytes),
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

    /// The reserve of another connection, if it is free.
    pub(crate) fn try_lease(&self) -> Option<Lease> {
        self.take(|free| RESERVE * u64::from(free >= RESERVE))
            .map(|bytes| Lease {
                budget: self.clone(),
                bytes,
            })
    }

    /// Waits for the reserve of another connection. Cancel safe.
    #[cfg(feature = "server")]
    pub(crate) async fn lease(&self) -> Lease {
        if let Some(lease) = self.try_lease() {
            return lease;
        }
        let _waits = Waiting::new(&self.0.waiting);
        loop {
            let freed = self.0.freed.notified();
            if let Some(lease) = self.try_lease() {
                self.0.freed.notify_one(); // what is left may do for the next
                return lease;
            }
            freed.await;
        }
    }

    /// Takes what `wanted` says of what is free, if that is anything.
    fn take(&self, wanted: impl Fn(u64) -> u64) -> Option<u64> {
        let free = &self.0.free;
        let before = free.fetch_update(SeqCst, SeqCst, |free| match wanted(free) {
            0 => None,
            taken => Some(free - taken),
        });
        before.ok().map(wanted)
    }

    /// What a connection may take that has taken so much: at most what is then free.
    fn most(&self, free: u64, before: u64) -> u64 {
        self.most_but(self.0.bytes / FOR_RESERVES, free, before)
    }

    fn most_but(&self, kept: u64, free: u64, before: u64) -> u64 {
        free.saturating_sub(kept).saturating_sub(before) / 2
    }

    fn give_back(&self, bytes: u64) {
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

/// What one connection has of a budget, until it is dropped: a multiple of [`RESERVE`].
#[derive(Debug)]
pub(crate) struct Lease {
    budget: MemoryBudget,
    bytes: u64,
}

impl Lease {
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether nothing is leased beyond what each connection always has.
    pub fn is_reserve(&self) -> bool {
        self.bytes == RESERVE
    }

    /// Whether [`resize`](Self::resize) would get so many bytes now. It takes none.
    pub fn could_have(&self, bytes: u64) -> bool {
        let more = bytes.next_multiple_of(RESERVE).saturating_sub(self.bytes);
        let most = |free| self.budget.most(free, self.bytes - RESERVE);
        more == 0 || more <= most(self.budget.0.free.load(SeqCst))
    }

    /// Has so many bytes or a little more from now on: fewer than before, or more as far as
    /// the budget allows.
    pub fn resize(&mut self, bytes: u64) {
        let bytes = bytes.max(1).next_multiple_of(RESERVE);
        if bytes < self.bytes {
            self.budget.give_back(self.bytes - bytes);
            self.bytes = bytes;
        } else if bytes > self.bytes {
            let (wanted, before) = (bytes - self.bytes, self.bytes - RESERVE);
            let taken = self.budget.take(|free| {
                let most = self.budget.most(free, before);
                wanted.min(most / RESERVE * RESERVE)
            });
            self.bytes += taken.unwrap_or(0);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

/// What the application holds for the channels of one connection.
#[cfg(feature = "server")]
#[derive(Debug)]
pub(crate) struct Shares {
    budget: MemoryBudget,
    /// Bytes of each channel.
    each: u64,
    channels: AtomicU64,
    /// Told when one of them is dropped.
    freed: Notify,
}

/// What the application holds for one channel, until it is dropped.
#[cfg(feature = "server")]
#[derive(Debug)]
pub(crate) struct Share {
    of: Arc<Shares>,
    bytes: u64,
}

#[cfg(feature = "server")]
impl Shares {
    pub fn new(budget: MemoryBudget, each: u64) -> Arc<Self> {
        Arc::new(Shares {
            budget,
            each,
            channels: AtomicU64::new(0),
            freed: Notify::new(),
        })
    }

    /// The share of another channel, by the rule of [`Lease::resize`] and of
    /// [`FEW_CHANNELS`]. A connection always has one channel, also if nothing is free.
    pub fn try_take(self: &Arc<Self>) -> Option<Share> {
        let channels = self.channels.load(SeqCst);
        let part = self.budget.bytes() / FOR_RESERVES / (2 * FEW_CHANNELS);
        let kept = part * (FEW_CHANNELS + channels.min(FEW_CHANNELS));
        let taken = self.budget.take(|free| {
            let most = self.budget.most_but(kept, free, channels * self.each);
            self.each * u64::from(self.each <= most)
        });
        if taken.is_none() && channels > 0 && self.each > 0 {
            return None;
        }
        self.channels.fetch_add(1, SeqCst);
        Some(Share {
            of: self.clone(),
            bytes: taken.unwrap_or(0),
        })
    }

    /// Waits for the share of another channel: until one of the same connection is dropped, or
    /// for [`LOOK_AGAIN`] after others gave memory back. Cancel safe.
    pub async fn take(self: &Arc<Self>) -> Share {
        loop {
            let freed = self.freed.notified();
            if let Some(share) = self.try_take() {
                return share;
            }
            let _ = tokio::time::timeout(LOOK_AGAIN, freed).await; // it looks either way
        }
    }
}

#[cfg(feature = "server")]
impl Drop for Share {
    fn drop(&mut self) {
        self.of.channels.fetch_sub(1, SeqCst);
        self.of.budget.give_back(self.bytes);
        self.of.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn one_connection_alone_gets_three_eighths_of_the_budget() {
        let budget = MemoryBudget::of(512 * MIB);
        let mut lease = budget.try_lease().unwrap();
        lease.resize(u64::MAX / 2);
        let bytes = lease.bytes();
        assert!((191 * MIB..=192 * MIB).contains(&bytes), "{bytes}");
        drop(lease);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn connections_that_hold_what_they_can_leave_something_for_the_next() {
        let budget = MemoryBudget::of(512 * MIB);
        let mut leases = Vec::new();
        for _ in 0..1_000 {
            let mut lease = budget.try_lease().unwrap();
            lease.resize(200 * MIB);
            leases.push(lease);
        }
        // As long as any of them wants more.
        for _ in 0..100 {
            for lease in &mut leases {
                lease.resize(200 * MIB);
            }
        }
        assert!(budget.used() <= 512 * MIB);
        let reserves: Vec<_> = (0..3_000).map_while(|_| budget.try_lease()).collect();
        assert_eq!(reserves.len(), 3_000);
    }

    #[test]
    fn a_lease_could_have_what_it_would_get() {
        let budget = MemoryBudget::of(4 * MIB);
        let mut lease = budget.try_lease().unwrap();
        let most = (1..100)
            .rev()
            .find(|steps| lease.could_have(steps * RESERVE));
        assert_eq!(budget.used(), RESERVE, "it takes none");
        lease.resize(4 * MIB);
        assert_eq!(Some(lease.bytes() / RESERVE), most);
    }

    #[test]
    fn what_a_connection_needs_no_more_is_for_others() {
        let budget = MemoryBudget::of(2 * MIB);
        let mut first = budget.try_lease().unwrap();
        let mut second = budget.try_lease().unwrap();
        first.resize(MIB);
        second.resize(MIB);
        let before = second.bytes();
        first.resize(0);
        assert_eq!(first.bytes(), RESERVE);
        second.resize(MIB);
        assert!(second.bytes() > before, "{} {before}", second.bytes());
    }

    #[cfg(feature = "server")]
    #[test]
    fn a_crowd_that_holds_all_that_it_can_leaves_others_a_few_channels() {
        let budget = MemoryBudget::of(512 * MIB);
        let mut crowd: Vec<_> = (0..100).map(|_| budget.try_lease().unwrap()).collect();
        for lease in &mut crowd {
            lease.resize(200 * MIB);
        }
        let later: Vec<_> = (0..700).map(|_| budget.try_lease().unwrap()).collect();
        let shares = Shares::new(budget.clone(), RESERVE);
        let few: Vec<_> = (0..100).map_while(|_| shares.try_take()).collect();
        assert!((4..=8).contains(&few.len()), "{}", few.len());
        // As many peers that open all they can.
        let many: Vec<_> = (0..800)
            .map(|_| Shares::new(budget.clone(), RESERVE))
            .collect();
        let held: Vec<_> = (0..8)
            .flat_map(|_| many.iter().filter_map(Shares::try_take))
            .collect();
        assert!(held.len() >= 800);
        let reserves: Vec<_> = (0..1_000).map_while(|_| budget.try_lease()).collect();
        assert_eq!(reserves.len(), 1_000);
        drop(later);
    }

    #[cfg(feature = "server")]
    #[tokio::test]
    async fn whoever_waits_for_a_reserve_gets_the_next_that_is_free() {
        let budget = MemoryBudget::of(MIB);
        let mut leases: Vec<_> = std::iter::from_fn(|| budget.try_lease()).collect();
        assert_eq!(leases.len() as u64, MIB / RESERVE);
        let waits = tokio::spawn({
            let budget = budget.clone();
            async move { budget.lease().await.bytes() }
        });
        tokio::task::yield_now().await;
        leases.pop();
        assert_eq!(waits.await.unwrap(), RESERVE);
    }
}

//! Limits of the channels that an application serves.

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::limits::{Bucket, Rate};
use crate::check::{ConfigError, HOUR, MOST, check, check_time};
use crate::memory_budget::{MemoryBudget, NetworkUse, Share, Shares};
use crate::observability::{self, WaitingChannel};

/// axum and hyper hold 29.2 KiB for a channel that has got a byte.
const MEMORY_PER_CHANNEL: u32 = 32 << 10;

/// How many channels an application serves at a time, and how quickly new ones come. An
/// acceptor or a shared port gets it by `with_channel_limits`. By default only their
/// [memory](Self::memory_per_channel) is limited.
///
/// Beyond a limit a channel waits, and those behind it on its connection wait too:
///
/// - A channel that has waited for [`max_wait`](Self::max_wait) is refused. Those behind it
///   are refused at once until there is room, or for as long again. Then the next one waits.
///   The peer may try elsewhere, because the application never saw the channel.
/// - Of one connection at most [`accept_backlog`](crate::Config::accept_backlog) channels
///   wait. One more is refused.
///
/// Connections take turns: each has one channel in the queue for a free place.
///
/// **Clones share their counts**, so several acceptors can be limited together. Setting
/// [`max_channels`](Self::max_channels) or [`rate`](Self::rate) begins new counts.
///
/// A service that sheds load can ask too. Its `poll_ready` waits for [`ready`](Self::ready),
/// and tower's `LoadShed` around it answers requests on kept channels meanwhile:
///
/// ```
/// use std::future::Future;
/// use std::pin::Pin;
/// use std::task::{Context, Poll, ready};
/// use tcpchan::server::ChannelLimits;
/// use tower_service::Service;
///
/// struct Loaded<S> {
///     inner: S,
///     limits: ChannelLimits,
///     ready: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
/// }
///
/// impl<S: Service<R>, R> Service<R> for Loaded<S> {
///     type Response = S::Response;
///     type Error = S::Error;
///     type Future = S::Future;
///
///     fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
///         let limits = self.limits.clone();
///         let wait = self.ready.get_or_insert_with(|| Box::pin(async move { limits.ready().await }));
///         ready!(wait.as_mut().poll(cx));
///         self.ready = None;
///         self.inner.poll_ready(cx)
///     }
///
///     fn call(&mut self, request: R) -> S::Future {
///         self.inner.call(request)
///     }
/// }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ChannelLimits {
    rate_per_connection: Rate,
    max_wait: Duration,
    memory_per_channel: u32,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    max_channels: u32,
    rate: Rate,
    bucket: Mutex<Bucket>,
    /// None if their number has no limit.
    places: Option<Arc<Semaphore>>,
    waiting: AtomicUsize,
}

impl Shared {
    fn new(max_channels: u32, rate: Rate) -> Arc<Self> {
        let most = usize::try_from(max_channels).unwrap_or(usize::MAX);
        let limited = u128::from(max_channels) < MOST && most < Semaphore::MAX_PERMITS;
        Arc::new(Shared {
            max_channels,
            rate,
            bucket: Mutex::default(),
            places: limited.then(|| Arc::new(Semaphore::new(most))),
            waiting: AtomicUsize::new(0),
        })
    }
}

impl Default for ChannelLimits {
    fn default() -> Self {
        ChannelLimits {
            rate_per_connection: Rate::UNLIMITED,
            max_wait: Duration::from_secs(1),
            memory_per_channel: MEMORY_PER_CHANNEL,
            shared: Shared::new(MOST as u32, Rate::UNLIMITED),
        }
    }
}

impl ChannelLimits {
    /// Channels that the application has at a time, from when they are accepted until they
    /// are dropped. Default 2^31 - 1: no limit.
    ///
    /// # Errors
    ///
    /// 0 or above 2^31 - 1.
    pub fn max_channels(mut self, count: u32) -> Result<Self, ConfigError> {
        check("max_channels", count.into(), 1..=MOST)?;
        self.shared = Shared::new(count, self.shared.rate);
        Ok(self)
    }

    /// See [`max_channels`](Self::max_channels).
    #[must_use]
    pub fn get_max_channels(&self) -> u32 {
        self.shared.max_channels
    }

    /// New channels a second of all connections, and how many may come at once. Default
    /// 2^31 - 1 a second: no limit.
    ///
    /// # Errors
    ///
    /// Either is 0 or above 2^31 - 1.
    pub fn rate(mut self, per_second: u32, burst: u32) -> Result<Self, ConfigError> {
        let rate = Rate::checked("rate", per_second, burst)?;
        self.shared = Shared::new(self.shared.max_channels, rate);
        Ok(self)
    }

    /// `per_second` and `burst` of [`rate`](Self::rate).
    #[must_use]
    pub fn get_rate(&self) -> (u32, u32) {
        self.shared.rate.get()
    }

    /// New channels a second of each connection, and how many may come at once. Default
    /// 2^31 - 1 a second: no limit.
    ///
    /// # Errors
    ///
    /// Either is 0 or above 2^31 - 1.
    pub fn rate_per_connection(mut self, per_second: u32, burst: u32) -> Result<Self, ConfigError> {
        self.rate_per_connection = Rate::checked("rate_per_connection", per_second, burst)?;
        Ok(self)
    }

    /// `per_second` and `burst` of [`rate_per_connection`](Self::rate_per_connection).
    #[must_use]
    pub fn get_rate_per_connection(&self) -> (u32, u32) {
        self.rate_per_connection.get()
    }

    /// How long a channel may wait before it is refused. Default 1 s.
    ///
    /// # Errors
    ///
    /// Above an hour.
    pub fn max_wait(mut self, time: Duration) -> Result<Self, ConfigError> {
        check_time("max_wait", time, 0..=HOUR)?;
        self.max_wait = time;
        Ok(self)
    }

    /// See [`max_wait`](Self::max_wait).
    #[must_use]
    pub fn get_max_wait(&self) -> Duration {
        self.max_wait
    }

    /// Bytes of memory that the application holds for each channel, from when it is accepted until
    /// it is dropped. They count in the connection's [`MemoryBudget`]. Without them a channel
    /// waits, but for one of each connection. Default 32 KiB: axum and hyper were measured to
    /// hold 29.2 KiB.
    ///
    /// With the default budget, an application has some 11,000 channels at a time. Set a larger
    /// [`MemoryBudget`] for more. With 0 they take nothing of it, and the application has to
    /// bound them.
    pub fn memory_per_channel(mut self, bytes: u32) -> Self {
        self.memory_per_channel = bytes;
        self
    }

    /// See [`memory_per_channel`](Self::memory_per_channel).
    #[must_use]
    pub fn get_memory_per_channel(&self) -> u32 {
        self.memory_per_channel
    }

    /// Channels that the application has now. 0 if their number has no limit.
    #[must_use]
    pub fn in_use(&self) -> usize {
        let places = self.shared.places.as_ref();
        places.map_or(0, |places| {
            let most = usize::try_from(self.shared.max_channels).unwrap_or(usize::MAX);
            most.saturating_sub(places.available_permits())
        })
    }

    /// Connections of which a channel waits for a limit now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.waiting.load(Relaxed)
    }

    /// Whether another channel would have to wait until one is dropped.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let places = self.shared.places.as_ref();
        places.is_some_and(|places| places.available_permits() == 0)
    }

    /// Waits until another channel would not have to wait until one is dropped. It takes a turn
    /// behind those that wait already. Cancel safe.
    pub async fn ready(&self) {
        if let Some(places) = &self.shared.places
            && places.acquire().await.is_err()
        {
            pending().await // it is never closed
        }
    }

    /// The limits of the channels of one connection, which is from this network.
    pub(super) fn gate(&self, budget: &MemoryBudget, network: Option<Arc<NetworkUse>>) -> Gate {
        Gate {
            limits: self.clone(),
            memory: Shares::new(budget.clone(), self.memory_per_channel.into(), network),
            bucket: Bucket::default(),
            full_since: None,
        }
    }
}

/// What the channels of one connection pass.
#[derive(Debug)]
pub(super) struct Gate {
    limits: ChannelLimits,
    memory: Arc<Shares>,
    bucket: Bucket,
    /// Since when there has been no place for a channel.
    full_since: Option<Instant>,
}

/// A channel is to be refused.
#[derive(Debug)]
pub(super) struct Refused;

/// The place of a channel, until it is dropped: none if their number has no limit, and its memory.
pub(super) type Place = (Option<OwnedSemaphorePermit>, Share);

impl Gate {
    /// Waits until one more channel may be served.
    pub async fn pass(&mut self) -> Result<Place, Refused> {
        let start = Instant::now();
        if let Some(until) = self.reserve(start)? {
            let _waits = Waits::new(&self.limits.shared);
            sleep_until(until).await;
        }
        self.place(start).await
    }

    /// Takes one more from the rates; until when it has to wait.
    fn reserve(&mut self, now: Instant) -> Result<Option<Instant>, Refused> {
        let shared = &self.limits.shared;
        let std = now.into_std();
        let mut all = shared.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let of_one = self.bucket.wait(self.limits.rate_per_connection, std);
        let wait = of_one.max(all.wait(shared.rate, std));
        if wait > self.limits.max_wait {
            return Err(Refused);
        }
        all.take(shared.rate, std);
        self.bucket.take(self.limits.rate_per_connection, std);
        Ok((!wait.is_zero()).then(|| now + wait))
    }

    async fn place(&mut self, start: Instant) -> Result<Place, Refused> {
        if let Some(place) = self.try_place() {
            self.full_since = None;
            return Ok(place);
        }
        let max_wait = self.limits.max_wait;
        // After refusals for as long, one waits for its turn again.
        let since = self
            .full_since
            .filter(|since| start < *since + 2 * max_wait);
        let since = since.unwrap_or(start);
        self.full_since = Some(since);
        let _waits = Waits::new(&self.limits.shared);
        let until = since + max_wait;
        let Ok(memory) = timeout_at(until, self.memory.take()).await else {
            observability::channel_without_memory();
            return Err(Refused);
        };
        let permit = match self.limits.shared.places.clone() {
            Some(places) => match timeout_at(until, places.acquire_owned()).await {
                Ok(Ok(permit)) => Some(permit),
                _ => return Err(Refused),
            },
            None => None,
        };
        self.full_since = None;
        Ok((permit, memory))
    }

    fn try_place(&self) -> Option<Place> {
        let permit = match self.limits.shared.places.clone() {
            Some(places) => Some(places.try_acquire_owned().ok()?),
            None => None,
        };
        Some((permit, self.memory.try_take()?))
    }
}

/// A channel waits, until this is dropped.
struct Waits<'a> {
    shared: &'a Shared,
    _seen: WaitingChannel,
}

impl<'a> Waits<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.waiting.fetch_add(1, Relaxed);
        Waits {
            shared,
            _seen: WaitingChannel::new(),
        }
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.shared.waiting.fetch_sub(1, Relaxed);
    }
}

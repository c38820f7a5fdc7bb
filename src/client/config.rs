use std::ops::RangeInclusive;
use std::time::Duration;

use crate::check::{ConfigError, DAY, MOST, check, check_time};

/// How a [`Multiplex`](super::Multiplex) keeps the connections of each target;
/// always valid.
///
/// What is set can be read from the getter whose name begins with `get_`.
///
/// ```
/// use tcpchan::client::PoolConfig;
///
/// // Two connections from the start, so that one may fail.
/// let pool = PoolConfig::default().connections(2..=4)?;
/// # Ok::<(), tcpchan::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct PoolConfig {
    pub(super) least: usize,
    pub(super) most: usize,
    pub(super) target_concurrency: usize,
    pub(super) open_timeout: Duration,
    pub(super) await_hello: bool,
    pub(super) max_waiting: usize,
    pub(super) idle_timeout: Duration,
    pub(super) max_age: Option<Duration>,
    pub(super) max_opened: u32,
    pub(super) drain_timeout: Option<Duration>,
}

impl Default for PoolConfig {
    fn default() -> Self {
        PoolConfig {
            least: 1,
            most: 32,
            target_concurrency: 256,
            open_timeout: Duration::from_secs(10),
            await_hello: false,
            max_waiting: 1024,
            idle_timeout: Duration::from_secs(3600),
            max_age: Some(Duration::from_secs(3600)),
            max_opened: 1 << 29,
            drain_timeout: None,
        }
    }
}

impl PoolConfig {
    /// The least and the most connections of one target. Default `1..=32`: a clean link needs
    /// one. A target that nobody uses may have none.
    ///
    /// The load decides how many there are ([how](crate::guide::pool)). Another is dialled if:
    ///
    /// - each has its [target concurrency](Self::target_concurrency);
    /// - transfers saturate them ([`Throughput::saturated`](crate::Throughput::saturated)) or
    ///   their channels fail: up to four;
    /// - callers wait for a dial that has taken 5 ms: one for each two;
    /// - transfers are throughput-limited
    ///   ([`Throughput::limited`](crate::Throughput::limited)), as on a link that loses packets:
    ///   as many as there are channels, up to 16. They stay if they carry more.
    ///
    /// Those that the load of the last 30 to 60 s did not need drain. Of those that were
    /// dialled for callers that waited, six stay so long, or one for each 16 callers if that is
    /// more. The others drain when they have no channels.
    ///
    /// With a [`Discovery`](super::Discovery), each address has one at least.
    ///
    /// Replacements of suspect connections do not count: there may be as many as the most, or 8
    /// if that is more. Nor do dials under way for callers that wait: as many as the most, or two.
    ///
    /// # Errors
    ///
    /// A start outside of 1 to 64, or an end outside of the start to 64.
    pub fn connections(mut self, count: RangeInclusive<usize>) -> Result<Self, ConfigError> {
        let (least, most) = (*count.start() as u128, *count.end() as u128);
        check("connections.start", least, 1..=64)?;
        check("connections.end", most, least..=64)?;
        (self.least, self.most) = (*count.start(), *count.end());
        Ok(self)
    }

    /// See [`connections`](Self::connections).
    #[must_use]
    pub fn get_connections(&self) -> RangeInclusive<usize> {
        self.least..=self.most
    }

    /// Channels at a time on each connection. If all have that many, another connection is
    /// dialled, for which nobody waits. Default 256: a quarter of what the other side takes by
    /// default, and more than an HTTP/2 client commonly gets.
    ///
    /// # Errors
    ///
    /// 0 or above 2^31 - 1.
    pub fn target_concurrency(mut self, channels: usize) -> Result<Self, ConfigError> {
        check("target_concurrency", channels as u128, 1..=MOST)?;
        self.target_concurrency = channels;
        Ok(self)
    }

    /// See [`target_concurrency`](Self::target_concurrency).
    #[must_use]
    pub fn get_target_concurrency(&self) -> usize {
        self.target_concurrency
    }

    /// How long a caller waits for a channel, a dial included, and how long one dial may take.
    /// Default 10 s: three of TCP's connection requests may be lost.
    ///
    /// # Errors
    ///
    /// Below 1 ms or above a day.
    pub fn open_timeout(mut self, time: Duration) -> Result<Self, ConfigError> {
        check_time("open_timeout", time, 1..=DAY)?;
        self.open_timeout = time;
        Ok(self)
    }

    /// See [`open_timeout`](Self::open_timeout).
    #[must_use]
    pub fn get_open_timeout(&self) -> Duration {
        self.open_timeout
    }

    /// Whether a connection carries channels only after the server has answered its hello.
    ///
    /// Default `false`: the first requests leave with the hello, which saves a round trip
    /// of each new connection. A server that does not speak tcpchan then fails those
    /// requests, and no dial. After such a failure the pool waits for the hello by itself,
    /// until a connection is good: what comes next fails as a dial does
    /// ([`ConnectError`](super::ConnectError); `is_connect()` of a hyper-util client).
    ///
    /// With `true` the very first request does so, too. Nothing of a request is sent to a
    /// server that does not speak tcpchan.
    pub fn await_hello(mut self, wait: bool) -> Self {
        self.await_hello = wait;
        self
    }

    /// See [`await_hello`](Self::await_hello).
    #[must_use]
    pub fn get_await_hello(&self) -> bool {
        self.await_hello
    }

    /// How many callers may wait for a channel of one target; others get an
    /// error at once. Default 1,024.
    ///
    /// # Errors
    ///
    /// 0 or above 2^31 - 1.
    pub fn max_waiting(mut self, callers: usize) -> Result<Self, ConfigError> {
        check("max_waiting", callers as u128, 1..=MOST)?;
        self.max_waiting = callers;
        Ok(self)
    }

    /// See [`max_waiting`](Self::max_waiting).
    #[must_use]
    pub fn get_max_waiting(&self) -> usize {
        self.max_waiting
    }

    /// How long a target may go without a channel before its connections drain and it is
    /// forgotten. It bounds the memory that targets take. Default 1 h: a warm connection is what
    /// this crate is for, and its keep-alive costs little.
    ///
    /// # Errors
    ///
    /// Below 1 ms or above a day.
    pub fn idle_timeout(mut self, time: Duration) -> Result<Self, ConfigError> {
        check_time("idle_timeout", time, 1..=DAY)?;
        self.idle_timeout = time;
        Ok(self)
    }

    /// See [`idle_timeout`](Self::idle_timeout).
    #[must_use]
    pub fn get_idle_timeout(&self) -> Duration {
        self.idle_timeout
    }

    /// The age at which a connection is replaced, give or take 10 % by chance. `None` for no
    /// limit. Default 1 h, so that changed addresses and new servers behind a load balancer are
    /// found.
    ///
    /// The new connection is dialled first, then the old one drains. Nobody waits for the dial.
    ///
    /// A client that pools channels, as hyper's does, may keep using a channel of the old
    /// connection for as long as it pools it. With `pool_max_idle_per_host(0)` each request has a
    /// channel of its own, and the old connection ends with its last request.
    ///
    /// # Errors
    ///
    /// Below 1 ms or above 400 days.
    pub fn max_age(mut self, time: Option<Duration>) -> Result<Self, ConfigError> {
        if let Some(time) = time {
            check_time("max_age", time, 1..=400 * DAY)?;
        }
        self.max_age = time;
        Ok(self)
    }

    /// See [`max_age`](Self::max_age).
    #[must_use]
    pub fn get_max_age(&self) -> Option<Duration> {
        self.max_age
    }

    /// Channels after which a connection is replaced as at its age, give or take 10 % by
    /// chance. Default 2^29, half of the ids that there are.
    ///
    /// # Errors
    ///
    /// 0 or above 2^29.
    pub fn max_opened(mut self, channels: u32) -> Result<Self, ConfigError> {
        check("max_opened", channels.into(), 1..=1 << 29)?;
        self.max_opened = channels;
        Ok(self)
    }

    /// See [`max_opened`](Self::max_opened).
    #[must_use]
    pub fn get_max_opened(&self) -> u32 {
        self.max_opened
    }

    /// How long a draining connection may take before it is closed, with the channels that are
    /// left. Default `None`: no limit.
    ///
    /// # Errors
    ///
    /// Above a day.
    pub fn drain_timeout(mut self, time: Option<Duration>) -> Result<Self, ConfigError> {
        if let Some(time) = time {
            check_time("drain_timeout", time, 0..=DAY)?;
        }
        self.drain_timeout = time;
        Ok(self)
    }

    /// See [`drain_timeout`](Self::drain_timeout).
    #[must_use]
    pub fn get_drain_timeout(&self) -> Option<Duration> {
        self.drain_timeout
    }
}

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::{ConfigError, DAY, MOST, check, check_time};

/// How a [`Multiplex`](super::Multiplex) keeps the connections of each target;
/// always valid.
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
    pub(super) busy_at: usize,
    pub(super) open_timeout: Duration,
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
            most: 16,
            busy_at: 256,
            open_timeout: Duration::from_secs(10),
            max_waiting: 1024,
            idle_timeout: Duration::from_secs(3600),
            max_age: Some(Duration::from_secs(3600)),
            max_opened: 1 << 29,
            drain_timeout: None,
        }
    }
}

impl PoolConfig {
    /// Connections of one target: how many are dialled at its first use, and up
    /// to how many there may be. Default `1..=16`: a clean link needs one.
    ///
    /// Another is dialled when each has [`busy_at`](Self::busy_at) channels;
    /// when a channel is asked for while a transfer fills each of up to three,
    /// so that small requests don't wait with it
    /// ([`Stats::filled`](crate::proto::Stats::filled)), and it stays as long as
    /// it has something to do; and several when the link loses packets. TCP does
    /// not tell that, so the sign of it is a transfer of eight round trips or more
    /// that carries less than 512 KiB a round trip and no longer grows, while the
    /// sender has more. Then as many are dialled as would carry those 512 KiB
    /// together; new channels go to all of them. If most are held up and carry
    /// together no more than the one did, they share a slow link: all but the first
    /// drain, and the next try comes after a minute, then two, up to an hour.
    /// Without a new sign for a minute the loss is over, and all but the first drain.
    /// [`Stats::held_up`](crate::proto::Stats::held_up) tells the sign.
    ///
    /// While there are several for loss, a connection has no more channels at a time
    /// than it is expected to carry in four round trips, by its pace and the mean of
    /// what the last channels carried; at least one, and any number where that is
    /// eight or more. A caller waits until one is through, for eight round trips and
    /// half of [`open_timeout`](Self::open_timeout) at most; nobody does while more
    /// than 64 would, or where a round trip is below 20 ms. Channels that stay, such
    /// as web sockets, do not count once their connection got no other for eight round
    /// trips. [`max_waiting`](Self::max_waiting) is for other waits.
    ///
    /// While one of them is suspect, or has reached its age, its replacement
    /// comes on top: as many more as the end allows, and up to 8 where that
    /// is less.
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

    /// Channels at a time on each connection of a target from which another
    /// connection is dialled; nobody waits for it. Default 256: a quarter of
    /// what the other side takes by default, and more than an HTTP/2 client
    /// commonly gets.
    ///
    /// # Errors
    ///
    /// 0 or above 2^31 - 1.
    pub fn busy_at(mut self, channels: usize) -> Result<Self, ConfigError> {
        check("busy_at", channels as u128, 1..=MOST)?;
        self.busy_at = channels;
        Ok(self)
    }

    /// How long a caller waits for a channel, with the dial, and how long one
    /// dial may take. Default 10 s, in which three of TCP's connection
    /// requests may be lost.
    ///
    /// # Errors
    ///
    /// Below 1 ms or above a day.
    pub fn open_timeout(mut self, time: Duration) -> Result<Self, ConfigError> {
        check_time("open_timeout", time, 1..=DAY)?;
        self.open_timeout = time;
        Ok(self)
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

    /// How long a target may go without a channel before its connections are
    /// closed and it is forgotten, so that memory does not grow with targets;
    /// it takes up to twice as long. Connections that only a busy time needed
    /// go likewise. Default 1 h: a warm connection is what this crate is for,
    /// and its keep-alive costs little.
    ///
    /// # Errors
    ///
    /// Below 1 ms or above a day.
    pub fn idle_timeout(mut self, time: Duration) -> Result<Self, ConfigError> {
        check_time("idle_timeout", time, 1..=DAY)?;
        self.idle_timeout = time;
        Ok(self)
    }

    /// The age, give or take 10 % by chance, at which a connection is replaced:
    /// the new one is dialled first, then the old one drains. `None` for no
    /// limit. Default 1 h, so that changed addresses and new servers behind a
    /// load balancer are found; it costs a dial that nobody waits for.
    ///
    /// A client that pools channels, as hyper's does, may keep using one of the
    /// old connection for as long as it pools it. With
    /// `pool_max_idle_per_host(0)` each request has a channel of its own, which
    /// costs no round trip, and the old connection ends with its last request.
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

    /// Channels after which, give or take 10 % by chance, a connection is
    /// replaced as at its age. Default 2^29, half of the ids there are.
    ///
    /// # Errors
    ///
    /// 0 or above 2^29.
    pub fn max_opened(mut self, channels: u32) -> Result<Self, ConfigError> {
        check("max_opened", channels.into(), 1..=1 << 29)?;
        self.max_opened = channels;
        Ok(self)
    }

    /// How long the channels of a connection that drains may take to end
    /// before it is closed on them. Default `None`: as long as they like.
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
}

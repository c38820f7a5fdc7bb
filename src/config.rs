//! The configuration of a connection with its socket: the core's, and what the driver
//! and the acceptor add.

use std::time::Duration;

use crate::check::{ConfigError, DAY, MOST, check, check_time};
use crate::memory_budget::MemoryBudget;
use crate::proto;
use crate::wire::Protocol;

/// The configuration of one connection; always valid.
///
/// Each setter checks its value. What is set can be read: the protocol's settings from
/// [`core`](Self::core), the others from the getter whose name begins with `get_`.
///
/// What a peer can make one connection hold has a bound: see [`memory`](Self::memory)
/// and the [table of all limits](crate::guide::limits).
///
/// ```
/// use std::time::Duration;
/// use tcpchan::Config;
///
/// let config = Config::default()
///     .max_channels(10_000)?
///     .answer_within(Duration::from_secs(1), Duration::from_secs(10))?;
/// assert_eq!(config.core().get_max_channels(), 10_000);
/// # Ok::<(), tcpchan::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Config {
    pub(crate) core: proto::Config,
    pacing: bool,
    memory_budget: MemoryBudget,
    max_handshakes: u32,
    max_connection_age: Option<(Duration, Duration)>,
    #[cfg(feature = "net")]
    pub(crate) socket: crate::socket::SocketProfile,
}

/// 1,024, as many files as a process may commonly have open. Where it may have more,
/// most of them stay for peers that have said their hello.
pub(crate) const MAX_HANDSHAKES: u32 = 1024;

impl Default for Config {
    fn default() -> Self {
        Config::from(proto::Config::default())
    }
}

/// The core's settings, with the defaults for the others.
impl From<proto::Config> for Config {
    fn from(core: proto::Config) -> Self {
        Config {
            core,
            pacing: true,
            memory_budget: MemoryBudget::of_process(),
            max_handshakes: MAX_HANDSHAKES,
            max_connection_age: None,
            #[cfg(feature = "net")]
            socket: Default::default(),
        }
    }
}

/// The driver's settings.
impl Config {
    /// Whether this side paces what it sends on long links. Default `true`.
    ///
    /// Paced bytes leave at the rate at which the link delivers, so they don't queue in
    /// it until packets are lost. It is done if the round trip is 20 ms to 2 s and the
    /// connection sends 64 KiB or more in each. The sender paces, so for downloads the
    /// server needs it. See the guide's [long links](crate::guide::long_links), and
    /// [`Throughput::pace`](crate::Throughput::pace) for the present rate.
    pub fn pacing(mut self, on: bool) -> Self {
        self.pacing = on;
        self
    }

    /// The memory that the connection shares with others. Default
    /// [`MemoryBudget::of_process`]: 512 MiB for all connections of the process together.
    ///
    /// [`memory`](Self::memory) bounds one connection, and this all of them. Without room for
    /// its 32 KiB, a new connection of an acceptor waits. Any other ends with
    /// [`ConnectionError::OutOfMemory`](crate::proto::ConnectionError::OutOfMemory).
    pub fn memory_budget(mut self, budget: MemoryBudget) -> Self {
        self.memory_budget = budget;
        self
    }

    /// See [`memory_budget`](Self::memory_budget).
    #[must_use]
    pub fn get_memory_budget(&self) -> &MemoryBudget {
        &self.memory_budget
    }

    /// See [`pacing`](Self::pacing).
    #[must_use]
    pub fn get_pacing(&self) -> bool {
        self.pacing
    }

    /// The options of the connection's TCP socket, if the socket can be found. Default
    /// [`SocketProfile::default`](crate::SocketProfile::default).
    #[cfg(feature = "net")]
    pub fn socket(mut self, profile: crate::socket::SocketProfile) -> Self {
        self.socket = profile;
        self
    }

    /// See [`socket`](Self::socket).
    #[cfg(feature = "net")]
    pub fn get_socket(&self) -> &crate::socket::SocketProfile {
        &self.socket
    }
}

/// The acceptor's settings.
impl Config {
    /// Connections of one acceptor that have not said their hello. Default 1,024.
    ///
    /// When the table is full and another connection comes, one is closed. It is the
    /// oldest that was silent for a second, of the network (an IPv4 address or an
    /// IPv6 /64) with the most such connections. If none was silent that long, the new
    /// one waits in the system's backlog. If that lasts for a second and one network has more than
    /// half, a further one of that network is reset, and others wait no more. So silent peers
    /// delay others by at most a second.
    ///
    /// # Errors
    ///
    /// 0 or above 2^31 - 1.
    pub fn max_handshakes(mut self, count: u32) -> Result<Self, ConfigError> {
        check("max_handshakes", count.into(), 1..=MOST)?;
        self.max_handshakes = count;
        Ok(self)
    }

    /// See [`max_handshakes`](Self::max_handshakes).
    #[must_use]
    pub fn get_max_handshakes(&self) -> u32 {
        self.max_handshakes
    }

    /// How old a connection of an acceptor may get, give or take a tenth. Off by
    /// default.
    ///
    /// At `age` the connection drains. `grace` later it is closed, with the channels
    /// that are left. A client of this crate dials another in time, so its requests
    /// don't notice the drain. A shorter [`max_age`](crate::guide::deploying) of the
    /// client comes first.
    ///
    /// rustls checks a client's certificate in the handshake only. So `age` is how long
    /// a certificate counts that has expired or was revoked. TLS sessions are not
    /// resumed if this is set, because a resumption checks no certificate.
    ///
    /// # Errors
    ///
    /// An age below 1 s or above 400 days, or a grace above a day.
    pub fn max_connection_age(
        mut self,
        age: Duration,
        grace: Duration,
    ) -> Result<Self, ConfigError> {
        check_time("max_connection_age", age, 1_000..=400 * DAY)?;
        check_time("grace of max_connection_age", grace, 0..=DAY)?;
        self.max_connection_age = Some((age, grace));
        Ok(self)
    }

    /// `age` and `grace` of [`max_connection_age`](Self::max_connection_age).
    #[must_use]
    pub fn get_max_connection_age(&self) -> Option<(Duration, Duration)> {
        self.max_connection_age
    }
}

/// The protocol's settings.
impl Config {
    /// The settings of the protocol, to be read.
    pub fn core(&self) -> &proto::Config {
        &self.core
    }

    /// The most bytes of memory that the peer can make one connection hold, if this
    /// side has up to `own` channels open at a time. With the defaults and `own` 0 it
    /// is 195 MiB. The formula: [`proto::Config::memory`].
    #[must_use]
    pub fn memory(&self, own: u32) -> u64 {
        self.core.memory(own)
    }

    /// The magic number of the hello. Both sides need the same one. Default
    /// `0xFEED_BACC`.
    pub fn magic(mut self, magic: u32) -> Self {
        self.core = self.core.magic(magic);
        self
    }

    /// Which versions of the protocol to speak. Default [`Protocol::V1`]. With version 0 one
    /// slow reader can stop the whole connection: [more](proto::Config::protocol).
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.core = self.core.protocol(protocol);
        self
    }

    /// Bytes that each channel may always have in flight or unread. Default 64 KiB. A channel
    /// that needs more borrows it from [`receive_budget`](Self::receive_budget).
    ///
    /// # Errors
    ///
    /// Below 64 KiB or above 2^31 - 1.
    #[doc(alias("initial_stream_window_size", "stream_receive_window"))]
    pub fn initial_window(mut self, bytes: u32) -> Result<Self, ConfigError> {
        self.core = self.core.initial_window(bytes)?;
        Ok(self)
    }

    /// Channels that the peer may have open at a time. Default 1,024.
    ///
    /// # Errors
    ///
    /// Below 256 or above 2^31 - 1.
    #[doc(alias("max_concurrent_streams", "max_concurrent_bidi_streams"))]
    pub fn max_channels(mut self, count: u32) -> Result<Self, ConfigError> {
        self.core = self.core.max_channels(count)?;
        Ok(self)
    }

    /// Bytes that all channels together may have in flight or unread, beyond the
    /// [`initial_window`](Self::initial_window) of each. Default 64 MiB. One channel may borrow
    /// three quarters of it: with the default, enough for 4 Gbit/s over 100 ms.
    #[doc(alias("initial_connection_window_size", "receive_window"))]
    pub fn receive_budget(mut self, bytes: u64) -> Self {
        self.core = self.core.receive_budget(bytes);
        self
    }

    /// Unsent bytes that one channel may buffer before its writes wait. Default 64 KiB.
    ///
    /// # Errors
    ///
    /// 0 or above 2^31 - 1.
    #[doc(alias("max_send_buf_size"))]
    pub fn send_buffer(mut self, bytes: usize) -> Result<Self, ConfigError> {
        self.core = self.core.send_buffer(bytes)?;
        Ok(self)
    }

    /// How long the peer may take for its hello. Default 10 s.
    ///
    /// # Errors
    ///
    /// Below 1 ms or above an hour.
    pub fn handshake_timeout(mut self, time: Duration) -> Result<Self, ConfigError> {
        self.core = self.core.handshake_timeout(time)?;
        Ok(self)
    }

    /// How long the peer may be silent before a ping is sent. Default 15 s.
    ///
    /// # Errors
    ///
    /// Below 1 ms or above an hour.
    #[doc(alias("keep_alive_interval"))]
    pub fn ping_after(mut self, time: Duration) -> Result<Self, ConfigError> {
        self.core = self.core.ping_after(time)?;
        Ok(self)
    }

    /// How long a ping may stay unanswered, while the peer is also silent, before the
    /// connection is suspect and before it is dead. Defaults 2 s and 20 s.
    /// [More](proto::Config::answer_within).
    ///
    /// # Errors
    ///
    /// `suspect` below 1 ms or above an hour; `dead` not above `suspect`, or above a day.
    #[doc(alias("keep_alive_timeout", "max_idle_timeout"))]
    pub fn answer_within(mut self, suspect: Duration, dead: Duration) -> Result<Self, ConfigError> {
        self.core = self.core.answer_within(suspect, dead)?;
        Ok(self)
    }

    /// How long the transport may accept no byte while bytes are pending. Then the connection
    /// ends, even if the peer still sends. Default 30 s.
    ///
    /// # Errors
    ///
    /// Below 1 ms or above a day.
    pub fn write_stall(mut self, time: Duration) -> Result<Self, ConfigError> {
        self.core = self.core.write_stall(time)?;
        Ok(self)
    }

    /// The lowest rate at which the peer may take or send the bytes of a channel, looked at
    /// once a `period`. Off by default. A channel whose peer is slower is reset, and its
    /// application gets an error of the kind `TimedOut`.
    /// [What counts](proto::Config::min_rate).
    ///
    /// # Errors
    ///
    /// A rate of 0 or above 2^31 - 1, or a period below 100 ms or above an hour.
    pub fn min_rate(
        mut self,
        bytes_per_second: u32,
        period: Duration,
    ) -> Result<Self, ConfigError> {
        self.core = self.core.min_rate(bytes_per_second, period)?;
        Ok(self)
    }

    /// Channels of the peer that may wait to be accepted. One more is refused, and the
    /// connection goes on. Default: as many as [`max_channels`](Self::max_channels) allows.
    ///
    /// # Errors
    ///
    /// Above 2^31 - 1.
    pub fn accept_backlog(mut self, count: u32) -> Result<Self, ConfigError> {
        self.core = self.core.accept_backlog(count)?;
        Ok(self)
    }

    /// As `accept_backlog(0)`.
    #[cfg(feature = "client")]
    pub(crate) fn refuse_channels(mut self) -> Self {
        self.core = self.core.refuse_channels();
        self
    }

    /// Cancels that the peer may cause a second; with more the connection ends. Default
    /// 10,000. [What counts](proto::Config::cancels_per_second).
    ///
    /// # Errors
    ///
    /// 0 or above 2^31 - 1.
    pub fn cancels_per_second(mut self, count: u32) -> Result<Self, ConfigError> {
        self.core = self.core.cancels_per_second(count)?;
        Ok(self)
    }

    /// Pings that the peer may send a second; with more the connection ends. Default 1,000.
    ///
    /// # Errors
    ///
    /// Below 64 or above 2^31 - 1.
    pub fn pings_per_second(mut self, count: u32) -> Result<Self, ConfigError> {
        self.core = self.core.pings_per_second(count)?;
        Ok(self)
    }

    /// Frames without effect that the peer may send a second; with more the connection ends.
    /// Default 10,000. [What counts](proto::Config::no_op_frames_per_second).
    ///
    /// # Errors
    ///
    /// Below 1,000 or above 2^31 - 1.
    pub fn no_op_frames_per_second(mut self, count: u32) -> Result<Self, ConfigError> {
        self.core = self.core.no_op_frames_per_second(count)?;
        Ok(self)
    }
}

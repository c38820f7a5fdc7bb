//! What a user may set, checked where it is set.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::wire::{DEFAULT_MAGIC, Protocol, Settings};

/// The configuration of one connection; always valid.
///
/// What a peer can make one connection hold is bounded: see
/// [`memory`](Config::memory), and the [table of all limits](crate::guide::limits).
///
/// ```
/// use std::time::Duration;
/// use tcpchan::Config;
///
/// let config = Config::default()
///     .max_channels(10_000)?
///     .answer_within(Duration::from_secs(1), Duration::from_secs(10))?;
/// let error = config.max_channels(10).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "max_channels is 10 and must be from 256 to 2147483647",
/// );
/// # Ok::<(), tcpchan::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Config {
    pub(crate) magic: u32,
    pub(crate) protocol: Protocol,
    pub(crate) settings: Settings,
    pub(crate) send_buffer: usize,
    pub(crate) handshake_timeout: Duration,
    pub(crate) ping_after: Duration,
    pub(crate) suspect_after: Duration,
    pub(crate) dead_after: Duration,
    pub(crate) write_stall: Duration,
    pub(crate) pacing: bool,
    pub(crate) max_waiting: Option<u32>,
    pub(crate) max_handshakes: u32,
    /// And for how long it may then live on.
    pub(crate) max_connection_age: Option<(Duration, Duration)>,
    pub(crate) cancels_per_second: u32,
    pub(crate) pings_per_second: u32,
    pub(crate) idle_frames_per_second: u32,
    #[cfg(feature = "net")]
    pub(crate) socket: crate::socket::SocketProfile,
}

impl Default for Config {
    fn default() -> Self {
        let settings = Settings {
            max_channels: 1024,
            receive_budget: 64 << 20,
            ..Settings::default()
        };
        Config {
            magic: DEFAULT_MAGIC,
            protocol: Protocol::V1,
            settings,
            send_buffer: 64 << 10,
            handshake_timeout: Duration::from_secs(10),
            ping_after: Duration::from_secs(15),
            suspect_after: Duration::from_secs(2),
            dead_after: Duration::from_secs(20),
            write_stall: Duration::from_secs(30),
            pacing: true,
            max_waiting: None,
            max_handshakes: MAX_HANDSHAKES,
            max_connection_age: None,
            cancels_per_second: 10_000,
            pings_per_second: 1_000,
            idle_frames_per_second: 10_000,
            #[cfg(feature = "net")]
            socket: Default::default(),
        }
    }
}

/// A value that [`Config`] does not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    field: &'static str,
    value: u128,
    range: RangeInclusive<u128>,
    /// Follows the numbers.
    unit: &'static str,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (field, value, unit) = (self.field, self.value, self.unit);
        let (least, most) = (self.range.start(), self.range.end());
        write!(
            f,
            "{field} is {value}{unit} and must be from {least}{unit} to {most}{unit}"
        )
    }
}

impl std::error::Error for ConfigError {}

pub(crate) fn check(
    field: &'static str,
    value: u128,
    range: RangeInclusive<u128>,
) -> Result<(), ConfigError> {
    check_in("", field, value, range)
}

/// Checks a time in milliseconds.
pub(crate) fn check_time(
    field: &'static str,
    time: Duration,
    range: RangeInclusive<u128>,
) -> Result<(), ConfigError> {
    check_in(" ms", field, time.as_millis(), range)
}

fn check_in(
    unit: &'static str,
    field: &'static str,
    value: u128,
    range: RangeInclusive<u128>,
) -> Result<(), ConfigError> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(ConfigError {
        field,
        value,
        range,
        unit,
    })
}

/// As many as a process may commonly have files open: where it may have more,
/// this keeps most of them for peers that speak.
pub(crate) const MAX_HANDSHAKES: u32 = 1024;

const KIB: u128 = 1 << 10;
const MIB: u128 = 1 << 20;

/// The most of what is counted: 2^31 - 1.
pub(crate) const MOST: u128 = i32::MAX as u128;

/// In milliseconds.
pub(crate) const HOUR: u128 = 3_600_000;
pub(crate) const DAY: u128 = 24 * HOUR;

impl Config {
    /// The magic of the hello; both sides need the same one. Default:
    /// `0xFEED_BACC`, that of the Python package.
    pub fn magic(mut self, magic: u32) -> Self {
        self.magic = magic;
        self
    }

    /// Which versions of the protocol to speak. Default [`Protocol::V1`].
    ///
    /// Version 0, for the Python package (see the [guide](crate::guide::from_python)), has no
    /// flow control: a channel whose reader is slow holds up the whole
    /// connection once `receive_budget` bytes wait to be read. What else it
    /// lacks is told in [`proto`](crate::proto#version-0).
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// Bytes of each channel that may be on their way or unread, always. Default
    /// 64 KiB. It is small because every channel may use it at once; what a channel
    /// needs beyond it, it borrows from
    /// [`receive_budget`](Self::receive_budget).
    ///
    /// # Errors
    ///
    /// Below 64 KiB or above 2^31 - 1.
    pub fn initial_window(mut self, bytes: u32) -> Result<Self, ConfigError> {
        check("initial_window", bytes.into(), 64 << 10..=MOST)?;
        self.settings.initial_window = bytes;
        Ok(self)
    }

    /// Channels that the peer may have at a time. Default 1,024.
    ///
    /// # Errors
    ///
    /// Below 256 or above 2^31 - 1.
    pub fn max_channels(mut self, count: u32) -> Result<Self, ConfigError> {
        check("max_channels", count.into(), 256..=MOST)?;
        self.settings.max_channels = count;
        Ok(self)
    }

    /// Bytes that all channels together may have on their way or unread beyond
    /// their [`initial_window`](Self::initial_window)s. Default 64 MiB. One
    /// channel may use three quarters of it: what 4 Gbit/s over 100 ms need. A channel that was read
    /// to its end holds nothing of it.
    pub fn receive_budget(mut self, bytes: u64) -> Self {
        self.settings.receive_budget = bytes;
        self
    }

    /// Bytes of one channel that wait for the connection before a write
    /// waits. Default 64 KiB.
    ///
    /// # Errors
    ///
    /// 0 or above 2^31 - 1.
    pub fn send_buffer(mut self, bytes: usize) -> Result<Self, ConfigError> {
        check("send_buffer", bytes as u128, 1..=MOST)?;
        self.send_buffer = bytes;
        Ok(self)
    }

    /// The options of TCP sockets that carry connections, where they can be found.
    /// Default [`SocketProfile::default`].
    ///
    /// [`SocketProfile::default`]: crate::SocketProfile
    #[cfg(feature = "net")]
    pub fn socket(mut self, profile: crate::socket::SocketProfile) -> Self {
        self.socket = profile;
        self
    }

    /// How long a peer may take for its hello. Default 10 s.
    ///
    /// # Errors
    ///
    /// Below 1 ms or above an hour.
    pub fn handshake_timeout(mut self, time: Duration) -> Result<Self, ConfigError> {
        check_time("handshake_timeout", time, 1..=HOUR)?;
        self.handshake_timeout = time;
        Ok(self)
    }

    /// How long nothing may be received before a ping leaves. Default 15 s:
    /// below the minute at which load balancers drop idle flows.
    ///
    /// # Errors
    ///
    /// Below 1 ms or above an hour.
    pub fn ping_after(mut self, time: Duration) -> Result<Self, ConfigError> {
        check_time("ping_after", time, 1..=HOUR)?;
        self.ping_after = time;
        Ok(self)
    }

    /// How long the peer may leave a ping unanswered, and be silent, before the
    /// connection is *suspect* (new channels go elsewhere), and before it is
    /// *dead* (everyone on it gets an error). What is sent is followed by a ping, at
    /// most one a second, so a request into a black hole is noticed within
    /// `suspect` and at most a second.
    ///
    /// Defaults 2 s, which outlasts a lost packet and its retransmission on
    /// the longest links and costs but a dial where it doesn't; and 20 s, which
    /// gRPC gives its keep-alive.
    ///
    /// # Errors
    ///
    /// `suspect` below 1 ms or above an hour, `dead` not above it or above a
    /// day.
    pub fn answer_within(mut self, suspect: Duration, dead: Duration) -> Result<Self, ConfigError> {
        check_time("answer_within.suspect", suspect, 1..=HOUR)?;
        check_time("answer_within.dead", dead, suspect.as_millis() + 1..=DAY)?;
        self.suspect_after = suspect;
        self.dead_after = dead;
        Ok(self)
    }

    /// Whether this side fills long links at the pace at which they deliver, instead
    /// of until packets are lost; for downloads the server is that side. Default
    /// `true`, for connections whose round trip is 20 ms to 2 s and that carry
    /// 64 KiB or more in each; the guide's [long links](crate::guide::long_links)
    /// tells how it works and what it gains, and
    /// [`Stats::pace`](crate::proto::Stats::pace) whether it does. For the
    /// [core](crate::proto) alone it does nothing.
    pub fn pacing(mut self, on: bool) -> Self {
        self.pacing = on;
        self
    }

    /// The most memory, in bytes, that one connection can be made to hold by its
    /// peer, where this side has up to `own` channels of its own open at a time.
    ///
    /// With a peer of version 1:
    ///
    /// ```text
    ///   (max_channels + own) * (initial_window + send_buffer + 1 KiB)
    /// + receive_budget
    /// + 2 MiB
    /// + 152 MiB, if own > 0
    /// ```
    ///
    /// Each channel has a full window of bytes that were not read, and a full
    /// buffer of bytes that the peer does not take, and 1 KiB is for its state.
    /// The budget is what channels have borrowed. The 2 MiB are buffers for the
    /// transport and for reuse. Of channels that this side opened and gave up,
    /// and whose end the peer holds back, 16 MiB of bytes are kept, and the
    /// states of 8,192 and as many as the peer says that it takes, of which
    /// 131,072 are believed.
    ///
    /// With a peer of version 0, which knows no windows:
    ///
    /// ```text
    ///   (2 * max_channels + own) * (send_buffer + 1 KiB)
    /// + 4 * (receive_budget + 256 KiB)
    /// + 2 MiB
    /// + 152 MiB, if own > 0
    /// ```
    ///
    /// With the defaults it is 195 MiB; 389 MiB if the peer may speak version 0.
    /// Not counted are what the application holds itself, the system's socket
    /// buffers, TLS, and 1 MiB of buffers for each thread of the runtime.
    pub fn memory(&self, own: u32) -> u64 {
        let (own, theirs) = (u128::from(own), u128::from(self.settings.max_channels));
        let (window, budget) = (self.settings.initial_window, self.settings.receive_budget);
        let send = self.send_buffer as u128 + KIB;
        let v1 = (theirs + own) * (u128::from(window) + send) + u128::from(budget);
        let v0 = (2 * theirs + own) * send + 4 * (u128::from(budget) + 256 * KIB);
        let of_version = match self.protocol {
            Protocol::V1 => v1,
            Protocol::Auto => v1.max(v0),
            Protocol::V0 => v0,
        };
        let given_up = if own > 0 { 152 * MIB } else { 0 };
        u64::try_from(of_version + 2 * MIB + given_up).unwrap_or(u64::MAX)
    }

    /// Channels of the peer that may wait to be accepted. Beyond that each is
    /// refused, which tells the peer that it may try again elsewhere, and the
    /// connection goes on. Default: as many as the peer may have.
    ///
    /// # Errors
    ///
    /// 0 or above 2^31 - 1.
    pub fn max_waiting(mut self, count: u32) -> Result<Self, ConfigError> {
        check("max_waiting", count.into(), 1..=MOST)?;
        self.max_waiting = Some(count);
        Ok(self)
    }

    /// Connections of one acceptor that have not said their hello. When another
    /// comes, the oldest goes of the network (an IPv4 address, an IPv6 /64)
    /// that has most of those that have been silent for a second; while there
    /// is none, it waits in the system's backlog. So peers that say nothing
    /// hold up the others for no more than that second. Default 1,024.
    ///
    /// # Errors
    ///
    /// 0 or above 2^31 - 1.
    pub fn max_handshakes(mut self, count: u32) -> Result<Self, ConfigError> {
        check("max_handshakes", count.into(), 1..=MOST)?;
        self.max_handshakes = count;
        Ok(self)
    }

    /// How old a connection of an acceptor gets, give or take a tenth: it drains then,
    /// and is closed on its channels `grace` later. Off by default. A client of this crate
    /// dials another in time to notice nothing of the drain, if its own
    /// [`max_age`](crate::guide::deploying) is not shorter anyway.
    ///
    /// A client's certificate is checked in the handshake alone, so this is how long one
    /// counts that has expired or was revoked. TLS sessions are not resumed where it is set,
    /// since rustls checks no certificate again then.
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

    /// How long the transport may take nothing of what the peer is owed before
    /// the connection ends, though the peer sends. Default 30 s, longer than a
    /// silent peer gets. Not with version 0, whose only back-pressure is not to
    /// read.
    ///
    /// # Errors
    ///
    /// Below 1 ms or above a day.
    pub fn write_stall(mut self, time: Duration) -> Result<Self, ConfigError> {
        check_time("write_stall", time, 1..=DAY)?;
        self.write_stall = time;
        Ok(self)
    }

    /// Channels that the peer may open and give up before it got a byte of
    /// answer, a second, together with those that were refused because of
    /// [`max_waiting`](Self::max_waiting); beyond that the connection ends.
    /// `max_channels` more may come at once. Default 10,000, ten times what a
    /// busy client cancels. Version 0 has but one end, so there each channel counts
    /// that the peer closes before it got a byte, and each beyond `max_channels`.
    ///
    /// # Errors
    ///
    /// 0 or above 2^31 - 1.
    pub fn cancels_per_second(mut self, count: u32) -> Result<Self, ConfigError> {
        check("cancels_per_second", count.into(), 1..=MOST)?;
        self.cancels_per_second = count;
        Ok(self)
    }

    /// Pings that the peer may send a second; beyond that the connection ends.
    /// Default 1,000: one for each round trip of a millisecond. A peer that fills
    /// a long link sends up to 50 ([`pacing`](Self::pacing)).
    ///
    /// # Errors
    ///
    /// Below 64 or above 2^31 - 1.
    pub fn pings_per_second(mut self, count: u32) -> Result<Self, ConfigError> {
        check("pings_per_second", count.into(), 64..=MOST)?;
        self.pings_per_second = count;
        Ok(self)
    }

    /// Frames that change nothing and that the peer may send a second; beyond
    /// that the connection ends. For a channel that is over a STOP, and the WINDOWs
    /// that can be under way, are not counted. Default 10,000.
    ///
    /// # Errors
    ///
    /// Below 1,000 or above 2^31 - 1.
    pub fn idle_frames_per_second(mut self, count: u32) -> Result<Self, ConfigError> {
        check("idle_frames_per_second", count.into(), 1_000..=MOST)?;
        self.idle_frames_per_second = count;
        Ok(self)
    }
}

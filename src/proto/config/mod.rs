//! What the core reads of its configuration.

mod getters;

use std::time::Duration;

use super::slow_peer::MinRate;
use crate::check::{ConfigError, DAY, HOUR, MOST, check, check_time};
use crate::wire::{DEFAULT_MAGIC, Protocol, Settings};

/// The configuration of one connection's core; always valid.
///
/// Each setter checks its value. The getter of the same name begins with `get_`.
/// With the tokio driver, use `tcpchan::Config`, which has these
/// settings and those of the driver.
///
/// ```
/// use std::time::Duration;
/// use tcpchan::proto::Config;
///
/// let config = Config::default()
///     .max_channels(10_000)?
///     .answer_within(Duration::from_secs(1), Duration::from_secs(10))?;
/// assert_eq!(config.get_max_channels(), 10_000);
/// # Ok::<(), tcpchan::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Config {
    pub(super) magic: u32,
    pub(super) protocol: Protocol,
    pub(super) settings: Settings,
    pub(super) send_buffer: usize,
    pub(super) handshake_timeout: Duration,
    pub(super) ping_after: Duration,
    pub(super) suspect_after: Duration,
    pub(super) dead_after: Duration,
    pub(super) write_stall: Duration,
    pub(super) min_rate: Option<MinRate>,
    pub(super) accept_backlog: Option<u32>,
    pub(super) cancels_per_second: u32,
    pub(super) pings_per_second: u32,
    pub(super) no_op_frames_per_second: u32,
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
            min_rate: None,
            accept_backlog: None,
            cancels_per_second: 10_000,
            pings_per_second: 1_000,
            no_op_frames_per_second: 10_000,
        }
    }
}

const KIB: u128 = 1 << 10;
const MIB: u128 = 1 << 20;

impl Config {
    /// The magic number of the hello. Both sides need the same one. Default
    /// `0xFEED_BACC`, that of the Python package.
    pub fn magic(mut self, magic: u32) -> Self {
        self.magic = magic;
        self
    }

    /// Which versions of the protocol to speak. Default [`Protocol::V1`].
    ///
    /// Version 0, for the Python package (see the [guide](crate::guide::from_python)),
    /// has no flow control. One channel with a slow reader stops the whole connection
    /// once [`receive_budget`](Self::receive_budget) bytes wait to be read.
    /// [`proto`](crate::proto#version-0) lists what else it lacks.
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// A number by which both sides name the connection to their operators. The
    /// client's counts. Default 0, which is none. The tokio driver draws one for each
    /// connection.
    pub fn connection_id(mut self, id: u64) -> Self {
        self.settings.connection_id = id;
        self
    }

    /// Bytes that each channel may always have in flight or unread. Default 64 KiB.
    ///
    /// It is small because every channel may use it at the same time. A channel that
    /// needs more borrows it from [`receive_budget`](Self::receive_budget).
    ///
    /// # Errors
    ///
    /// Below 64 KiB or above 2^31 - 1.
    pub fn initial_window(mut self, bytes: u32) -> Result<Self, ConfigError> {
        check("initial_window", bytes.into(), 64 << 10..=MOST)?;
        self.settings.initial_window = bytes;
        Ok(self)
    }

    /// Channels that the peer may have open at a time. Default 1,024.
    ///
    /// # Errors
    ///
    /// Below 256 or above 2^31 - 1.
    pub fn max_channels(mut self, count: u32) -> Result<Self, ConfigError> {
        check("max_channels", count.into(), 256..=MOST)?;
        self.settings.max_channels = count;
        Ok(self)
    }

    /// Bytes that all channels together may have in flight or unread, beyond the
    /// [`initial_window`](Self::initial_window) of each. Default 64 MiB.
    ///
    /// One channel may borrow three quarters of it. With the default that is enough
    /// for 4 Gbit/s over 100 ms. A channel that was read to its end borrows nothing.
    pub fn receive_budget(mut self, bytes: u64) -> Self {
        self.settings.receive_budget = bytes;
        self
    }

    /// Unsent bytes that one channel may buffer before its writes wait. Default
    /// 64 KiB.
    ///
    /// # Errors
    ///
    /// 0 or above 2^31 - 1.
    pub fn send_buffer(mut self, bytes: usize) -> Result<Self, ConfigError> {
        check("send_buffer", bytes as u128, 1..=MOST)?;
        self.send_buffer = bytes;
        Ok(self)
    }

    /// How long the peer may take for its hello. Default 10 s.
    ///
    /// # Errors
    ///
    /// Below 1 ms or above an hour.
    pub fn handshake_timeout(mut self, time: Duration) -> Result<Self, ConfigError> {
        check_time("handshake_timeout", time, 1..=HOUR)?;
        self.handshake_timeout = time;
        Ok(self)
    }

    /// How long the peer may be silent before a ping is sent. Default 15 s, because
    /// load balancers drop idle flows after a minute.
    ///
    /// # Errors
    ///
    /// Below 1 ms or above an hour.
    pub fn ping_after(mut self, time: Duration) -> Result<Self, ConfigError> {
        check_time("ping_after", time, 1..=HOUR)?;
        self.ping_after = time;
        Ok(self)
    }

    /// How long a ping may stay unanswered, while the peer is also silent.
    ///
    /// - After `suspect`, the connection is *suspect*: new channels should go to
    ///   another one. Default 2 s. A lost packet and its retransmission take less, even
    ///   on the longest links. A wrong guess costs one dial.
    /// - After `dead`, the connection is *dead*: all on it get an error. Default 20 s,
    ///   as gRPC's keep-alive has it.
    ///
    /// A ping follows what is sent, at most one a second. So a connection into a black
    /// hole is suspect within `suspect` and one second.
    ///
    /// # Errors
    ///
    /// `suspect` below 1 ms or above an hour; `dead` not above `suspect`, or above a
    /// day.
    pub fn answer_within(mut self, suspect: Duration, dead: Duration) -> Result<Self, ConfigError> {
        check_time("answer_within.suspect", suspect, 1..=HOUR)?;
        check_time("answer_within.dead", dead, suspect.as_millis() + 1..=DAY)?;
        self.suspect_after = suspect;
        self.dead_after = dead;
        Ok(self)
    }

    /// How long the transport may accept no byte while bytes are pending. Then the
    /// connection ends, even if the peer still sends. Default 30 s, longer than a
    /// silent peer gets.
    ///
    /// Version 0 has no such limit: not to read is its only back-pressure.
    ///
    /// # Errors
    ///
    /// Below 1 ms or above a day.
    pub fn write_stall(mut self, time: Duration) -> Result<Self, ConfigError> {
        check_time("write_stall", time, 1..=DAY)?;
        self.write_stall = time;
        Ok(self)
    }

    /// The lowest rate at which the peer may take or send the bytes of a channel. Off by
    /// default. The core looks once a `period`; a channel whose peer is too slow is reset and
    /// stopped with the code [`TOO_SLOW`](super::TOO_SLOW). The others go on.
    ///
    /// - **A reader** is too slow if bytes wait for its credit all the time and it takes less
    ///   than the rate. It is judged over a period, or over the time in which the rate gives
    ///   the peer's window (64 KiB by default) if that is longer.
    /// - **A writer** is too slow if in three periods it sends something, and less than the
    ///   rate, while this side reads everything. What this side sends, and a period with
    ///   enough bytes, make it begin anew; periods of silence do not count. So a request that
    ///   waits for its answer is not cut off, nor is an idle channel. One that sends a byte
    ///   now and then is.
    /// - **A connection** ends with a violation, code 3, if its transport is write-blocked at
    ///   every look and takes less than the rate.
    ///
    /// Don't set it if channels carry messages that get no answer, such as telemetry. With
    /// version 0 it does nothing.
    ///
    /// # Errors
    ///
    /// A rate of 0 or above 2^31 - 1, or a period below 100 ms or above an hour.
    pub fn min_rate(
        mut self,
        bytes_per_second: u32,
        period: Duration,
    ) -> Result<Self, ConfigError> {
        check("min_rate", bytes_per_second.into(), 1..=MOST)?;
        check_time("period of min_rate", period, 100..=HOUR)?;
        self.min_rate = Some(MinRate {
            per_second: bytes_per_second,
            period,
        });
        Ok(self)
    }

    /// Channels of the peer that may wait to be accepted. Default: as many as
    /// [`max_channels`](Self::max_channels) allows.
    ///
    /// One more is refused, which tells the peer that it may try elsewhere. The
    /// connection goes on. With 0 all are refused, as suits a side that only opens
    /// channels.
    ///
    /// # Errors
    ///
    /// Above 2^31 - 1.
    pub fn accept_backlog(mut self, count: u32) -> Result<Self, ConfigError> {
        check("accept_backlog", count.into(), 0..=MOST)?;
        self.accept_backlog = Some(count);
        Ok(self)
    }

    /// As `accept_backlog(0)`: for a side that only opens channels.
    #[cfg(feature = "client")]
    pub(crate) fn refuse_channels(mut self) -> Self {
        self.accept_backlog = Some(0);
        self
    }

    /// Cancels that the peer may cause a second; with more the connection ends.
    /// Default 10,000, ten times what a busy client cancels.
    ///
    /// A cancel is a channel that the peer opened and gave up before it got a byte of
    /// answer, or one that was refused because of [`accept_backlog`](Self::accept_backlog).
    /// A burst may have `max_channels` more. Version 0 has only one kind of end.
    /// There each channel counts that the peer closes before it got a byte, and each
    /// beyond `max_channels`.
    ///
    /// # Errors
    ///
    /// 0 or above 2^31 - 1.
    pub fn cancels_per_second(mut self, count: u32) -> Result<Self, ConfigError> {
        check("cancels_per_second", count.into(), 1..=MOST)?;
        self.cancels_per_second = count;
        Ok(self)
    }

    /// Pings that the peer may send a second; with more the connection ends. Default
    /// 1,000, which is one for each round trip of a millisecond. A peer that paces a
    /// long link sends up to 50.
    ///
    /// # Errors
    ///
    /// Below 64 or above 2^31 - 1.
    pub fn pings_per_second(mut self, count: u32) -> Result<Self, ConfigError> {
        check("pings_per_second", count.into(), 64..=MOST)?;
        self.pings_per_second = count;
        Ok(self)
    }

    /// Frames without effect that the peer may send a second; with more the
    /// connection ends. Default 10,000.
    ///
    /// Frames that may have crossed the end of their channel are not counted: a STOP,
    /// and the WINDOWs that can be in flight.
    ///
    /// # Errors
    ///
    /// Below 1,000 or above 2^31 - 1.
    pub fn no_op_frames_per_second(mut self, count: u32) -> Result<Self, ConfigError> {
        check("no_op_frames_per_second", count.into(), 1_000..=MOST)?;
        self.no_op_frames_per_second = count;
        Ok(self)
    }

    /// The most bytes of memory that the peer can make one connection hold, if this
    /// side has up to `own` channels of its own open at a time.
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
    /// - Each channel has a full window of unread bytes, a full buffer of bytes that
    ///   the peer does not take, and 1 KiB for its state.
    /// - The receive budget is what channels have borrowed.
    /// - 2 MiB are buffers for the transport and for reuse.
    /// - 152 MiB are for channels that this side opened and gave up, and whose end the
    ///   peer holds back. 16 MiB of that are unsent bytes. The rest is the state of
    ///   8,192 channels, and of as many as the peer says that it takes, at most
    ///   131,072.
    ///
    /// With a peer of version 0, which has no windows:
    ///
    /// ```text
    ///   (2 * max_channels + own) * (send_buffer + 1 KiB)
    /// + 4 * (receive_budget + 256 KiB)
    /// + 2 MiB
    /// + 152 MiB, if own > 0
    /// ```
    ///
    /// With the defaults and `own` 0 it is 195 MiB, or 389 MiB if the peer may speak
    /// version 0. It does not count what the application holds, the system's socket
    /// buffers, TLS, or 1 MiB of buffers for each thread of the runtime.
    #[must_use]
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
}

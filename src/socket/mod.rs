//! TCP sockets set up for long links.

mod congestion;
mod deferred;
mod find;

use std::any::Any;
use std::io;
use std::time::Duration;
use std::time::Instant;

use socket2::{SockRef, Socket, TcpKeepalive};
use tokio::net::TcpStream;

use self::congestion::{Offer, choose, is_choosable, offer};
use self::deferred::Deferral;
pub(crate) use self::deferred::{DeferredCongestion, FindSocket};
pub(crate) use self::find::find;
use crate::check::{ConfigError, DAY, MOST, check, check_time};
use crate::observability;

/// The options of a TCP socket that carries a connection.
///
/// A connection sets the options of its [`Config::socket`](crate::Config::socket) if it can
/// find the socket: a `TcpStream`, alone or in rustls's `TlsStream`, or in hyper-util's
/// `TokioIo`. If the socket is hidden in another type, whoever makes it calls
/// [`apply`](Self::apply).
///
/// Options that a system does not have are left out, except a
/// [`congestion`](Self::congestion) that was asked for by name.
///
/// ```
/// use std::time::Duration;
/// use tcpchan::{Config, SocketProfile};
///
/// let profile = SocketProfile::default()
///     .unsent(Some(64 << 10))?
///     .user_timeout(Some(Duration::from_secs(20)))?;
/// let config = Config::default().socket(profile);
/// # let _ = config;
/// # Ok::<(), tcpchan::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct SocketProfile {
    unsent: Option<u32>,
    user_timeout: Option<Duration>,
    keep_alive: Option<Duration>,
    congestion: Congestion,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Congestion {
    /// BBR, where the socket has a loss-based one and may choose.
    Preferred,
    /// The same, once it pays.
    Deferred(Deferral),
    System,
    Named(String),
}

impl Default for SocketProfile {
    fn default() -> Self {
        SocketProfile {
            unsent: Some(128 << 10),
            user_timeout: Some(Duration::from_secs(30)),
            keep_alive: Some(Duration::from_secs(30)),
            congestion: Congestion::Preferred,
        }
    }
}

impl SocketProfile {
    /// Unsent bytes that the kernel buffers (`TCP_NOTSENT_LOWAT`, Linux). Default 128 KiB.
    ///
    /// Bytes in the kernel can't be overtaken. With fewer, a small request passes a large
    /// transfer sooner; with more, there are fewer system calls. `None` leaves it to the system,
    /// which commonly has no limit.
    ///
    /// # Errors
    ///
    /// 0 or above 2^31 - 1.
    pub fn unsent(mut self, bytes: Option<u32>) -> Result<Self, ConfigError> {
        if let Some(bytes) = bytes {
            check("unsent", bytes.into(), 1..=MOST)?;
        }
        self.unsent = bytes;
        Ok(self)
    }

    /// See [`unsent`](Self::unsent).
    #[must_use]
    pub fn get_unsent(&self) -> Option<u32> {
        self.unsent
    }

    /// How long sent bytes may stay unacknowledged before the kernel gives the connection up
    /// (`TCP_USER_TIMEOUT`, Linux). Default 30 s. With `None`, Linux tries for about 15 minutes.
    ///
    /// # Errors
    ///
    /// Below 1 ms or above a day.
    pub fn user_timeout(mut self, time: Option<Duration>) -> Result<Self, ConfigError> {
        if let Some(time) = time {
            check_time("user_timeout", time, 1..=DAY)?;
        }
        self.user_timeout = time;
        Ok(self)
    }

    /// See [`user_timeout`](Self::user_timeout).
    #[must_use]
    pub fn get_user_timeout(&self) -> Option<Duration> {
        self.user_timeout
    }

    /// How long a connection may be idle before the kernel probes it (`TCP_KEEPIDLE`), in whole
    /// seconds. Default 30 s; `None` for no probes. The crate's own pings come earlier. This is
    /// for version 0, which has no pings, and for a program that hangs.
    ///
    /// # Errors
    ///
    /// Below 1 s or above 32,767 s, the most that Linux takes.
    pub fn keep_alive(mut self, time: Option<Duration>) -> Result<Self, ConfigError> {
        if let Some(time) = time {
            check_time("keep_alive", time, 1_000..=32_767_000)?;
        }
        self.keep_alive = time;
        Ok(self)
    }

    /// See [`keep_alive`](Self::keep_alive).
    #[must_use]
    pub fn get_keep_alive(&self) -> Option<Duration> {
        self.keep_alive
    }

    /// The congestion control (`TCP_CONGESTION`, Linux), such as `cubic`.
    ///
    /// By default a socket gets BBR if all of this holds; otherwise it keeps the system's
    /// choice, silently:
    ///
    /// - The system's choice is cubic or Reno.
    /// - The peer is another host.
    /// - The system has BBR and lets this process choose it
    ///   (`net.ipv4.tcp_allowed_congestion_control`, or `CAP_NET_ADMIN`).
    ///
    /// With cubic an idle connection starts over slowly, and a lossy one crawls. BBR does
    /// neither. The side that sends chooses, so both sides should have it.
    ///
    /// The choice is deferred if the connection's socket can be found, because BBR paces even
    /// the first packets. A connection begins with the system's congestion control. If a round
    /// trip is 5 ms or longer, it chooses BBR at one of these times:
    ///
    /// - before more than 256 KiB are written without a gap of 25 ms;
    /// - between bursts, once more than 64 KiB were sent, or after a pause of a round trip and 200 ms. A
    ///   burst of more than ten packets must have come before, since only that grows TCP's
    ///   window.
    ///
    /// If the system's own is BBR, what a listener accepts begins with cubic or Reno. It gets BBR
    /// back at those times, on any link to another host.
    ///
    /// [`apply`](Self::apply) knows no round trip, so it chooses BBR at once.
    ///
    /// A process asks the system for BBR once. If the kernel has to load a module for that, a
    /// thread waits for it, and sockets don't get BBR meanwhile.
    ///
    /// # Errors
    ///
    /// The system's, if it has no such congestion control or does not let this
    /// process choose it: see `net.ipv4.tcp_allowed_congestion_control`. A
    /// socket that refuses it later fails its dial.
    pub fn congestion(mut self, name: &str) -> io::Result<Self> {
        let socket = congestion::socket()?;
        congestion::set(&socket, name).map_err(|error| {
            let text =
                format!("the system lets no socket have congestion control {name:?}: {error}");
            io::Error::new(error.kind(), text)
        })?;
        self.congestion = Congestion::Named(name.to_owned());
        Ok(self)
    }

    /// The name that [`congestion`](Self::congestion) was given, if it was.
    #[must_use]
    pub fn get_congestion(&self) -> Option<&str> {
        match &self.congestion {
            Congestion::Named(name) => Some(name),
            _ => None,
        }
    }

    /// Leaves the congestion control to the system.
    pub fn system_congestion(mut self) -> Self {
        self.congestion = Congestion::System;
        self
    }

    /// Whether the congestion control is [left to the system](Self::system_congestion).
    #[must_use]
    pub fn get_system_congestion(&self) -> bool {
        self.congestion == Congestion::System
    }

    /// Sets the options, and always `TCP_NODELAY`: without it a small frame
    /// waits for the acknowledgement of the one before it. One that the system
    /// does not have is left out, with an event of the level debug.
    ///
    /// # Errors
    ///
    /// The first that the system gave, such as for a socket that is gone or a
    /// [`congestion`](Self::congestion) that it does not have; the other options
    /// are set all the same.
    pub fn apply(&self, stream: &TcpStream) -> io::Result<()> {
        let socket = SockRef::from(stream);
        let keep_alive = |time| socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(time));
        let options = [
            ("TCP_NODELAY", Some(socket.set_tcp_nodelay(true))),
            ("TCP_KEEPIDLE", self.keep_alive.map(keep_alive)),
            ("TCP_NOTSENT_LOWAT", self.set_unsent(&socket)),
            ("TCP_USER_TIMEOUT", self.set_user_timeout(&socket)),
        ];
        let mut result = self.set_congestion(stream, &socket);
        for (name, set) in options {
            match set {
                Some(Err(error)) if is_missing(&error) => observability::left_out(name, &error),
                Some(Err(error)) => result = result.and(Err(explain(name, error))),
                Some(Ok(())) | None => {}
            }
        }
        result
    }

    /// Sets the congestion control, unless it is not time yet.
    fn set_congestion(&self, stream: &TcpStream, socket: &Socket) -> io::Result<()> {
        match &self.congestion {
            Congestion::Named(name) => {
                let option = format!("congestion control {name:?}");
                return congestion::set(socket, name).map_err(|error| explain(&option, error));
            }
            Congestion::Preferred if is_choosable(stream) && offer() != Offer::Missing => {
                choose(socket);
            }
            _ => {}
        }
        Ok(())
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn set_unsent(&self, socket: &Socket) -> Option<io::Result<()>> {
        self.unsent.map(|bytes| socket.set_tcp_notsent_lowat(bytes))
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn set_unsent(&self, _: &Socket) -> Option<io::Result<()>> {
        None
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn set_user_timeout(&self, socket: &Socket) -> Option<io::Result<()>> {
        let set = |time| socket.set_tcp_user_timeout(Some(time));
        self.user_timeout.map(set)
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn set_user_timeout(&self, _: &Socket) -> Option<io::Result<()>> {
        None
    }
}

impl SocketProfile {
    /// The same, but connections choose BBR themselves, once it pays.
    pub(crate) fn defer_congestion(mut self, find: FindSocket) -> Self {
        if self.congestion == Congestion::Preferred {
            self.congestion = Congestion::Deferred(Deferral {
                find,
                gives_back: false,
            });
        }
        self
    }

    /// Sets the options of a connection's socket, if it can be found and whoever made it
    /// has not set them.
    pub(crate) fn set_up(&mut self, io: &dyn Any) {
        if matches!(self.congestion, Congestion::Deferred(_)) {
            return;
        }
        if let Some(stream) = find(io) {
            *self = self.clone().defer_congestion(find);
            // A socket that is gone already says so again when it is read.
            let _ = self.apply(stream);
        }
    }

    /// What chooses BBR for a connection, if its socket is one that is to get it.
    pub(crate) fn for_connection(&self, io: &dyn Any, now: Instant) -> Option<DeferredCongestion> {
        match self.congestion {
            Congestion::Deferred(how) => DeferredCongestion::new(how, io, now),
            _ => None,
        }
    }

    /// Sets what a listener's sockets begin with.
    #[cfg(feature = "server")]
    pub(crate) fn prepare(&mut self, listener: &tokio::net::TcpListener) {
        if let Congestion::Deferred(how) = &mut self.congestion {
            how.prepare(&SockRef::from(listener));
        }
    }

    /// Gives a socket of such a listener that is no connection's what the system has.
    #[cfg(feature = "server")]
    pub(crate) fn give_back(&self, stream: &TcpStream) {
        if let Congestion::Deferred(how) = &self.congestion {
            how.give_back(stream);
        }
    }
}

/// What a system says that does not know an option of TCP.
fn is_missing(error: &io::Error) -> bool {
    let no_protocol_option = match std::env::consts::OS {
        "linux" | "android" => 92,
        "windows" => 10_042,
        _ => 42, // the BSDs and Apple's
    };
    error.kind() == io::ErrorKind::Unsupported || error.raw_os_error() == Some(no_protocol_option)
}

fn explain(option: &str, error: io::Error) -> io::Error {
    io::Error::new(
        error.kind(),
        format!("the socket takes no {option}: {error}"),
    )
}

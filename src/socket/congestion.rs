//! Which congestion control a socket has, and from when.

use std::any::Any;
use std::io;
use std::time::{Duration, Instant};

#[cfg(feature = "client")]
use hyper_util::rt::TokioIo;
use socket2::{SockRef, Socket};
use tokio::net::TcpStream;
#[cfg(all(feature = "client", feature = "tls"))]
use tokio_rustls::client;
#[cfg(feature = "tls")]
use tokio_rustls::server;

use super::explain;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Congestion {
    /// [`PREFERRED`], where the socket has one of [`LOSS_BASED`] and may choose;
    /// whether [`Late`] sees to it.
    Preferred {
        late: bool,
    },
    System,
    Named(String),
}

/// It neither takes a lost packet for a full link nor forgets, while a
/// connection is idle, what the link carries.
const PREFERRED: &str = "bbr";

/// What systems have when nobody chose.
const LOSS_BASED: [&[u8]; 2] = [b"cubic", b"reno"];

/// Bytes that a connection sends under the system's congestion control. BBR spaces
/// even the first packets, and later ones by what those have shown of the link;
/// slow start sends at once what its window allows. So bursts of small messages
/// are sooner if BBR begins with a window that has grown. A transfer needs it from
/// its start: what would be more than this without a gap, or so much at once.
const FIRST: usize = 128 << 10;
const AT_ONCE: usize = 64 << 10;

/// A time without a write that ends a burst. In the midst of one the kernel would
/// begin to space it.
const GAP: Duration = Duration::from_millis(25);

/// Linux's least retransmission timeout, beside the round trip. After a longer
/// pause all but BBR start over, which matters once more was sent than a new
/// connection may send at once: ten packets (RFC 6928).
const PAUSE: Duration = Duration::from_millis(200);
const WINDOW: usize = 10 * 1460;

impl Congestion {
    /// Sets it, unless it is not time yet.
    pub fn apply(&self, stream: &TcpStream, socket: &Socket) -> io::Result<()> {
        match self {
            Congestion::Named(name) => {
                let option = format!("congestion control {name:?}");
                return set(socket, name).map_err(|error| explain(&option, error));
            }
            Congestion::Preferred { late: false } if is_to_choose(stream) => choose(socket),
            Congestion::Preferred { .. } | Congestion::System => {}
        }
        Ok(())
    }
}

/// Gives the socket of a connection [`PREFERRED`] once it pays.
#[derive(Debug)]
pub(crate) struct Late {
    sent: usize,
    /// What of it was written since the last gap.
    run: usize,
    last: Instant,
}

impl Late {
    /// If the I/O object is a socket that is to get it.
    pub fn new(io: &dyn Any, now: Instant) -> Option<Late> {
        let late = Late {
            sent: 0,
            run: 0,
            last: now,
        };
        is_to_choose(tcp(io)?).then_some(late)
    }

    /// Whether it is time, before so many bytes are written; with the shortest round
    /// trip, if it is known.
    pub fn is_due(&mut self, bytes: usize, rtt: Duration, now: Instant) -> bool {
        let idle = now.saturating_duration_since(self.last);
        self.last = now;
        if idle >= GAP {
            self.run = 0;
        }
        let paused = idle >= PAUSE + rtt && self.sent > WINDOW;
        let between = idle >= GAP && self.sent > FIRST;
        paused || between || bytes >= AT_ONCE || self.run + bytes > FIRST
    }

    /// So many were written.
    pub fn on_written(&mut self, bytes: usize) {
        self.run += bytes;
        self.sent += bytes;
    }

    pub fn choose(io: &dyn Any) {
        if let Some(stream) = tcp(io) {
            choose(&SockRef::from(stream));
        }
    }
}

/// What the driver has of a socket that a connector of hyper's made.
#[cfg(feature = "client")]
type Connected = TokioIo<TokioIo<TcpStream>>;

/// The TCP socket under a connection, unless it is hidden in a type of somebody
/// else's.
pub(crate) fn tcp(io: &dyn Any) -> Option<&TcpStream> {
    #[cfg(feature = "client")]
    if let Some(io) = io.downcast_ref::<Connected>() {
        return Some(io.inner().inner());
    }
    #[cfg(all(feature = "client", feature = "tls"))]
    if let Some(io) = io.downcast_ref::<TokioIo<TokioIo<client::TlsStream<Connected>>>>() {
        return Some(io.inner().inner().get_ref().0.inner().inner());
    }
    #[cfg(feature = "tls")]
    if let Some(tls) = io.downcast_ref::<server::TlsStream<TcpStream>>() {
        return Some(tls.get_ref().0);
    }
    io.downcast_ref()
}

/// On the same host pacing costs and nothing is gained.
fn is_to_choose(stream: &TcpStream) -> bool {
    let is_remote = stream
        .peer_addr()
        .is_ok_and(|peer| !peer.ip().is_loopback());
    is_remote && is_loss_based(&SockRef::from(stream))
}

fn choose(socket: &Socket) {
    let _ = set(socket, PREFERRED);
}

#[cfg(any(target_os = "linux", target_os = "freebsd"))]
fn is_loss_based(socket: &Socket) -> bool {
    let name = socket.tcp_congestion().unwrap_or_default();
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    LOSS_BASED.contains(&name)
}

#[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
fn is_loss_based(_: &Socket) -> bool {
    false
}

#[cfg(any(target_os = "linux", target_os = "freebsd"))]
pub(super) fn set(socket: &Socket, name: &str) -> io::Result<()> {
    socket.set_tcp_congestion(name.as_bytes())
}

#[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
pub(super) fn set(_: &Socket, _: &str) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(80);
    const KIB: usize = 1 << 10;

    /// When it is time, if so many bytes are written after each of these waits.
    fn due_at(writes: impl IntoIterator<Item = (Duration, usize)>) -> Option<usize> {
        let mut now = Instant::now();
        let (sent, run, last) = (0, 0, now);
        let mut late = Late { sent, run, last };
        let mut due = |(wait, bytes)| {
            now += wait;
            let due = late.is_due(bytes, RTT, now);
            late.on_written(bytes);
            due
        };
        writes.into_iter().position(|write| due(write))
    }

    #[test]
    fn so_much_at_once_is_a_transfer() {
        let write = |bytes| (Duration::ZERO, bytes);
        assert_eq!(due_at([write(AT_ONCE - 1)]), None);
        assert_eq!(due_at([write(AT_ONCE)]), Some(0));
    }

    #[test]
    fn so_much_without_a_gap_is_a_transfer() {
        assert_eq!(due_at([(GAP / 2, 4 * KIB); 40]), Some(32));
    }

    #[test]
    fn it_is_not_chosen_in_the_midst_of_a_burst() {
        let burst = [(RTT, 20 * KIB), (Duration::ZERO, 40 * KIB)];
        assert_eq!(
            due_at([burst, burst, burst, burst].into_iter().flatten()),
            Some(6)
        );
    }

    #[test]
    fn a_pause_after_which_others_would_start_over_calls_for_it() {
        let pause = PAUSE + RTT;
        assert_eq!(due_at([(pause, WINDOW + 1), (pause, 1)]), Some(1));
        let less = pause - Duration::from_millis(1);
        assert_eq!(due_at([(pause, WINDOW + 1), (less, 1)]), None);
    }

    #[test]
    fn a_pause_of_a_connection_that_has_sent_ten_packets_changes_nothing() {
        assert_eq!(due_at([(PAUSE + RTT, WINDOW / 10); 11]), None);
    }
}

//! When a connection gets the congestion control that suits long links.

use std::any::Any;
use std::time::{Duration, Instant};

use socket2::SockRef;
#[cfg(feature = "server")]
use socket2::Socket;
use tokio::net::TcpStream;

#[cfg(feature = "server")]
use super::congestion::{Congestion, LOSS_BASED, Offer, PREFERRED, name, offer, set};
use super::congestion::{choose, is_to_choose};

/// Finds the TCP socket in the I/O object of a connection, if it is one that is
/// known.
pub(crate) type FindSocket = fn(&dyn Any) -> Option<&TcpStream>;

/// How a late one is found.
#[derive(Clone, Copy, Debug, Eq)]
pub(super) struct Found(pub FindSocket);

/// Users have no such profile to compare.
impl PartialEq for Found {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::fn_addr_eq(self.0, other.0)
    }
}

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
/// pause all but BBR start over (`net.ipv4.tcp_slow_start_after_idle`).
const PAUSE: Duration = Duration::from_millis(200);

/// What a new connection may send at once, ten packets (RFC 6928). Its window grows
/// with bursts of more only, and until then BBR would begin with nothing better.
const WINDOW: usize = 10 * 1460;

/// Gives the socket of a connection [`PREFERRED`] once it pays.
#[derive(Debug)]
pub(crate) struct Late {
    find: FindSocket,
    sent: usize,
    /// What of it was written since the last gap, and the most between two.
    run: usize,
    largest: usize,
    last: Instant,
}

impl Late {
    /// If the I/O object is a socket that is to get it.
    pub(super) fn new(find: FindSocket, io: &dyn Any, now: Instant) -> Option<Late> {
        let late = Late {
            find,
            sent: 0,
            run: 0,
            largest: 0,
            last: now,
        };
        is_to_choose(find(io)?).then_some(late)
    }

    /// Whether it is time, before so many bytes are written. If they waited for the
    /// transport, which was `full`, the time since the last write is no gap. `rtt` is
    /// the shortest round trip, if it is known.
    pub fn is_due(&mut self, bytes: usize, full: bool, rtt: Duration, now: Instant) -> bool {
        let idle = match full {
            true => Duration::ZERO,
            false => now.saturating_duration_since(self.last),
        };
        self.last = now;
        if idle >= GAP {
            self.run = 0;
        }
        let between = idle >= GAP && self.sent > FIRST || idle >= PAUSE + rtt;
        let has_grown = self.largest > WINDOW;
        between && has_grown || bytes >= AT_ONCE || self.run + bytes > FIRST
    }

    /// So many were written.
    pub fn on_written(&mut self, bytes: usize) {
        self.sent = self.sent.saturating_add(bytes);
        self.run = self.run.saturating_add(bytes);
        self.largest = self.largest.max(self.run);
    }

    pub fn choose(&self, io: &dyn Any) {
        if let Some(stream) = (self.find)(io) {
            choose(&SockRef::from(stream));
        }
    }
}

/// Has the sockets that a listener accepts not begin with the system's [`PREFERRED`],
/// if they are to get it later.
#[cfg(feature = "server")]
pub(super) fn prepare(congestion: &Congestion, listener: &Socket) {
    let is_late = matches!(congestion, Congestion::Late(_)) && offer() == Offer::Default;
    if is_late && name(listener).as_deref() == Some(PREFERRED) {
        let _ = LOSS_BASED.iter().any(|name| set(listener, name).is_ok());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(80);
    const KIB: usize = 1 << 10;

    fn late(now: Instant) -> Late {
        Late {
            find: |_| None,
            sent: 0,
            run: 0,
            largest: 0,
            last: now,
        }
    }

    /// When it is time, if so many bytes are written after each of these waits.
    fn due_at(writes: impl IntoIterator<Item = (Duration, usize)>) -> Option<usize> {
        let mut now = Instant::now();
        let mut late = late(now);
        writes.into_iter().position(|(wait, bytes)| {
            now += wait;
            let due = late.is_due(bytes, false, RTT, now);
            late.on_written(bytes);
            due
        })
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
    fn what_waited_for_the_socket_follows_no_gap() {
        let mut now = Instant::now();
        let mut late = late(now);
        let due = (0..).position(|_| {
            now += RTT;
            let due = late.is_due(60 * KIB, true, RTT, now);
            late.on_written(4 * KIB);
            due
        });
        assert_eq!(due, Some(18));
    }

    #[test]
    fn it_is_not_chosen_in_the_midst_of_a_burst() {
        let burst = [(RTT, 20 * KIB), (Duration::ZERO, 40 * KIB)];
        let bursts = [burst, burst, burst, burst];
        assert_eq!(due_at(bursts.into_iter().flatten()), Some(6));
    }

    #[test]
    fn a_pause_after_which_others_would_start_over_calls_for_it() {
        let pause = PAUSE + RTT;
        assert_eq!(due_at([(pause, WINDOW + 1), (pause, 1)]), Some(1));
        let less = pause - Duration::from_millis(1);
        assert_eq!(due_at([(pause, WINDOW + 1), (less, 1)]), None);
    }

    #[test]
    fn bursts_of_up_to_ten_packets_do_not_call_for_it() {
        assert_eq!(due_at([(PAUSE + RTT, WINDOW); 100]), None);
    }
}

//! Deferred congestion control: when a connection gets the one that suits long links.

use std::any::Any;
use std::time::{Duration, Instant};

use socket2::SockRef;
#[cfg(feature = "server")]
use socket2::Socket;
use tokio::net::TcpStream;

#[cfg(feature = "server")]
use super::congestion::{LOSS_BASED, PREFERRED, name, set};
use super::congestion::{Offer, choose, is_choosable, offer};

/// Finds the TCP socket in the I/O object of a connection, if it is one that is
/// known.
pub(crate) type FindSocket = fn(&dyn Any) -> Option<&TcpStream>;

/// With what a connection begins that gets [`PREFERRED`] later.
#[derive(Clone, Copy, Debug, Eq)]
pub(super) struct Deferral {
    pub find: FindSocket,
    /// The system's default is [`PREFERRED`], and was taken from it.
    pub gives_back: bool,
}

/// Users have no such profile to compare.
impl PartialEq for Deferral {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::fn_addr_eq(self.find, other.find) && self.gives_back == other.gives_back
    }
}

/// Bytes that a connection sends without a gap before BBR is chosen.
///
/// BBR paces even the first packets, and later ones by what it has seen of the link. Slow
/// start sends at once what its window allows. So bursts arrive sooner if BBR begins with a
/// window that has grown. 50 answers of 64 KiB on 16 new connections take 5.4 round trips,
/// and 6.2 if BBR is chosen before the first of them.
const LEAST_SENT: usize = 256 << 10;

/// What a connection has sent before BBR is chosen at a gap. The window has grown to this size,
/// and the next burst may lose packets. A burst of 50 answers of 64 KiB puts 160 KiB on each of
/// 20 connections. With 1 % loss, its 99th percentile on warm connections is 6.8 to 8.9 round
/// trips, and was 8.3 to 15.6 with 256 KiB here. Without loss nothing changes.
const LEAST_BEFORE_GAP: usize = 64 << 10;

/// A time without a write that ends a burst. In the middle of a burst, the kernel would begin
/// to pace it.
const GAP: Duration = Duration::from_millis(25);

/// Linux's least retransmission timeout, which is added to the round trip. After a longer
/// pause all but BBR start over (`net.ipv4.tcp_slow_start_after_idle`).
const PAUSE: Duration = Duration::from_millis(200);

/// What a new connection may send at once: ten packets (RFC 6928). Only larger bursts grow
/// its window, and until then BBR would begin with nothing better.
const INITIAL_WINDOW: usize = 10 * 1460;

/// The shortest round trip with which it is chosen. Links within a region are shorter, and
/// those between a host and its containers much shorter.
const MIN_RTT: Duration = Duration::from_millis(5);

/// Gives the socket of a connection [`PREFERRED`] once it pays.
#[derive(Debug)]
pub(crate) struct DeferredCongestion {
    how: Deferral,
    sent: usize,
    /// What of it was written since the last gap, and the most between two.
    burst: usize,
    largest: usize,
    last: Instant,
}

impl DeferredCongestion {
    /// If the I/O object has a socket that may get it.
    pub(super) fn new(how: Deferral, io: &dyn Any, now: Instant) -> Option<DeferredCongestion> {
        let deferred = DeferredCongestion {
            how,
            sent: 0,
            burst: 0,
            largest: 0,
            last: now,
        };
        let stream = (how.find)(io)?;
        if !how.gives_back {
            offer(); // known when it is needed
        }
        is_choosable(stream).then_some(deferred)
    }

    /// Whether it is time, before so many bytes are written. If they waited for the
    /// transport, which was `full`, the time since the last write is no gap. `rtt` is
    /// the shortest round trip, or zero until it is known.
    pub fn is_due(&mut self, bytes: usize, blocked: bool, rtt: Duration, now: Instant) -> bool {
        let idle = match blocked {
            true => Duration::ZERO,
            false => now.saturating_duration_since(self.last),
        };
        self.last = now;
        if idle >= GAP {
            self.burst = 0;
        }
        let between = idle >= GAP && self.sent > LEAST_BEFORE_GAP || idle >= PAUSE + rtt;
        let has_grown = self.largest > INITIAL_WINDOW;
        let pays = between && has_grown || self.burst + bytes > LEAST_SENT;
        pays && (rtt >= MIN_RTT || self.how.gives_back)
    }

    /// So many were written.
    pub fn on_written(&mut self, bytes: usize) {
        self.sent = self.sent.saturating_add(bytes);
        self.burst = self.burst.saturating_add(bytes);
        self.largest = self.largest.max(self.burst);
    }

    /// Chooses it; whether that is done with.
    pub fn choose(&self, io: &dyn Any) -> bool {
        let Some(stream) = (self.how.find)(io) else {
            return true;
        };
        if !self.how.gives_back && offer() == Offer::Missing {
            return false;
        }
        choose(&SockRef::from(stream));
        true
    }
}

#[cfg(feature = "server")]
impl Deferral {
    /// Has the sockets that a listener accepts not begin with the system's
    /// [`PREFERRED`].
    pub fn prepare(&mut self, listener: &Socket) {
        let is_default = || super::congestion::socket().is_ok_and(|fresh| is_preferred(&fresh));
        if is_preferred(listener) && is_default() {
            self.gives_back = LOSS_BASED.iter().any(|name| set(listener, name).is_ok());
        }
    }

    /// Gives back at once what was taken from the system's default.
    pub fn give_back(&self, stream: &TcpStream) {
        if self.gives_back {
            choose(&SockRef::from(stream));
        }
    }
}

#[cfg(feature = "server")]
fn is_preferred(socket: &Socket) -> bool {
    name(socket).as_deref() == Some(PREFERRED)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(80);
    const KIB: usize = 1 << 10;

    fn deferred(now: Instant) -> DeferredCongestion {
        DeferredCongestion {
            how: Deferral {
                find: |_| None,
                gives_back: false,
            },
            sent: 0,
            burst: 0,
            largest: 0,
            last: now,
        }
    }

    /// When it is time, if so many bytes are written after each of these waits.
    fn due_at(writes: impl IntoIterator<Item = (Duration, usize)>) -> Option<usize> {
        let mut now = Instant::now();
        let mut deferred = deferred(now);
        writes.into_iter().position(|(wait, bytes)| {
            now += wait;
            let due = deferred.is_due(bytes, false, RTT, now);
            deferred.on_written(bytes);
            due
        })
    }

    #[test]
    fn so_much_without_a_gap_is_a_transfer() {
        assert_eq!(due_at([(GAP / 2, 4 * KIB); 80]), Some(LEAST_SENT / 4 / KIB));
    }

    #[test]
    fn what_waited_for_the_socket_follows_no_gap() {
        let mut now = Instant::now();
        let mut deferred = deferred(now);
        let due = (0..).position(|_| {
            now += RTT;
            let due = deferred.is_due(60 * KIB, true, RTT, now);
            deferred.on_written(4 * KIB);
            due
        });
        assert_eq!(due, Some((LEAST_SENT / KIB - 60) / 4 + 1));
    }

    #[test]
    fn it_is_not_chosen_in_the_midst_of_a_burst() {
        let burst = [(RTT, 20 * KIB), (Duration::ZERO, 80 * KIB)];
        let bursts = [burst, burst, burst, burst];
        assert_eq!(due_at(bursts.into_iter().flatten()), Some(2));
        let small = [(RTT, 6 * KIB), (Duration::ZERO, 10 * KIB)];
        let least = LEAST_BEFORE_GAP / KIB / 16 + 1;
        let bursts = std::iter::repeat_n(small, 2 * least).flatten();
        assert_eq!(due_at(bursts), Some(2 * least));
    }

    #[test]
    fn a_pause_after_which_others_would_start_over_calls_for_it() {
        let pause = PAUSE + RTT;
        assert_eq!(due_at([(pause, INITIAL_WINDOW + 1), (pause, 1)]), Some(1));
        let less = pause - Duration::from_millis(1);
        assert_eq!(due_at([(pause, INITIAL_WINDOW + 1), (less, 1)]), None);
    }

    #[test]
    fn on_a_short_link_it_does_not_pay() {
        let now = Instant::now();
        for short in [Duration::ZERO, MIN_RTT - Duration::from_micros(1)] {
            assert!(!deferred(now).is_due(LEAST_SENT + 1, false, short, now));
        }
        assert!(deferred(now).is_due(LEAST_SENT + 1, false, MIN_RTT, now));
    }

    #[test]
    fn what_was_taken_from_the_systems_default_is_given_back_on_any_link() {
        let now = Instant::now();
        let mut deferred = deferred(now);
        deferred.how.gives_back = true;
        assert!(deferred.is_due(LEAST_SENT + 1, false, Duration::ZERO, now));
    }

    #[test]
    fn bursts_of_up_to_ten_packets_do_not_call_for_it() {
        assert_eq!(due_at([(PAUSE + RTT, INITIAL_WINDOW); 100]), None);
    }
}

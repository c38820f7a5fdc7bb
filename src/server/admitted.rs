//! The connections of a listener that its limits admit.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use socket2::SockRef;
use tokio::time::{Instant, Sleep, sleep};

use super::http_io::HttpIo;
use super::limits::{Network, Refusal};
use super::peer::Peer;
use super::settings::Settings;
use crate::driver::yields;
use crate::observability;
use crate::socket::find;

/// Connections of a listener that are held back at a time. Further ones are refused.
const MOST_HELD: usize = 256;

/// Connections of a listener that wait for the rate in all, before those of a network that has
/// more than half of them are refused.
const MOST_WAITING: usize = 256;

/// Connections that are refused before others run: about a tenth of a millisecond. A flood must
/// not hold the runtime's thread.
const BATCH: u32 = 16;

/// One that is served costs as much as so many that are refused, or more.
const SERVED: u32 = 4;

/// A listener's connections, each with its peer. What is refused is reset.
pub(super) struct Admitted<S, R, T> {
    /// None once it has ended.
    incoming: Option<Pin<Box<S>>>,
    /// Makes one known to the runtime, once it is to be served.
    register: fn(R) -> io::Result<T>,
    settings: Settings,
    /// Those that wait, by when they are served.
    held: BTreeMap<(Instant, u64), (R, Peer)>,
    count: u64,
    /// Until the first of them is due.
    due: Pin<Box<Sleep>>,
    /// Those that are next, once the rate in all allows it.
    waiting: VecDeque<(R, Peer)>,
    /// The network that has more than half of those, if they are as many as may wait.
    crowd: Option<Network>,
    /// Until the rate in all allows another.
    rate: Pin<Box<Sleep>>,
    /// What may come before others run.
    left: u32,
}

impl<S, R, T> Unpin for Admitted<S, R, T> {}

impl<S, R, T> Admitted<S, R, T>
where
    S: Stream<Item = io::Result<(R, SocketAddr)>>,
    R: 'static,
    T: 'static,
{
    /// The sockets get the options of the configuration, as far as they can be found.
    pub fn new(incoming: S, register: fn(R) -> io::Result<T>, settings: Settings) -> Self {
        Admitted {
            incoming: Some(Box::pin(incoming)),
            register,
            settings,
            held: BTreeMap::new(),
            count: 0,
            due: Box::pin(sleep(Duration::ZERO)),
            waiting: VecDeque::new(),
            crowd: None,
            rate: Box::pin(sleep(Duration::ZERO)),
            left: BATCH,
        }
    }

    /// The first that was held back long enough.
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<(R, Peer)> {
        loop {
            let Some(first) = self.held.first_entry() else {
                return Poll::Pending;
            };
            let (at, _) = *first.key();
            if at <= Instant::now() {
                return Poll::Ready(first.remove());
            }
            self.due.as_mut().reset(at);
            ready!(self.due.as_mut().poll(cx));
        }
    }

    /// The first that waits, once the rate in all allows it.
    fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<(R, Peer)> {
        while !self.waiting.is_empty() {
            match self.settings.connection_limits.take_turn() {
                Ok(()) => {
                    self.crowd = None;
                    return self.waiting.pop_front().map_or(Poll::Pending, Poll::Ready);
                }
                Err(wait) => {
                    self.rate.as_mut().reset(Instant::now() + wait);
                    ready!(self.rate.as_mut().poll(cx));
                }
            }
        }
        Poll::Pending
    }

    /// It waits for its turn, unless no more may wait and most of those that do are of its
    /// network. So at most twice [`MOST_WAITING`] wait.
    fn push_waiting(&mut self, io: R, peer: Peer) {
        if self.crowd.is_some() && self.crowd == peer.network() {
            return refuse(io, peer.addr, Refusal::Rate.word());
        }
        self.waiting.push_back((io, peer));
        if self.waiting.len() >= MOST_WAITING {
            let networks = self.waiting.iter().map(|(_, peer)| peer.network());
            self.crowd = majority(networks).flatten();
        }
    }

    /// A connection has come: it waits for its turn, is held back, or refused.
    fn on_arrival(&mut self, io: R, addr: SocketAddr) {
        let admitted = self
            .settings
            .admit(addr.ip())
            .and_then(|(admission, wait)| match wait.is_zero() {
                false if self.held.len() >= MOST_HELD => Err(Refusal::Penalty),
                _ => Ok((admission, wait)),
            });
        let (admission, wait) = match admitted {
            Ok(admitted) => admitted,
            Err(refusal) => return refuse(io, addr, refusal.word()),
        };
        let peer = Peer::admitted(addr, admission);
        if wait.is_zero() {
            return self.push_waiting(io, peer);
        }
        observability::connection_held_back();
        self.count += 1;
        let at = (Instant::now() + wait, self.count);
        self.held.insert(at, (io, peer));
    }

    /// One that is to be served, with the options of its socket.
    fn begin(&self, io: R, peer: Peer) -> io::Result<(T, Peer)> {
        let io = (self.register)(io)?;
        if let Some(tcp) = find(&io) {
            // A socket that is gone already says so again when it is read.
            let _ = self.settings.config.socket.apply(tcp);
        }
        Ok((io, peer))
    }
}

impl<S, R, T> Stream for Admitted<S, R, T>
where
    S: Stream<Item = io::Result<(R, SocketAddr)>>,
    R: 'static,
    T: 'static,
{
    type Item = io::Result<(T, Peer)>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if this.left == 0 {
                this.left = BATCH;
                yields(cx);
                return Poll::Pending;
            }
            this.left -= 1;
            if let Poll::Ready((io, peer)) = this.poll_waiting(cx) {
                this.left = this.left.saturating_sub(SERVED - 1);
                return Poll::Ready(Some(this.begin(io, peer)));
            }
            if this.waiting.len() >= MOST_WAITING && this.crowd.is_none() {
                return Poll::Pending;
            }
            if let Poll::Ready((io, peer)) = this.poll_held(cx) {
                this.push_waiting(io, peer);
                continue;
            }
            let next = match &mut this.incoming {
                Some(incoming) => incoming.as_mut().poll_next(cx),
                None if this.held.is_empty() && this.waiting.is_empty() => {
                    return Poll::Ready(None);
                }
                None => return Poll::Pending,
            };
            if next.is_pending() {
                this.left = BATCH;
            }
            match ready!(next) {
                Some(Ok((io, addr))) => this.on_arrival(io, addr),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => this.incoming = None,
            }
        }
    }
}

/// The item that is more than half of all.
fn majority<T: Copy + PartialEq>(items: impl ExactSizeIterator<Item = T> + Clone) -> Option<T> {
    // Each other item takes one away, so that only a majority is sure to be left.
    let left = items.clone().fold((None, 0), |left, item| match left {
        (_, 0) => (Some(item), 1),
        (kept, count) if kept == Some(item) => (kept, count + 1),
        (kept, count) => (kept, count - 1),
    });
    let all = items.len();
    left.0
        .filter(|kept| items.filter(|item| item == kept).count() > all / 2)
}

/// Closes a connection of which nothing was read. A reset costs the fewest packets, and leaves
/// no socket behind that waits.
pub(super) fn refuse<T: 'static>(io: T, addr: SocketAddr, limit: &'static str) {
    observability::connection_refused(addr, limit);
    let io: &dyn Any = &io;
    let bare = io.downcast_ref::<TcpStream>().map(SockRef::from);
    let of_shared_port = || Some(SockRef::from(io.downcast_ref::<HttpIo>()?.get_ref()));
    let socket = bare.or_else(|| find(io).map(SockRef::from));
    if let Some(socket) = socket.or_else(of_shared_port) {
        let _ = socket.set_linger(Some(Duration::ZERO));
    }
}

#[cfg(test)]
mod tests {
    use super::majority;

    #[test]
    fn a_majority_is_more_than_half_of_all() {
        for (items, expected) in [
            (&[] as &[u8], None),
            (&[1], Some(1)),
            (&[1, 2], None),
            (&[1, 2, 1], Some(1)),
            (&[1, 2, 3, 1, 1], Some(1)),
            (&[2, 3, 1, 1], None),
        ] {
            assert_eq!(majority(items.iter().copied()), expected, "{items:?}");
        }
    }
}

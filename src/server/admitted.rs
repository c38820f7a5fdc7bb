//! The connections of a listener that its limits admit.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use tokio::time::{Instant, Sleep, sleep};

use super::limits::Refusal;
use super::peer::Peer;
use super::settings::Settings;
use crate::driver::yields;
use crate::observability;
use crate::socket::find;

/// Connections of a listener that are held back at a time. Further ones are refused.
const MOST_HELD: usize = 256;

/// Connections that are refused before others run: about a tenth of a millisecond. A flood must
/// not hold the runtime's thread.
const BATCH: u32 = 16;

/// One that is served costs as much as so many that are refused, or more.
const SERVED: u32 = 4;

/// A listener's connections, each with its peer. What is refused is reset.
pub(super) struct Admitted<S, T> {
    /// None once it has ended.
    incoming: Option<Pin<Box<S>>>,
    settings: Settings,
    /// Those that wait, by when they are served.
    held: BTreeMap<(Instant, u64), (T, Peer)>,
    count: u64,
    /// Until the first of them is due.
    due: Pin<Box<Sleep>>,
    /// Until the rate in all allows another.
    rate: Pin<Box<Sleep>>,
    /// What may come before others run.
    left: u32,
}

impl<S, T> Unpin for Admitted<S, T> {}

impl<S, T> Admitted<S, T>
where
    S: Stream<Item = io::Result<(T, SocketAddr)>>,
    T: 'static,
{
    /// The sockets get the options of the configuration, as far as they can be found.
    pub fn new(incoming: S, settings: Settings) -> Self {
        Admitted {
            incoming: Some(Box::pin(incoming)),
            settings,
            held: BTreeMap::new(),
            count: 0,
            due: Box::pin(sleep(Duration::ZERO)),
            rate: Box::pin(sleep(Duration::ZERO)),
            left: BATCH,
        }
    }

    /// The first that was held back long enough.
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<(T, Peer)> {
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

    /// Ready once the rate in all allows another.
    fn poll_rate(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let wait = self.settings.connection_limits.wait();
            if wait.is_zero() {
                return Poll::Ready(());
            }
            self.rate.as_mut().reset(Instant::now() + wait);
            ready!(self.rate.as_mut().poll(cx));
        }
    }

    /// A connection has come: it is served now, held back, or refused.
    fn on_arrival(&mut self, io: T, addr: SocketAddr) -> Option<(T, Peer)> {
        let admitted = self
            .settings
            .admit(addr.ip())
            .and_then(|(admission, wait)| {
                let held = !wait.is_zero();
                match held && self.held.len() >= MOST_HELD {
                    true => Err(Refusal::Penalty),
                    false => Ok((admission, wait)),
                }
            });
        let (admission, wait) = match admitted {
            Ok(admitted) => admitted,
            Err(refusal) => {
                refuse(io, addr, refusal.word());
                return None;
            }
        };
        if let Some(tcp) = find(&io) {
            // A socket that is gone already says so again when it is read.
            let _ = self.settings.config.socket.apply(tcp);
        }
        let peer = Peer::admitted(addr, admission);
        if wait.is_zero() {
            return Some((io, peer));
        }
        observability::connection_held_back();
        self.count += 1;
        let at = (Instant::now() + wait, self.count);
        self.held.insert(at, (io, peer));
        None
    }
}

impl<S, T> Stream for Admitted<S, T>
where
    S: Stream<Item = io::Result<(T, SocketAddr)>>,
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
            if let Poll::Ready(first) = this.poll_held(cx) {
                return Poll::Ready(Some(Ok(first)));
            }
            if this.incoming.is_some() {
                ready!(this.poll_rate(cx));
            }
            let next = match &mut this.incoming {
                Some(incoming) => incoming.as_mut().poll_next(cx),
                None if this.held.is_empty() => return Poll::Ready(None),
                None => return Poll::Pending,
            };
            if next.is_pending() {
                this.left = BATCH;
            }
            match ready!(next) {
                Some(Ok((io, addr))) => {
                    if let Some(served) = this.on_arrival(io, addr) {
                        this.left = this.left.saturating_sub(SERVED - 1);
                        return Poll::Ready(Some(Ok(served)));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => this.incoming = None,
            }
        }
    }
}

/// Closes a connection of which nothing was read. A reset costs the fewest packets, and leaves
/// no socket behind that waits.
pub(super) fn refuse<T: 'static>(io: T, addr: SocketAddr, limit: &'static str) {
    observability::connection_refused(addr, limit);
    if let Some(tcp) = find(&io) {
        let _ = socket2::SockRef::from(tcp).set_linger(Some(Duration::ZERO));
    }
}

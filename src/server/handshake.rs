//! What a connection does before its first frame, such as a TLS handshake. Each runs in a
//! task of its own, with a timeout; their number is limited.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::accept_retry::{AcceptRetry, Freed};
use super::admitted::refuse;
use super::half_open::{HalfOpenLimit, Permit};
use super::peer::Peer;
use crate::observability::Handshake;

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub within: Duration,
    pub at_once: usize,
}

/// What a handshake has ended with.
pub(super) enum Outcome<T> {
    /// A connection of this protocol.
    Ours(T),
    /// Another, which this hands on; that may take any time.
    Other(Pin<Box<dyn Future<Output = ()> + Send>>),
}

/// The connections of a listener whose handshake has ended well.
pub(super) struct Handshakes<I, F, T> {
    /// None once no more are taken.
    incoming: Option<AcceptRetry<I>>,
    shake: F,
    within: Duration,
    half_open: HalfOpenLimit,
    tasks: JoinSet<Option<T>>,
    freed: Freed,
}

impl<I, F, T: 'static> Handshakes<I, F, T> {
    pub fn new(incoming: AcceptRetry<I>, limits: Limits, shake: F) -> Self {
        Handshakes {
            freed: incoming.freed(),
            incoming: Some(incoming),
            shake,
            within: limits.within,
            half_open: HalfOpenLimit::new(limits.at_once),
            tasks: JoinSet::new(),
        }
    }
}

impl<I, F, T: 'static> Unpin for Handshakes<I, F, T> {}

impl<I, IO, F, S, T> Stream for Handshakes<I, F, T>
where
    I: Stream<Item = io::Result<(IO, Peer)>>,
    IO: 'static,
    F: Fn(IO, Peer) -> S,
    S: Future<Output = io::Result<Outcome<T>>> + Send + 'static,
    T: Send + 'static,
{
    type Item = io::Result<T>;

    /// Ends after the last handshake, once no more connections are taken.
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<T>>> {
        let this = &mut *self;
        loop {
            if let Some(incoming) = &mut this.incoming
                && this.half_open.poll_permit(cx).is_ready()
                && let Poll::Ready(next) = Pin::new(incoming).poll_next(cx)
            {
                match next {
                    Some(Ok((io, peer))) => {
                        let Some(permit) = this.half_open.acquire(peer.addr.ip()) else {
                            refuse(io, peer.addr, "max_handshakes");
                            continue;
                        };
                        let shake = timeout(this.within, (this.shake)(io, peer.clone()));
                        this.tasks.spawn(run(shake, peer, permit));
                    }
                    Some(Err(error)) => {
                        this.half_open.evict_silent();
                        return Poll::Ready(Some(Err(error)));
                    }
                    None => this.incoming = None,
                }
                continue;
            }
            match this.tasks.poll_join_next(cx) {
                Poll::Ready(Some(Ok(Some(io)))) => return Poll::Ready(Some(Ok(io))),
                // A handshake that fails is its peer's loss alone.
                Poll::Ready(Some(_)) => this.freed.tell(),
                Poll::Ready(None) if this.incoming.is_none() => return Poll::Ready(None),
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// One handshake. Its time and its permit are over where it has told whose the
/// connection is.
async fn run<T>(
    shake: impl Future<Output = Result<io::Result<Outcome<T>>, tokio::time::error::Elapsed>>,
    peer: Peer,
    permit: Permit,
) -> Option<T> {
    let handshake = run_to_its_end(shake, peer, permit);
    #[cfg(feature = "tls")]
    let handshake = super::shown::in_handshake(handshake);
    handshake.await
}

async fn run_to_its_end<T>(
    shake: impl Future<Output = Result<io::Result<Outcome<T>>, tokio::time::error::Elapsed>>,
    peer: Peer,
    mut permit: Permit,
) -> Option<T> {
    let handshake = Handshake::begin(peer.addr);
    let outcome = tokio::select! {
        outcome = shake => outcome.unwrap_or_else(|late| Err(late.into())),
        () = permit.evicted() => {
            handshake.evicted();
            return None;
        }
    };
    match outcome {
        Ok(Outcome::Ours(io)) => {
            handshake.succeeds();
            Some(io)
        }
        Ok(Outcome::Other(hand_on)) => {
            handshake.succeeds();
            permit.exempt();
            hand_on.await;
            None
        }
        Err(error) => {
            #[cfg(feature = "tls")]
            let names = super::shown::names();
            #[cfg(not(feature = "tls"))]
            let names = None;
            if is_violation(&error) {
                peer.violated();
            }
            handshake.fails(&error, names.as_deref());
            None
        }
    }
}

/// Whether the peer has broken a rule of TLS. Whoever hangs up, or does not like this side's
/// certificate, has broken none.
fn is_violation(error: &io::Error) -> bool {
    #[cfg(feature = "tls")]
    {
        use tokio_rustls::rustls::Error;

        let error = error.get_ref().and_then(|error| error.downcast_ref());
        matches!(error, Some(error) if !matches!(error, Error::AlertReceived(_)))
    }
    #[cfg(not(feature = "tls"))]
    {
        let _ = error;
        false
    }
}

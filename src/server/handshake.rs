//! What a connection goes through before its first frame, in a task of its own:
//! so many at a time, each within a time.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::listen::Incoming;
use super::newcomers::Newcomers;
use super::patience::Patient;
use crate::observability;

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub within: Duration,
    pub at_once: usize,
}

/// The connections of a listener whose handshake has ended well.
pub(super) struct Handshakes<F, T> {
    incoming: Patient<Incoming>,
    shake: F,
    within: Duration,
    newcomers: Newcomers,
    tasks: JoinSet<io::Result<Option<T>>>,
}

impl<F, T: 'static> Handshakes<F, T> {
    /// `shake` yields what is to be served, or nothing if it is elsewhere.
    pub fn new(incoming: Patient<Incoming>, limits: Limits, shake: F) -> Self {
        Handshakes {
            incoming,
            shake,
            within: limits.within,
            newcomers: Newcomers::new(limits.at_once),
            tasks: JoinSet::new(),
        }
    }
}

impl<F, T: 'static> Unpin for Handshakes<F, T> {}

impl<F, S, T> Stream for Handshakes<F, T>
where
    F: Fn(TcpStream, SocketAddr) -> S,
    S: Future<Output = io::Result<Option<T>>> + Send + 'static,
    T: Send + 'static,
{
    type Item = io::Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<T>>> {
        let this = &mut *self;
        loop {
            if this.newcomers.poll_place(cx).is_ready()
                && let Poll::Ready(next) = Pin::new(&mut this.incoming).poll_next(cx)
            {
                let (tcp, addr) = match next {
                    Some(Ok(accepted)) => accepted,
                    Some(Err(error)) => {
                        this.newcomers.thin();
                        return Poll::Ready(Some(Err(error)));
                    }
                    None => return Poll::Ready(None),
                };
                let mut place = this.newcomers.enter(addr.ip());
                let shake = tokio::time::timeout(this.within, (this.shake)(tcp, addr));
                this.tasks.spawn(async move {
                    let result = tokio::select! {
                        result = shake => result.unwrap_or_else(|late| Err(late.into())),
                        () = place.taken() => Err(io::Error::other("its place went to another")),
                    };
                    result.inspect_err(|error| observability::handshake_failed(addr, error))
                });
                continue;
            }
            match this.tasks.poll_join_next(cx) {
                Poll::Ready(Some(Ok(Ok(Some(io))))) => return Poll::Ready(Some(Ok(io))),
                // A handshake that fails is its peer's loss alone.
                Poll::Ready(Some(_)) => this.incoming.tell(),
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }
}

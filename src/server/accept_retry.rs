//! Accepting with retry. If the system has no room for another connection, accepting pauses
//! for a second, or until one of the connections has closed. It ends when the acceptor drains
//! or is gone.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::timeout;

use crate::observability;

/// How long to wait before the listener is tried again when the system is out
/// of file descriptors or memory: what axum's server waits.
const RETRY: Duration = Duration::from_secs(1);

/// Told of each connection that is over, and so of its file descriptor.
#[derive(Clone, Debug, Default)]
pub(super) struct Freed(Arc<Notify>);

impl Freed {
    pub fn tell(&self) {
        self.0.notify_one();
    }
}

/// The most connections that are taken after the signal to stop: as many as fit the system's
/// backlog. When the listener is closed, what is left there is reset.
const BACKLOG: usize = 4096;

type Wait = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A listener's connections. After an error that is not about one of them it is left
/// alone for a while. After the call to stop, those that have come already are the last.
pub(super) struct AcceptRetry<S> {
    incoming: Pin<Box<S>>,
    freed: Freed,
    pause: Option<Wait>,
    /// None once that has come.
    stop: Option<Wait>,
    left: usize,
    /// After that, until the system was asked once more.
    asks: Option<Wait>,
}

impl<S> AcceptRetry<S> {
    pub fn new(incoming: S, freed: Freed, stop: impl Future<Output = ()> + Send + 'static) -> Self {
        observability::accepts();
        AcceptRetry {
            incoming: Box::pin(incoming),
            freed,
            pause: None,
            stop: Some(Box::pin(stop)),
            left: BACKLOG,
            asks: None,
        }
    }

    /// What is to be told of each connection that is over.
    pub fn freed(&self) -> Freed {
        self.freed.clone()
    }

    /// Whether no more are to be waited for.
    fn stops(&mut self, cx: &mut Context<'_>) -> bool {
        self.stop.take_if(|stop| stop.as_mut().poll(cx).is_ready());
        self.stop.is_none()
    }
}

impl<S, T> AcceptRetry<S>
where
    S: Stream<Item = io::Result<T>>,
{
    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<T>>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        let next = ready!(self.incoming.as_mut().poll_next(cx));
        if let Some(Err(error)) = &next
            && !is_of_one_connection(error)
        {
            let freed = self.freed.clone();
            self.pause = Some(Box::pin(async move {
                let _ = timeout(RETRY, freed.0.notified()).await;
            }));
        }
        Poll::Ready(next)
    }
}

impl<S, T> Stream for AcceptRetry<S>
where
    S: Stream<Item = io::Result<T>>,
{
    type Item = io::Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<T>>> {
        if self.stops(cx) {
            if self.left == 0 {
                return Poll::Ready(None);
            }
            self.left -= 1;
        }
        let next = self.poll_incoming(cx);
        if next.is_ready() || self.stop.is_some() {
            self.asks = None;
            return next;
        }
        // That none is known of may mean that the runtime has not asked the system yet, or
        // that this task is to yield.
        let asks = self.asks.get_or_insert_with(|| Box::pin(yield_now()));
        asks.as_mut().poll(cx).map(|()| None)
    }
}

pub(super) fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::*;
    match error.kind() {
        ConnectionRefused | ConnectionAborted | ConnectionReset => true,
        // macOS accepts a connection that was reset, and tells no address. To tokio that is an
        // invalid input; the system's own error of this kind is about the listener.
        InvalidInput => error.raw_os_error().is_none() && error.get_ref().is_none(),
        _ => false,
    }
}

//! What a connection does before its first frame, such as a TLS handshake. Each runs in a
//! task of its own, with a timeout; their number is limited.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use tokio::io::AsyncRead;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use super::accept_retry::{AcceptRetry, Freed, is_of_one_connection};
use super::admitted::refuse;
use super::half_open::{HalfOpenLimit, Permit};
use super::peer::Peer;
use super::settings::Settings;
use crate::observability::{Handshake, connection_held_back};
use crate::rewind::Rewind;

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
    steps: Arc<Steps<F>>,
    half_open: HalfOpenLimit,
    tasks: JoinSet<Option<T>>,
    freed: Freed,
}

/// What is to be done with each connection.
struct Steps<F> {
    settings: Settings,
    shake: F,
}

impl<I, F, T: 'static> Handshakes<I, F, T> {
    /// `shake` is done once it is known whom a connection is from.
    pub fn new(incoming: AcceptRetry<I>, settings: Settings, shake: F) -> Self {
        Handshakes {
            freed: incoming.freed(),
            incoming: Some(incoming),
            half_open: HalfOpenLimit::new(settings.limits().at_once),
            steps: Arc::new(Steps { settings, shake }),
            tasks: JoinSet::new(),
        }
    }
}

impl<I, F, T: 'static> Unpin for Handshakes<I, F, T> {}

impl<I, IO, F, S, T> Stream for Handshakes<I, F, T>
where
    I: Stream<Item = io::Result<(IO, Peer)>>,
    IO: AsyncRead + Unpin + Send + 'static,
    F: Fn(Rewind<IO>, Peer) -> S + Send + Sync + 'static,
    S: Future<Output = io::Result<Outcome<T>>> + Send + 'static,
    T: Send + 'static,
{
    type Item = io::Result<T>;

    /// Ends after the last handshake, once no more connections are taken. Those that have
    /// ended go first: their peers wait for a hello.
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<T>>> {
        let this = &mut *self;
        loop {
            match this.tasks.poll_join_next(cx) {
                Poll::Ready(Some(Ok(Some(io)))) => return Poll::Ready(Some(Ok(io))),
                // A handshake that fails is its peer's loss alone.
                Poll::Ready(Some(_)) => {
                    this.freed.tell();
                    continue;
                }
                Poll::Ready(None) if this.incoming.is_none() => return Poll::Ready(None),
                Poll::Ready(None) | Poll::Pending => {}
            }
            let Some(incoming) = &mut this.incoming else {
                return Poll::Pending;
            };
            ready!(this.half_open.poll_permit(cx));
            match ready!(Pin::new(incoming).poll_next(cx)) {
                Some(Ok((io, mut peer))) => {
                    peer.look_at(&io);
                    let Some(permit) = this.half_open.acquire(peer.addr.ip()) else {
                        refuse(io, peer.addr, "max_handshakes");
                        continue;
                    };
                    let attempt = Attempt::new(&this.steps.settings, peer, permit);
                    this.tasks.spawn(attempt.run(this.steps.clone(), io));
                }
                Some(Err(error)) => {
                    if !is_of_one_connection(&error) {
                        this.half_open.evict_silent();
                    }
                    return Poll::Ready(Some(Err(error)));
                }
                None => this.incoming = None,
            }
        }
    }
}

/// One connection. Its time and its permit are over where it has told whose the connection
/// is.
struct Attempt {
    observed: Handshake,
    peer: Peer,
    permit: Permit,
    deadline: Instant,
}

enum Failure {
    /// Another needed the permit.
    Evicted,
    Error(io::Error),
    /// What a proxy says of its client is missing, wrong or not believed.
    Header(io::Error),
}

impl Attempt {
    fn new(settings: &Settings, peer: Peer, permit: Permit) -> Self {
        Attempt {
            observed: Handshake::begin(peer.addr),
            peer,
            permit,
            deadline: Instant::now() + settings.limits().within,
        }
    }

    async fn run<IO, F, S, T>(self, steps: Arc<Steps<F>>, io: IO) -> Option<T>
    where
        IO: AsyncRead + Unpin + 'static,
        F: Fn(Rewind<IO>, Peer) -> S,
        S: Future<Output = io::Result<Outcome<T>>>,
    {
        let run = self.run_to_its_end(steps, io);
        #[cfg(feature = "tls")]
        let run = super::shown::in_handshake(run);
        run.await
    }

    async fn run_to_its_end<IO, F, S, T>(mut self, steps: Arc<Steps<F>>, io: IO) -> Option<T>
    where
        IO: AsyncRead + Unpin + 'static,
        F: Fn(Rewind<IO>, Peer) -> S,
        S: Future<Output = io::Result<Outcome<T>>>,
    {
        match self.shake(&steps, Rewind::new(io)).await {
            Ok(Outcome::Ours(io)) => {
                self.observed.succeeds();
                return Some(io);
            }
            Ok(Outcome::Other(hand_on)) => {
                self.observed.succeeds();
                self.permit.exempt();
                hand_on.await;
            }
            Err(Failure::Evicted) => self.observed.evicted(),
            Err(Failure::Header(error)) => self.observed.refused(&error),
            Err(Failure::Error(error)) => {
                #[cfg(feature = "tls")]
                let names = super::shown::names();
                #[cfg(not(feature = "tls"))]
                let names = None::<String>;
                if is_violation(&error) {
                    self.peer.violated();
                }
                self.observed.fails(&error, names.as_deref());
            }
        }
        None
    }

    async fn shake<IO, F, S, T>(
        &mut self,
        steps: &Steps<F>,
        mut io: Rewind<IO>,
    ) -> Result<Outcome<T>, Failure>
    where
        IO: AsyncRead + Unpin + 'static,
        F: Fn(Rewind<IO>, Peer) -> S,
        S: Future<Output = io::Result<Outcome<T>>>,
    {
        let (settings, from) = (&steps.settings, self.peer.addr.ip());
        let client = self.bounded(settings.introduce(&mut io, from)).await;
        let client = client.map_err(|failure| match failure {
            Failure::Error(error) if error.kind() == io::ErrorKind::InvalidData => {
                Failure::Header(error)
            }
            failure => failure,
        })?;
        if let Some(client) = client {
            let held_back = self.peer.stands_for(client, &settings.connection_limits);
            self.observed.is_from(client);
            self.permit.is_from(client.ip());
            match held_back {
                Ok(Duration::ZERO) => {}
                Ok(wait) => {
                    connection_held_back();
                    let held = async {
                        sleep(wait).await;
                        Ok(())
                    };
                    self.bounded(held).await?;
                }
                Err(refusal) => {
                    refuse(io, client, refusal.word());
                    let error = io::Error::other("a limit refuses its client");
                    return Err(Failure::Error(error));
                }
            }
        }
        self.bounded((steps.shake)(io, self.peer.clone())).await
    }

    /// What a step results in, unless the time is over or the permit is taken before.
    async fn bounded<T>(
        &mut self,
        step: impl Future<Output = io::Result<T>>,
    ) -> Result<T, Failure> {
        let done = tokio::select! {
            done = timeout_at(self.deadline, step) => done,
            () = self.permit.evicted() => return Err(Failure::Evicted),
        };
        let done = done.unwrap_or_else(|late| Err(late.into()));
        done.map_err(Failure::Error)
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

//! Draining: peers open no more channels, those that are open end, connections close.

use std::error::Error;
use std::future::{Future, IntoFuture};
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use crate::driver::{Channel, Connection};

/// How long a peer may take for the first byte of a channel that was accepted.
const FIRST_BYTE: Duration = Duration::from_secs(1);

/// How long the last frames to the peers may take after the deadline of a drain.
const LAST_FRAMES: Duration = Duration::from_secs(1);

/// Drains the connections of an [`Acceptor`](super::Acceptor), also if a server owns the
/// acceptor or it is gone. [`serve_until`](Self::serve_until) does a whole graceful shutdown:
///
/// ```no_run
/// # async fn run(acceptor: tcpchan::server::Acceptor, app: axum::Router) -> std::io::Result<()> {
/// # use std::time::Duration;
/// let signal = async { tokio::signal::ctrl_c().await.expect("a signal handler") };
/// let drain = acceptor.drain_handle();
/// let serve = |stop| axum::serve(acceptor, app).with_graceful_shutdown(stop);
/// drain.serve_until(signal, Duration::from_secs(30), serve).await
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct DrainHandle(Arc<Control>);

#[derive(Debug)]
struct Control {
    /// The deadline, once a drain was asked for.
    deadline: watch::Sender<Option<Instant>>,
    /// Something was cut off at the deadline.
    cut_off: AtomicBool,
    /// For each peer that may open channels, and each channel that waits to be
    /// accepted.
    open: Tokens,
    /// For each connection with a channel that the application has yet to begin with, and
    /// each of HTTP.
    unused: Tokens,
    /// For each connection that is not over.
    live: Tokens,
    /// None once the acceptor has started, or was drained or dropped before.
    unstarted: Mutex<Option<Member>>,
}

/// Counts who holds a [`Token`] of it.
type Tokens = watch::Sender<()>;
pub(super) type Token = watch::Receiver<()>;

/// What the listener and each connection hold.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub signal: DrainSignal,
    /// Until no more channels can come of it.
    pub open: Token,
    /// Until it is over.
    pub live: Token,
    pub guard: DrainGuard,
}

/// Makes a drain wait for the first read of a channel.
#[derive(Clone, Debug)]
pub(super) struct DrainGuard(Weak<Control>);

/// Knows when to drain.
#[derive(Clone, Debug)]
pub(super) struct DrainSignal(watch::Receiver<Option<Instant>>);

/// When the server of [`DrainHandle::serve_until`] is to stop: a future, for axum's
/// `with_graceful_shutdown` or the like.
#[derive(Debug)]
#[must_use = "a server that does not wait for it never stops"]
pub struct Stop(oneshot::Receiver<()>);

impl Future for Stop {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(drop)
    }
}

impl DrainHandle {
    pub(super) fn new() -> Self {
        let (deadline, asked) = watch::channel(None);
        let (open, is_open) = watch::channel(());
        let (live, is_live) = watch::channel(());
        DrainHandle(Arc::new_cyclic(|control| Control {
            deadline,
            cut_off: AtomicBool::new(false),
            open,
            unused: watch::channel(()).0,
            live,
            unstarted: Mutex::new(Some(Member {
                signal: DrainSignal(asked),
                open: is_open,
                live: is_live,
                guard: DrainGuard(control.clone()),
            })),
        }))
    }

    /// What the listener holds from its start on. None if it is not to start, because it was
    /// drained.
    pub(super) fn start(&self) -> Option<Member> {
        let unstarted = self.0.unstarted.lock();
        unstarted.unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Serves until `signal`, then shuts down gracefully, so that nothing is refused or cut off:
    ///
    /// 1. It [drains](Self::drain).
    /// 2. It tells the server to stop once no more channels can come
    ///    ([`drained`](Self::drained)).
    /// 3. It waits until the server has ended and the last bytes have arrived
    ///    ([`closed`](Self::closed)). The process may exit then.
    ///
    /// axum's own `with_graceful_shutdown` waits for the handlers only. The end of an answer to a
    /// slow reader may still be in this process then, and an exit cuts it off.
    ///
    /// `within` is the time for all of that, from the signal on. What is left then is cut off;
    /// the last frames to the peers may take a second more. The server is told to stop after
    /// half of `within` at the latest, so that a silent peer leaves time for the requests of
    /// others. Channels that come later are refused. A server that ends without an error and
    /// without a signal is drained as well.
    ///
    /// `serve` makes the server, such as
    /// `|stop| axum::serve(acceptor, app).with_graceful_shutdown(stop)`, or tonic's
    /// `serve_with_incoming_shutdown`. The server must accept channels until [`Stop`] is ready,
    /// and then end once its requests have ended. If this future is dropped, the server is
    /// dropped with it; a drain that has begun goes on.
    ///
    /// # Errors
    ///
    /// The server's, at once: what is open drains on, and [`closed`](Self::closed) tells
    /// when that is over. `TimedOut` if something was cut off.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with time enabled.
    pub async fn serve_until<S, T, E>(
        &self,
        signal: impl Future<Output = ()>,
        within: Duration,
        serve: impl FnOnce(Stop) -> S,
    ) -> io::Result<T>
    where
        S: IntoFuture<Output = Result<T, E>>,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let (stop, stopped) = oneshot::channel();
        let mut server = pin!(serve(Stop(stopped)).into_future());
        let early = tokio::select! {
            served = &mut server => Some(served),
            () = signal => None,
        };
        self.drain(within);
        let mut too_late = pin!(async {
            self.deadline().await;
            tokio::time::sleep(LAST_FRAMES).await;
        });
        let shut_down = async {
            if let Some(served) = early {
                return served;
            }
            tokio::select! {
                served = &mut server => return served,
                () = self.drained() => {}
                () = tokio::time::sleep(within / 2) => {}
            }
            let _ = stop.send(()); // a server may have dropped it
            server.await
        };
        let served = tokio::select! {
            served = shut_down => served.map_err(io::Error::other)?,
            () = &mut too_late => return Err(cut_off()),
        };
        tokio::select! {
            () = self.closed() => {}
            () = too_late => {} // a peer that is silent
        }
        match self.0.cut_off.load(Relaxed) {
            true => Err(cut_off()),
            false => Ok(served),
        }
    }

    /// Drains the connections:
    ///
    /// - No connection is taken but those that have come already; their handshakes go on. An
    ///   acceptor that has not started takes none at all.
    /// - All peers are asked to open no more channels. Channels that they opened before they
    ///   knew are still accepted.
    /// - Each connection closes with its last channel. After `within`, those that are left are
    ///   closed with the channels on them.
    ///
    /// A second call can only make the deadline sooner.
    pub fn drain(&self, within: Duration) {
        let year = Duration::from_secs(86_400 * 365);
        let deadline = Instant::now() + within.min(year);
        self.0.deadline.send_if_modified(|asked| {
            let sooner = asked.is_none_or(|asked| deadline < asked);
            if sooner {
                *asked = Some(deadline);
            }
            sooner
        });
        drop(self.start());
    }

    /// Waits until no peer can open another channel, which is one round trip after
    /// [`drain`](Self::drain), and the application has accepted and read from all that were
    /// opened. Cancel safe.
    ///
    /// A server that accepts until then, and shuts down afterwards, refuses nobody. A peer that
    /// sends nothing on a channel is waited for a second after the last channel was accepted. The
    /// deadline of the drain ends the wait, too.
    pub async fn drained(&self) {
        let quiet = async {
            self.0.open.closed().await;
            let _ = tokio::time::timeout(FIRST_BYTE, self.0.unused.closed()).await;
        };
        tokio::select! {
            () = quiet => {}
            () = self.deadline() => {}
        }
    }

    /// Waits for the deadline of the drain.
    async fn deadline(&self) {
        DrainSignal(self.0.deadline.subscribe()).deadline().await;
    }

    /// Waits until every connection has closed, after [`drain`](Self::drain) or the drop of the
    /// acceptor. Then the last bytes have left and the peers have closed, so the process may
    /// exit. A peer that is silent and does not close is waited for as long as one may be silent
    /// ([`Config::answer_within`](crate::Config::answer_within)). Cancel safe.
    pub async fn closed(&self) {
        self.0.live.closed().await;
    }
}

fn cut_off() -> io::Error {
    let text = "the deadline of the drain cut off what was left";
    io::Error::new(io::ErrorKind::TimedOut, text)
}

impl DrainGuard {
    pub fn hold(&self, channel: &Channel) {
        if let Some(control) = self.0.upgrade() {
            channel.hold_unused(|| control.unused.subscribe());
        }
    }

    /// The same for another connection: a token until then.
    pub fn token(&self) -> Option<Token> {
        Some(self.0.upgrade()?.unused.subscribe())
    }

    /// The deadline cuts the connection off.
    fn set_cut_off(&self) {
        if let Some(control) = self.0.upgrade() {
            control.cut_off.store(true, Relaxed);
        }
    }
}

impl DrainSignal {
    /// Waits for the call to drain, for ever if none can come.
    pub async fn requested(&mut self) -> Instant {
        let asked = self.0.wait_for(Option::is_some).await;
        let deadline = asked.ok().and_then(|deadline| *deadline);
        match deadline {
            Some(deadline) => deadline,
            None => std::future::pending().await,
        }
    }

    /// Waits for the deadline, for ever if there is none.
    async fn deadline(&mut self) {
        loop {
            let deadline = self.requested().await;
            tokio::select! {
                () = tokio::time::sleep_until(deadline) => return,
                Ok(()) = self.0.changed() => {} // it is sooner
            }
        }
    }

    /// Drains the connection when that is asked for, and closes it at the
    /// deadline.
    pub async fn obey(mut self, connection: &Connection, guard: &DrainGuard) {
        self.requested().await;
        connection.drain();
        self.deadline().await;
        if connection.is_cut_by_its_end() {
            guard.set_cut_off();
        }
        connection.close("the deadline of the drain is over");
    }
}

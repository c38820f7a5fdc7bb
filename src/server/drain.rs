//! The end of an acceptor: peers open no more, channels end, connections close.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::driver::{Channel, Connection};

/// How long a peer may take for the first byte of a channel that was accepted.
const FIRST_BYTE: Duration = Duration::from_secs(1);

/// Drains the connections of an [`Acceptor`](super::Acceptor), which may be
/// elsewhere or gone.
///
/// With axum, drain first, so that no request is refused, and shut down then:
///
/// ```no_run
/// # async fn run(acceptor: tcpchan::server::Acceptor, app: axum::Router) -> std::io::Result<()> {
/// # use std::time::Duration;
/// let drain = acceptor.drain_handle();
/// let signal = async move {
///     let _ = tokio::signal::ctrl_c().await;
///     drain.drain(Duration::from_secs(30));
///     drain.drained().await;
/// };
/// axum::serve(acceptor, app).with_graceful_shutdown(signal).await
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct DrainHandle(Arc<Control>);

#[derive(Debug)]
struct Control {
    /// The deadline, once a drain was asked for.
    deadline: watch::Sender<Option<Instant>>,
    /// For each peer that may open channels, and each channel that waits to be
    /// accepted.
    open: Tokens,
    /// For each connection with a channel that the application has yet to begin with.
    unseen: Tokens,
    /// For each connection that is not over.
    live: Tokens,
}

/// Counts who holds a [`Token`] of it.
type Tokens = watch::Sender<()>;
pub(super) type Token = watch::Receiver<()>;

/// What the listener and each connection hold.
#[derive(Clone, Debug)]
pub(super) struct Membership {
    pub call: Call,
    /// Until no more channels can come of it.
    pub open: Token,
    /// Until it is over.
    pub live: Token,
    pub mark: Mark,
}

/// Makes a drain wait for the first read of a channel.
#[derive(Clone, Debug)]
pub(super) struct Mark(Weak<Control>);

/// Knows when to drain.
#[derive(Clone, Debug)]
pub(super) struct Call(watch::Receiver<Option<Instant>>);

impl DrainHandle {
    pub(super) fn new() -> (Self, Membership) {
        let (deadline, asked) = watch::channel(None);
        let (open, is_open) = watch::channel(());
        let (live, is_live) = watch::channel(());
        let handle = DrainHandle(Arc::new(Control {
            deadline,
            open,
            unseen: watch::channel(()).0,
            live,
        }));
        let member = Membership {
            call: Call(asked),
            open: is_open,
            live: is_live,
            mark: Mark(Arc::downgrade(&handle.0)),
        };
        (handle, member)
    }

    /// Takes no more connections, and asks the peers of those there are to open
    /// no more channels. What they opened before they knew is still accepted;
    /// each connection closes with its last channel, and those that are left
    /// after `within` are closed on their channels. A second call does nothing.
    pub fn drain(&self, within: Duration) {
        let day = Duration::from_secs(86_400 * 365);
        let deadline = Instant::now() + within.min(day);
        self.0.deadline.send_if_modified(|asked| {
            let first = asked.is_none();
            asked.get_or_insert(deadline);
            first
        });
    }

    /// Waits until no peer can open a channel any more, which is one round trip
    /// after [`drain`](Self::drain), and those that were opened have been
    /// accepted and read from, or the deadline of the drain is over. A peer that
    /// sends nothing on a channel is waited for a second after the last was
    /// accepted. A server that goes on to accept until then, and shuts down
    /// after it, refuses nobody. Cancel safe.
    pub async fn drained(&self) {
        let quiet = async {
            self.0.open.closed().await;
            let _ = tokio::time::timeout(FIRST_BYTE, self.0.unseen.closed()).await;
        };
        let late = async {
            let deadline = Call(self.0.deadline.subscribe()).asked().await;
            tokio::time::sleep_until(deadline).await;
        };
        tokio::select! {
            () = quiet => {}
            () = late => {}
        }
    }

    /// Waits until every connection is over, after [`drain`](Self::drain) or
    /// the drop of the acceptor: its last bytes have left and its peer has
    /// closed it, so that the process may exit. A peer that says nothing
    /// more, and does not close, is waited for as long as one may be silent
    /// ([`Config::answer_within`](crate::Config::answer_within)). Cancel safe.
    pub async fn closed(&self) {
        self.0.live.closed().await;
    }
}

impl Mark {
    pub fn unseen(&self, channel: &Channel) {
        if let Some(control) = self.0.upgrade() {
            channel.hold_unseen(|| control.unseen.subscribe());
        }
    }
}

impl Call {
    /// Waits for the call to drain, for ever if none can come.
    pub async fn asked(&mut self) -> Instant {
        let asked = self.0.wait_for(Option::is_some).await;
        let deadline = asked.ok().and_then(|deadline| *deadline);
        match deadline {
            Some(deadline) => deadline,
            None => std::future::pending().await,
        }
    }

    /// Drains the connection when that is asked for, and closes it at the
    /// deadline.
    pub async fn obey(mut self, connection: &Connection) {
        let deadline = self.asked().await;
        connection.drain();
        tokio::time::sleep_until(deadline).await;
        connection.close("the deadline of the drain is over");
    }
}

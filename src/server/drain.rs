//! The end of an acceptor: peers open no more, channels end, connections close.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::driver::{Channel, Connection};

/// How long a peer may take between the open of a channel and its first byte.
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
    /// Has a receiver for each peer that may open channels.
    open: watch::Sender<()>,
    /// Has a receiver for each channel of which nothing was read yet.
    unseen: watch::Sender<()>,
    /// Has a receiver for each connection that has not ended.
    live: watch::Sender<()>,
}

/// What the listener and each connection hold until they are over.
#[derive(Clone, Debug)]
pub(super) struct Membership {
    deadline: watch::Receiver<Option<Instant>>,
    open: watch::Receiver<()>,
    control: Weak<Control>,
    _live: watch::Receiver<()>,
}

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
            deadline: asked,
            open: is_open,
            control: Arc::downgrade(&handle.0),
            _live: is_live,
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
    /// after [`drain`](Self::drain), and those that were opened have been read
    /// from; a peer that then sends nothing is waited for a second. A server
    /// that shuts down after that refuses nobody. Cancel safe.
    pub async fn drained(&self) {
        self.0.open.closed().await;
        let _ = tokio::time::timeout(FIRST_BYTE, self.0.unseen.closed()).await;
    }

    /// Waits until every connection has ended, after [`drain`](Self::drain) or
    /// the drop of the acceptor. Cancel safe.
    pub async fn closed(&self) {
        self.0.live.closed().await;
    }
}

impl Membership {
    /// What makes a drain wait for the first read of a channel.
    pub fn mark(&self) -> impl Fn(&Channel) + Send + Sync + use<> {
        let control = self.control.clone();
        move |channel| {
            if let Some(control) = control.upgrade() {
                channel.set_unseen(control.unseen.subscribe());
            }
        }
    }

    /// Waits for the call to drain, for ever if none can come.
    pub async fn asked(&mut self) -> Instant {
        let asked = self.deadline.wait_for(Option::is_some).await;
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
        let ends = async move {
            connection.drained().await;
            drop(self.open);
            std::future::pending::<()>().await;
        };
        let _ = tokio::time::timeout_at(deadline, ends).await;
        connection.close("the deadline of the drain is over");
    }
}

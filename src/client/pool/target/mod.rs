//! One target: its state machine under a lock, and what runs the actions.
//!
//! Actions are run without the lock: a runtime that shuts down drops a task that is
//! spawned on it at once, and the task locks.

mod tasks;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker, ready};

use http::uri::{Authority, Scheme};
use tokio::task::AbortHandle;
use tokio::time::{Instant, Sleep, sleep};

use super::action::Action;
use super::answers::Answers;
use super::dial::Dial;
use super::state::{Opened, State};
use super::waiters::WaiterId;
use crate::client::discovery::Host;
use crate::client::error::ConnectError;
use crate::client::fallback::met::{Evidence, Met};
use crate::client::settings::Settings;
use crate::client::stats::TargetStats;
use crate::driver::{Channel, Connection};

/// The scheme and the authority of a target.
pub(super) type Key = (Option<Scheme>, Option<Authority>);

/// What looks at targets when it is time.
pub(super) trait Keepers: Send + Sync {
    /// Has a task look at targets on this runtime.
    fn keep_here(self: Arc<Self>);

    /// Has a target looked at at this time, instead of another.
    fn schedule(&self, target: &Arc<Target>, before: Option<Instant>, at: Instant);
}

pub(in crate::client) struct Target {
    pub id: u64,
    pub key: Key,
    /// The name that is resolved, if it is not the connector that does it.
    host: Option<Host>,
    settings: Arc<Settings>,
    keepers: Weak<dyn Keepers>,
    dialler: Mutex<Box<dyn Dial>>,
    inner: Mutex<Inner>,
    /// What its connections wake.
    watcher: Waker,
}

struct Inner {
    state: State<Connection>,
    callers: Answers<Channel>,
    prewarms: Answers<()>,
    dials: BTreeMap<u64, AbortHandle>,
    /// When a keeper looks next.
    armed: Option<Instant>,
}

/// A keeper is to look at this time, instead of the one before.
struct Sooner {
    before: Option<Instant>,
    at: Instant,
}

impl Inner {
    /// What to schedule, if a keeper would look later than at this time.
    fn arm(&mut self, at: Instant) -> Option<Sooner> {
        let before = self.armed;
        if before.is_some_and(|armed| armed <= at) {
            return None;
        }
        self.armed = Some(at);
        Some(Sooner { before, at })
    }
}

impl Target {
    pub(super) fn new(
        id: u64,
        key: Key,
        settings: Arc<Settings>,
        keepers: Weak<dyn Keepers>,
        dialler: Box<dyn Dial>,
    ) -> Arc<Self> {
        let discovery = settings.discovery.as_ref();
        let host = discovery.and_then(|_| Host::of(key.0.as_ref(), key.1.as_ref()));
        let discovery = discovery.filter(|_| host.is_some());
        let state = State::new(settings.clone(), discovery, Instant::now().into());
        Arc::new_cyclic(|target| Target {
            id,
            key,
            host,
            settings,
            keepers,
            dialler: Mutex::new(dialler),
            inner: Mutex::new(Inner {
                state,
                callers: Answers::default(),
                prewarms: Answers::default(),
                dials: BTreeMap::new(),
                armed: None,
            }),
            watcher: Waker::from(Arc::new(Watcher(target.clone()))),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `change` under the lock, and then what it asks for without it.
    fn with<T>(self: &Arc<Self>, change: impl FnOnce(&mut Inner, std::time::Instant) -> T) -> T {
        let now = Instant::now();
        let mut inner = self.lock();
        let value = change(&mut inner, now.into());
        let mut woken = Vec::new();
        let mut rest = Vec::new();
        for action in inner.state.take_actions() {
            match action {
                Action::Give(id, answer) => woken.extend(inner.callers.give(id, answer)),
                Action::Prewarmed(id, answer) => woken.extend(inner.prewarms.give(id, answer)),
                action => rest.push(action),
            }
        }
        let next = inner.state.next_look(now.into());
        let sooner = next.and_then(|next| inner.arm(next.into()));
        drop(inner);
        self.schedule(sooner); // before what may panic: connectors, resolvers, wakers
        woken.into_iter().for_each(Waker::wake);
        rest.into_iter().for_each(|action| self.run(action));
        value
    }

    fn run(self: &Arc<Self>, action: Action<Connection>) {
        match action {
            Action::Dial(id, addr, at) => self.dial(id, addr, at.into()),
            Action::Resolve(question) => self.resolve(question),
            Action::Drain(connection) => connection.drain(),
            Action::Close(connection) => connection.close("the deadline of the drain is over"),
            Action::Abandon(connection) => connection.abandon(),
            Action::Release(connection) => drop(connection),
            Action::Give(..) | Action::Prewarmed(..) => {} // given under the lock
        }
    }

    /// Has a keeper look at this time.
    pub fn look_at(self: &Arc<Self>, at: Instant) {
        let sooner = self.lock().arm(at);
        self.schedule(sooner);
    }

    fn schedule(self: &Arc<Self>, sooner: Option<Sooner>) {
        if let Some(sooner) = sooner
            && let Some(keepers) = self.keepers.upgrade()
        {
            keepers.schedule(self, sooner.before, sooner.at);
        }
    }

    /// A keeper looks, if it is for this time; whether nothing is left.
    pub fn keep(self: &Arc<Self>, at: Instant) -> bool {
        let mut inner = self.lock();
        if inner.armed != Some(at) {
            return false;
        }
        inner.armed = None;
        drop(inner);
        self.with(|inner, now| {
            inner.state.look(now);
            inner.state.is_over(now)
        })
    }

    pub fn is_over(&self) -> bool {
        self.lock().state.is_over(Instant::now().into())
    }

    /// A channel, or what waits for it. A caller that goes away takes nothing with it, not
    /// even the dial.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with time.
    pub fn open(self: &Arc<Self>) -> Found {
        let expires = self.begin();
        let id = self.with(|inner, now| match inner.state.open(now) {
            Opened::Channel(channel) => Err(Ok(channel)),
            Opened::Full(waiting) => Err(Err(ConnectError::full(waiting))),
            Opened::Http => Err(Err(ConnectError::http(Met::before(Evidence::Answer)))),
            Opened::Waits(id) => {
                inner.callers.enter(id);
                Ok(id)
            }
        });
        match id {
            Ok(id) => Found::Waits(self.waiting(id, |inner| &mut inner.callers, expires)),
            Err(result) => Found::Ready(result),
        }
    }

    /// A caller has a connection that carries HTTP. It may have dialled that for itself,
    /// and TLS may have told.
    pub fn note_http(self: &Arc<Self>, by_tls: bool) {
        if let Some(keepers) = self.keepers.upgrade() {
            keepers.keep_here();
        }
        self.with(|inner, now| inner.state.note_http(by_tls, now));
    }

    /// Whether callers are to call by HTTP, and no dial is due that asks again.
    pub fn calls_http(self: &Arc<Self>) -> bool {
        self.with(|inner, now| {
            let verdict = &mut inner.state.verdict;
            verdict.is_http() && !verdict.asks_again(now)
        })
    }

    /// A connection that was to carry HTTP had the start of a hello: the next dial asks.
    pub fn speaks_tcpchan(self: &Arc<Self>) {
        self.with(|inner, now| inner.state.met_hello(now));
    }

    /// A caller that dialled for itself has a connection that carries channels.
    pub fn adopt(self: &Arc<Self>, connection: Connection) {
        connection.watched_by(self.watcher.clone());
        self.with(|inner, now| inner.state.adopt(connection, now));
    }

    /// What went wrong last, if nothing went well since.
    pub fn error(&self) -> Option<ConnectError> {
        self.lock().state.error()
    }

    /// Waits until so many connections are up.
    pub async fn prewarm(self: Arc<Self>, connections: usize) -> Result<(), ConnectError> {
        let expires = self.begin();
        let id = self.with(|inner, now| {
            let id = inner.state.prewarm(connections, now);
            inner.prewarms.enter(id);
            id
        });
        self.waiting(id, |inner| &mut inner.prewarms, expires).await
    }

    /// Someone has come, on this runtime; until when it may wait.
    fn begin(&self) -> Sleep {
        if let Some(keepers) = self.keepers.upgrade() {
            keepers.keep_here();
        }
        sleep(self.settings.pool.open_timeout)
    }

    fn waiting<T>(
        self: &Arc<Self>,
        id: WaiterId,
        answers: fn(&mut Inner) -> &mut Answers<T>,
        expires: Sleep,
    ) -> Waiting<T> {
        Waiting {
            target: self.clone(),
            id,
            answers,
            expires: Box::pin(expires),
        }
    }

    /// The shortest round trip of the connections that answer.
    #[cfg(feature = "requests")]
    pub fn rtt(&self) -> Option<std::time::Duration> {
        let inner = self.lock();
        let connections = inner.state.connections();
        connections.filter_map(Connection::rtt_if_answering).min()
    }

    pub fn stats(&self) -> TargetStats {
        let (scheme, authority) = self.key.clone();
        let inner = self.lock();
        let state = &inner.state;
        TargetStats {
            scheme,
            authority,
            addresses: state.addresses.iter().collect(),
            connections: state.connections().map(Connection::stats).collect(),
            draining: state.draining().map(Connection::stats).collect(),
            dialling: state.dials.count(),
            waiting: state.waiters.callers(),
            dials: state.dials.started,
            failed: state.dials.failed,
            speaks_http: state.verdict.is_http(),
            fell_back: state.verdict.fell_back,
        }
    }

    /// Those that may get channels, and those that drain.
    pub fn connections(&self) -> Vec<Connection> {
        let inner = self.lock();
        let state = &inner.state;
        state
            .connections()
            .chain(state.draining())
            .cloned()
            .collect()
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let inner = self.inner.get_mut();
        let inner = inner.unwrap_or_else(PoisonError::into_inner);
        inner.dials.values().for_each(AbortHandle::abort);
    }
}

/// What the connections of a target wake when something happens to them.
struct Watcher(Weak<Target>);

impl Wake for Watcher {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(target) = self.0.upgrade() {
            target.look_at(Instant::now());
        }
    }
}

/// What a caller finds.
pub(in crate::client) enum Found {
    Ready(Result<Channel, ConnectError>),
    Waits(Waiting<Channel>),
}

/// One that waits, until it has its answer or goes away.
pub(in crate::client) struct Waiting<T> {
    target: Arc<Target>,
    id: WaiterId,
    answers: fn(&mut Inner) -> &mut Answers<T>,
    /// In a box, because hyper-util's client takes only futures that can be moved.
    expires: Pin<Box<Sleep>>,
}

impl<T> Future for Waiting<T> {
    type Output = Result<T, ConnectError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut inner = self.target.lock();
        let (answer, old) = (self.answers)(&mut inner).poll(self.id, cx.waker());
        drop(inner);
        drop(old); // may run anything
        if let Some(answer) = answer {
            return Poll::Ready(answer);
        }
        ready!(self.expires.as_mut().poll(cx));
        let within = self.target.settings.pool.open_timeout;
        Poll::Ready(Err(ConnectError::timeout(within, self.target.error())))
    }
}

impl<T> Drop for Waiting<T> {
    fn drop(&mut self) {
        let mut inner = self.target.lock();
        let left = (self.answers)(&mut inner).leave(self.id);
        if left.is_some() {
            inner.state.leave(self.id);
        }
        drop(inner);
        drop(left);
    }
}

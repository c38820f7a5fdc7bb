#![doc = include_str!("OBSERVABILITY.md")]
#![doc = ""]
#![cfg_attr(feature = "client", doc = "[`Fallback`]: crate::client::Fallback")]
#![cfg_attr(
    not(feature = "client"),
    doc = "[`Fallback`]: https://docs.rs/tcpchan/latest/tcpchan/client/struct.Fallback.html"
)]
#![cfg_attr(
    all(feature = "client", feature = "metrics"),
    doc = "[`with_target_labels`]: crate::client::Multiplex::with_target_labels"
)]
#![cfg_attr(
    not(all(feature = "client", feature = "metrics")),
    doc = "[`with_target_labels`]: https://docs.rs/tcpchan/latest/tcpchan/client/struct.Multiplex.html#method.with_target_labels"
)]
#![cfg_attr(
    not(all(
        feature = "tracing",
        feature = "metrics",
        feature = "client",
        feature = "server"
    )),
    allow(dead_code, unused_imports, unused_mut, unused_variables)
)]

#[cfg(feature = "server")]
mod accepting;
mod cause;
#[cfg(feature = "metrics")]
mod describe;
mod dial;
mod emit;
#[cfg(feature = "tracing")]
mod limit;
mod meter;
#[cfg(feature = "client")]
mod opening;
mod origin;
mod reason;
mod tap;
mod target;
#[cfg(feature = "tracing")]
mod trace;

#[cfg(feature = "server")]
pub(crate) use self::accepting::{
    Handshake, HttpConnection, WaitingChannel, accept_failed, accepts, channel_without_memory,
    connection_held_back, connection_refused,
};
pub(crate) use self::cause::kind;
#[cfg(feature = "metrics")]
pub use self::describe::{BUCKETS, describe_metrics};
pub(crate) use self::dial::Dial;
#[cfg(feature = "client")]
pub(crate) use self::dial::unresolved;
pub(crate) use self::emit::Label;
#[cfg(feature = "client")]
pub(crate) use self::opening::Opening;
pub(crate) use self::origin::Origin;
#[cfg(feature = "server")]
pub(crate) use self::origin::network;
pub(crate) use self::tap::Tap;
pub(crate) use self::target::{Target, TargetLabels};

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use self::meter::Meter;
use self::reason::{Reason, reason};
use crate::proto::{ConnectionError, ErrorCode, Event, Role, Stats};

/// Watches one connection. Nothing of it is done under the connection's lock.
#[derive(Debug)]
pub(crate) struct Observer {
    role: Role,
    /// The peer has said its hello.
    greeted: AtomicBool,
    /// The dial, until it has succeeded or failed.
    dial: Mutex<Option<Dial>>,
    #[cfg(feature = "metrics")]
    meter: Mutex<Meter>,
    #[cfg(feature = "tracing")]
    log: trace::Log,
}

/// Events that are to be emitted once the locks are free.
#[derive(Debug, Default)]
pub(crate) struct Noted {
    #[cfg(any(feature = "tracing", feature = "metrics"))]
    events: Vec<Event>,
}

impl Noted {
    pub fn is_empty(&self) -> bool {
        #[cfg(any(feature = "tracing", feature = "metrics"))]
        return self.events.is_empty();
        #[cfg(not(any(feature = "tracing", feature = "metrics")))]
        true
    }

    /// Notes an event of the connection; those of channels are not logged.
    pub fn note(&mut self, event: Event) {
        #[cfg(any(feature = "tracing", feature = "metrics"))]
        match event {
            Event::Connected
            | Event::Suspect
            | Event::Recovered
            | Event::Draining
            | Event::Drained
            | Event::Closed => self.events.push(event),
            _ => {}
        }
    }

    #[cfg(any(feature = "tracing", feature = "metrics"))]
    fn take(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    #[cfg(not(any(feature = "tracing", feature = "metrics")))]
    fn take(&mut self) -> [Event; 0] {
        []
    }
}

impl Observer {
    /// `id` is that of both sides, or 0 if the peer will tell it.
    pub fn new(role: Role, id: u64, mut origin: Origin, now: Instant) -> Self {
        Observer {
            role,
            greeted: AtomicBool::new(false),
            #[cfg(feature = "metrics")]
            meter: Mutex::new(Meter::new(role, origin.labels(), now)),
            #[cfg(feature = "tracing")]
            log: trace::Log {
                span: trace::connection(role, id, &origin.span()),
                role,
                who: origin.who(),
            },
            dial: Mutex::new(origin.dial),
        }
    }

    /// What shows the connection's frames.
    pub fn tap(&self, protocol: crate::wire::Protocol) -> Tap {
        #[cfg(feature = "tracing")]
        return Tap::new(self.role, protocol, &self.log.span);
        #[cfg(not(feature = "tracing"))]
        Tap
    }

    /// Tells what was noted; `look` looks at the connection.
    pub fn tell(&self, noted: &mut Noted, look: impl Fn() -> (Stats, Option<ConnectionError>)) {
        for event in noted.take() {
            let (stats, error) = look();
            self.greeted.fetch_or(event == Event::Connected, Relaxed);
            let reason = self.reason(error.as_ref());
            let is_news = !self.ends_dial(event, reason, error.as_ref());
            #[cfg(feature = "tracing")]
            match event {
                Event::Closed => self.log.ended(&stats, error.as_ref(), reason, is_news),
                event => self.log.event(event, &stats),
            }
            #[cfg(feature = "metrics")]
            {
                let mut meter = lock(&self.meter);
                meter.event(event, reason);
                if event == Event::Closed {
                    meter.end(stats);
                }
            }
        }
    }

    /// Whether the event is the failure of the dial, which has an event of its own.
    fn ends_dial(&self, event: Event, reason: Reason, error: Option<&ConnectionError>) -> bool {
        if !matches!(event, Event::Connected | Event::Closed) {
            return false;
        }
        let dial = lock(&self.dial).take();
        match (dial, error) {
            (Some(dial), _) if event == Event::Connected => dial.up(),
            (Some(dial), Some(error)) if !reason.is_in_order => {
                dial.fails(error);
                return true;
            }
            _ => {} // cancelled, or over long since
        }
        false
    }

    /// Publishes what the connection has done, if it is time, or says when it is.
    pub fn report(&self, now: Instant, stats: impl FnOnce() -> Stats) -> Option<Instant> {
        #[cfg(feature = "metrics")]
        {
            let due = lock(&self.meter).due(now);
            if due.is_some() {
                return due;
            }
            let stats = stats();
            lock(&self.meter).report(stats, now);
        }
        None
    }

    /// Publishes the rest.
    pub fn finish(&self, stats: impl FnOnce() -> Stats) {
        #[cfg(feature = "metrics")]
        {
            let stats = stats();
            lock(&self.meter).publish(stats);
        }
    }

    /// Why the connection has ended. Whoever can connect can be a stranger: a scanner, a
    /// health check, a client of another protocol.
    fn reason(&self, error: Option<&ConnectionError>) -> Reason {
        let is_in_order = match error {
            None | Some(ConnectionError::Closed | ConnectionError::Abandoned) => true,
            Some(ConnectionError::PeerClosed { code, .. }) => *code == ErrorCode::NO_ERROR,
            Some(_) => false,
        };
        let by_choice = is_in_order || matches!(error, Some(ConnectionError::PeerClosed { .. }));
        // What a server of another protocol says to a question is no breach of this one.
        let dial = lock(&self.dial);
        let asked = !is_in_order && dial.as_ref().is_some_and(Dial::is_shadow);
        drop(dial);
        Reason {
            word: if asked { "no_hello" } else { reason(error) },
            is_in_order,
            is_stranger: self.role == Role::Server && !by_choice && !self.greeted.load(Relaxed),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An option of a socket that the system does not have.
#[cfg(feature = "net")]
pub(crate) fn left_out(option: &str, error: &std::io::Error) {
    #[cfg(feature = "tracing")]
    tracing::debug!(target: "tcpchan", option, %error, "the system has no such socket option");
}

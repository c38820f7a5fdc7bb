#![doc = include_str!("OBSERVABILITY.md")]
#![cfg_attr(
    not(all(feature = "tracing", feature = "metrics")),
    allow(dead_code, unused_variables)
)]

mod dial;
#[cfg(feature = "tracing")]
mod limit;
mod meter;
mod tap;
#[cfg(feature = "tracing")]
mod trace;

#[cfg(any(feature = "client", feature = "server"))]
pub(crate) use self::dial::Dial;
pub(crate) use self::meter::Meter;
#[cfg(feature = "metrics")]
pub use self::meter::describe_metrics;
pub(crate) use self::tap::Tap;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::proto::{ConnectionError, Event, Role, Stats};

/// Watches one connection. Nothing of it is done under the connection's lock.
#[derive(Debug)]
pub(crate) struct Observer {
    role: Role,
    /// The peer has said its hello.
    greeted: AtomicBool,
    #[cfg(feature = "tracing")]
    span: tracing::Span,
}

/// Events that are to be told once the locks are free.
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

    /// Notes an event of the connection; those of channels are not told.
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
    pub fn new(role: Role, id: u64) -> Self {
        Observer {
            role,
            greeted: AtomicBool::new(false),
            #[cfg(feature = "tracing")]
            span: trace::connection(role, id),
        }
    }

    /// What shows the connection's frames.
    pub fn tap(&self, protocol: crate::wire::Protocol) -> Tap {
        #[cfg(feature = "tracing")]
        return Tap::new(self.role, protocol, &self.span);
        #[cfg(not(feature = "tracing"))]
        Tap
    }

    /// Tells what was noted; `look` looks at the connection.
    pub fn tell(&self, noted: &mut Noted, look: impl Fn() -> (Stats, Option<ConnectionError>)) {
        for event in noted.take() {
            let (stats, error) = look();
            self.greeted.fetch_or(event == Event::Connected, Relaxed);
            let reason = self.reason(error.as_ref());
            #[cfg(feature = "tracing")]
            trace::event(&self.span, self.role, event, &stats, error.as_ref(), reason);
            #[cfg(feature = "metrics")]
            meter::event(self.role, event, reason);
        }
    }
}

impl Observer {
    /// Why the connection has ended. Whoever can connect can be a stranger: a scanner, a
    /// health check, a client of another protocol.
    fn reason(&self, error: Option<&ConnectionError>) -> Reason {
        let word = reason(error);
        let in_order = matches!(word, "closed" | "peer_closed" | "abandoned");
        Reason {
            word,
            is_stranger: self.role == Role::Server && !in_order && !self.greeted.load(Relaxed),
        }
    }
}

/// Why a connection has ended, and whether the peer had not even said its hello.
#[derive(Clone, Copy)]
struct Reason {
    word: &'static str,
    is_stranger: bool,
}

/// Runs what makes a connection that an acceptor took, within its peer's span.
#[cfg(feature = "server")]
pub(crate) fn of_peer<T>(addr: std::net::SocketAddr, number: u64, make: impl FnOnce() -> T) -> T {
    #[cfg(feature = "tracing")]
    return trace::peer(addr, number).in_scope(make);
    #[cfg(not(feature = "tracing"))]
    make()
}

/// An option of a socket that the system does not have.
#[cfg(feature = "net")]
pub(crate) fn left_out(option: &str, error: &std::io::Error) {
    #[cfg(feature = "tracing")]
    tracing::debug!(target: "tcpchan", option, %error, "the system has no such socket option");
}

#[cfg(feature = "server")]
pub(crate) fn accept_failed(error: &std::io::Error) {
    #[cfg(feature = "tracing")]
    trace::accept_failed(error);
    #[cfg(feature = "metrics")]
    metrics::counter!("tcpchan_accept_errors_total").increment(1);
}

#[cfg(feature = "server")]
pub(crate) fn handshake_failed(addr: std::net::SocketAddr, error: &std::io::Error) {
    #[cfg(all(feature = "tracing", feature = "tls"))]
    let advice = crate::tls::advice(error);
    #[cfg(all(feature = "tracing", not(feature = "tls")))]
    let advice = None;
    #[cfg(feature = "tracing")]
    trace::handshake_failed(addr, error, advice);
    #[cfg(feature = "metrics")]
    metrics::counter!("tcpchan_handshakes_failed_total").increment(1);
}

/// A word for why a connection ended.
fn reason(error: Option<&ConnectionError>) -> &'static str {
    match error {
        None | Some(ConnectionError::Closed) => "closed",
        Some(ConnectionError::PeerClosed { .. }) => "peer_closed",
        Some(ConnectionError::Violation { .. }) => "violation",
        Some(ConnectionError::Version(_)) => "version",
        Some(ConnectionError::Lost(_)) => "lost",
        Some(ConnectionError::NoHello(_)) => "no_hello",
        Some(ConnectionError::HandshakeTimeout) => "handshake_timeout",
        Some(ConnectionError::Dead) => "dead",
        Some(ConnectionError::Abandoned) => "abandoned",
    }
}

#[cfg(any(feature = "tracing", feature = "metrics"))]
fn role_name(role: Role) -> &'static str {
    match role {
        Role::Client => "client",
        Role::Server => "server",
    }
}

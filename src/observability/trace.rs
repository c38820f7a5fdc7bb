//! Spans and events.

use std::error::Error;
use std::hash::Hash;
use std::time::{Duration, Instant};

use tracing::{Level, Span, debug, enabled, info, info_span, warn};

use super::limit::Limit;
use super::reason::{Reason, role_name};
use super::target::{Target, Who};
use crate::proto::{ConnectionError, Event, Role, Stats};

/// Its parent is the span of its peer or target, and never that of a request, which ends
/// sooner.
pub(super) fn connection(role: Role, id: u64, parent: &Span) -> Span {
    let role = role_name(role);
    let span = info_span!(target: "tcpchan", parent: parent.id(), "connection", role, id = tracing::field::Empty);
    if id != 0 {
        name(&span, id);
    }
    span
}

fn name(span: &Span, id: u64) {
    span.record("id", tracing::field::display(format_args!("{id:016x}")));
}

pub(super) fn peer(addr: std::net::SocketAddr, connection: u64) -> Span {
    let (ip, port) = (addr.ip(), addr.port());
    info_span!(
        target: "tcpchan",
        parent: None,
        "peer",
        network.peer.address = %ip,
        network.peer.port = port,
        connection,
    )
}

pub(super) fn target(target: &Target) -> Span {
    info_span!(
        target: "tcpchan",
        parent: None,
        "target",
        server.address = target.address.as_deref(),
        server.port = target.port,
    )
}

/// Warnings of one kind in each minute. A region that is lost ends thousands of
/// connections.
static WARNINGS: Limit<(&str, Role, &str)> = Limit::new(5);

/// Lines of one peer or target, so that one that comes and goes does not fill the log.
static INFOS: Limit<(&str, Role, Who)> = Limit::new(5);

/// Clients that are refused in each minute.
#[cfg(all(feature = "server", feature = "tls"))]
static REFUSALS: Limit<()> = Limit::new(20);

/// Failed dials of one target, and of all.
static DIALS: Limit<Who> = Limit::new(5);
static ALL_DIALS: Limit<()> = Limit::new(20);

/// A field that is left out where it says nothing.
fn some(count: u32) -> Option<u32> {
    Some(count).filter(|count| *count > 0)
}

/// To the microsecond: more would be noise.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// Whether one more line of a kind may be logged; one that nobody hears does not count.
fn allows<K: Eq + Hash>(limit: &Limit<K>, kind: K) -> Option<u32> {
    let heard = enabled!(target: "tcpchan", Level::WARN);
    heard.then(|| limit.allows(kind, Instant::now())).flatten()
}

/// An event at one of two levels, by whether it is one of too many of its kind.
macro_rules! limited {
    ($level:ident, $suppressed:expr, $span:expr, { $($field:tt)* }, $text:literal) => {
        match $suppressed {
            Some(suppressed) => {
                $level!(target: "tcpchan", parent: $span, { suppressed = some(suppressed), $($field)* }, $text);
            }
            None => debug!(target: "tcpchan", parent: $span, { $($field)* }, $text),
        }
    };
}
/// An event at one of three levels, which the macros take as constants.
macro_rules! ended {
    ($level:ident, $suppressed:expr, $span:expr, $reason:expr, $stats:expr, $error:expr) => {
        $level!(
            target: "tcpchan",
            parent: $span,
            suppressed = $suppressed.and_then(some),
            reason = $reason.word,
            error = $error.map(tracing::field::display),
            channels = $stats.channels,
            opened = $stats.opened,
            accepted = $stats.accepted,
            bytes_received = $stats.bytes_received,
            bytes_sent = $stats.bytes_sent,
            "the connection has ended"
        )
    };
}

/// One connection, as its events tell of it.
#[derive(Debug)]
pub(super) struct Log {
    pub span: Span,
    pub role: Role,
    pub who: Option<Who>,
}

impl Log {
    pub fn event(&self, event: Event, stats: &Stats) {
        let span = &self.span;
        let (rtt_ms, channels) = (stats.rtt.map(milliseconds), stats.channels);
        match event {
            Event::Connected => {
                if let Some(id) = stats.connection_id
                    && self.role == Role::Server
                {
                    name(span, id);
                }
                let (suppressed, version) =
                    (self.info("up"), stats.version.map(|version| version as u8));
                limited!(info, suppressed, span, { version, rtt_ms }, "the connection is up");
            }
            Event::Suspect => {
                let suppressed = self.warning("suspect", "");
                limited!(warn, suppressed, span, { rtt_ms, channels }, "the connection is suspect: its peer is late");
            }
            Event::Recovered => {
                let suppressed = self.warning("recovered", "");
                limited!(
                    info,
                    suppressed,
                    span,
                    { channels },
                    "the peer was heard again"
                );
            }
            Event::Draining => {
                let suppressed = self.info("draining");
                limited!(
                    info,
                    suppressed,
                    span,
                    { channels },
                    "the peer drains the connection"
                );
            }
            Event::Drained => {
                let suppressed = self.info("drained");
                limited!(
                    info,
                    suppressed,
                    span,
                    { channels },
                    "this side has drained the connection"
                );
            }
            _ => {}
        }
    }

    /// The connection has ended. `is_news` says that no other event tells of it.
    pub fn ended(
        &self,
        stats: &Stats,
        error: Option<&ConnectionError>,
        reason: Reason,
        is_news: bool,
    ) {
        let span = &self.span;
        let suppressed = match reason.is_in_order {
            true => self.info("ended"),
            false if is_news && !reason.is_stranger => self.warning("ended", reason.word),
            false => None,
        };
        match suppressed {
            Some(_) if reason.is_in_order => ended!(info, suppressed, span, reason, stats, error),
            Some(_) => ended!(warn, suppressed, span, reason, stats, error),
            None => ended!(debug, suppressed, span, reason, stats, error),
        }
    }

    fn warning(&self, what: &'static str, word: &'static str) -> Option<u32> {
        allows(&WARNINGS, (what, self.role, word))
    }

    /// Of connections that the application made itself every line is logged.
    fn info(&self, what: &'static str) -> Option<u32> {
        match self.who.clone() {
            Some(who) => allows(&INFOS, (what, self.role, who)),
            None => Some(0),
        }
    }
}

pub(super) fn dial_failed(
    span: &Span,
    who: Who,
    error: &(dyn Error + 'static),
    kind: &str,
    took: Duration,
) {
    let suppressed = allows(&DIALS, who).filter(|_| allows(&ALL_DIALS, ()).is_some());
    let took_ms = milliseconds(took);
    match suppressed {
        Some(suppressed) => {
            warn!(target: "tcpchan::dials", parent: span, suppressed = some(suppressed), error, error.type = kind, took_ms, "the dial failed");
        }
        None => {
            debug!(target: "tcpchan::dials", parent: span, error, error.type = kind, took_ms, "the dial failed");
        }
    }
}

#[cfg(feature = "client")]
pub(super) fn meets_http(span: &Span, who: Who, took: Duration) {
    let suppressed = allows(&INFOS, ("meets_http", Role::Client, who));
    let took_ms = milliseconds(took);
    limited!(
        info,
        suppressed,
        span,
        { took_ms },
        "the server does not speak tcpchan: it is called by HTTP"
    );
}

/// Counts with the failed dials of its target.
#[cfg(feature = "client")]
pub(super) fn unresolved(span: &Span, who: Who, error: &(dyn Error + 'static)) {
    let suppressed = allows(&DIALS, who).filter(|_| allows(&ALL_DIALS, ()).is_some());
    limited!(
        warn,
        suppressed,
        span,
        { error },
        "the name could not be resolved"
    );
}

#[cfg(feature = "server")]
pub(super) fn accept_failed(error: &std::io::Error) {
    let suppressed = allows(&WARNINGS, ("accept", Role::Server, ""));
    limited!(warn, suppressed, &Span::current(), { %error }, "no connection can be accepted");
}

#[cfg(feature = "server")]
pub(super) fn channel_without_memory() {
    let suppressed = allows(&WARNINGS, ("channel", Role::Server, ""));
    limited!(
        warn,
        suppressed,
        &Span::current(),
        { limit = "memory_per_channel" },
        "the channel was refused"
    );
}

#[cfg(all(feature = "server", feature = "tls"))]
pub(super) fn client_refused(
    addr: std::net::SocketAddr,
    reason: &str,
    names: Option<&str>,
    error: &std::io::Error,
    kind: &str,
) {
    let (ip, port) = (addr.ip(), addr.port());
    let suppressed = allows(&REFUSALS, ());
    limited!(
        warn,
        suppressed,
        &Span::none(),
        { network.peer.address = %ip, network.peer.port = port, reason, names, %error, error.type = kind },
        "the client was refused"
    );
}

#[cfg(feature = "server")]
pub(super) fn connection_refused(addr: std::net::SocketAddr, limit: &'static str) {
    let suppressed = allows(&WARNINGS, ("refused", Role::Server, limit));
    let (ip, port) = (addr.ip(), addr.port());
    limited!(
        warn,
        suppressed,
        &Span::current(),
        { limit, network.peer.address = %ip, network.peer.port = port },
        "the connection was refused"
    );
}

#[cfg(feature = "server")]
pub(super) fn header_refused(addr: std::net::SocketAddr, error: &std::io::Error) {
    let suppressed = allows(&WARNINGS, ("header", Role::Server, ""));
    let (ip, port) = (addr.ip(), addr.port());
    limited!(
        warn,
        suppressed,
        &Span::current(),
        { network.peer.address = %ip, network.peer.port = port, %error },
        "the PROXY header was refused"
    );
}

#[cfg(feature = "server")]
pub(super) fn handshake_failed(
    addr: std::net::SocketAddr,
    error: &std::io::Error,
    kind: &str,
    advice: Option<&str>,
) {
    let (ip, port) = (addr.ip(), addr.port());
    debug!(
        target: "tcpchan",
        { network.peer.address = %ip, network.peer.port = port, %error, error.type = kind, advice },
        "the handshake failed"
    );
}

#[cfg(test)]
mod tests {
    use std::io::{self, ErrorKind};
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn fails(host: &str, port: u16) {
        let who = Target::new(Some(host), Some(port), Vec::new()).who();
        let error = io::Error::from(ErrorKind::ConnectionRefused);
        dial_failed(&Span::none(), who, &error, "refused", Duration::ZERO);
    }

    /// As when a host is lost, and then its region.
    #[test]
    fn a_target_that_fails_is_five_warnings_a_minute_and_all_are_twenty() {
        let log = Log::default();
        let to = log.clone();
        let lines = || {
            let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
            text.matches("WARN").count()
        };
        let subscriber = tracing_subscriber::fmt().with_writer(move || to.clone());
        tracing::subscriber::with_default(subscriber.with_ansi(false).finish(), || {
            for _ in 0..100 {
                fails("host", 0);
            }
            assert_eq!(lines(), 5);
            for port in 0..100 {
                fails("other", port);
            }
            assert_eq!(lines(), 20);
        });
    }
}

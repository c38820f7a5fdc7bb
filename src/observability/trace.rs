//! Spans and events.

use std::time::Instant;

use tracing::{Span, debug, info, info_span, warn};

use super::limit::Limit;
use super::{Reason, role_name};
use crate::proto::{ConnectionError, Event, Role, Stats};

/// Its parent is the span of its peer or target, and never that of a request, which ends
/// sooner.
pub(super) fn connection(role: Role, id: u64) -> Span {
    let outer = Span::current();
    let is_ours = |data: &tracing::Metadata<'_>| {
        data.target() == "tcpchan" && matches!(data.name(), "peer" | "target")
    };
    let parent = outer
        .metadata()
        .is_some_and(is_ours)
        .then(|| outer.id())
        .flatten();
    let role = role_name(role);
    let span = info_span!(target: "tcpchan", parent: parent, "connection", role, id = tracing::field::Empty);
    if id != 0 {
        name(&span, id);
    }
    span
}

fn name(span: &Span, id: u64) {
    span.record("id", tracing::field::display(format_args!("{id:016x}")));
}

#[cfg(feature = "server")]
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

#[cfg(any(feature = "client", feature = "server"))]
pub(super) fn target(host: Option<&str>, port: Option<u16>) -> Span {
    info_span!(
        target: "tcpchan",
        parent: None,
        "target",
        server.address = host,
        server.port = port,
    )
}

/// Lines of this process at levels that nobody filters.
static LINES: Limit<(&str, Role, &str)> = Limit::new();

/// An event at one of two levels, by whether it is one of too many of its kind.
macro_rules! limited {
    ($level:ident, $untold:expr, $span:expr, { $($field:tt)* }, $text:literal) => {
        match $untold {
            Some(untold) => {
                $level!(target: "tcpchan", parent: $span, { untold, $($field)* }, $text);
            }
            None => debug!(target: "tcpchan", parent: $span, { $($field)* }, $text),
        }
    };
}
#[cfg(any(feature = "client", feature = "server"))]
pub(super) use limited;

pub(super) fn event(
    span: &Span,
    role: Role,
    event: Event,
    stats: &Stats,
    error: Option<&ConnectionError>,
    reason: Reason,
) {
    let (rtt, channels) = (stats.rtt, stats.channels);
    let untold = |what| LINES.allows((what, role, ""), Instant::now());
    match event {
        Event::Connected => {
            if let Some(id) = stats.connection_id
                && role == Role::Server
            {
                name(span, id);
            }
            let version = stats.version;
            info!(target: "tcpchan", parent: span, ?version, ?rtt, "the connection is up");
        }
        Event::Suspect => {
            let untold = untold("suspect");
            limited!(warn, untold, span, { ?rtt, channels }, "the connection is suspect: its peer is late");
        }
        Event::Recovered => {
            let untold = untold("recovered");
            limited!(info, untold, span, { channels }, "the peer was heard again");
        }
        Event::Draining => {
            info!(target: "tcpchan", parent: span, channels, "the peer drains the connection");
        }
        Event::Drained => {
            let text = "this side has drained the connection";
            info!(target: "tcpchan", parent: span, channels, "{text}");
        }
        Event::Closed => closed(span, role, stats, error, reason),
        _ => {}
    }
}

/// An event at one of three levels, which the macros take as constants.
macro_rules! ended {
    ($level:ident, $untold:expr, $span:expr, $reason:expr, $stats:expr, $error:expr) => {
        $level!(
            target: "tcpchan",
            parent: $span,
            untold = $untold,
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

fn closed(span: &Span, role: Role, stats: &Stats, error: Option<&ConnectionError>, reason: Reason) {
    let in_order = matches!(
        error,
        None | Some(
            ConnectionError::Closed
                | ConnectionError::Abandoned
                | ConnectionError::PeerClosed { code: 0, .. }
        )
    );
    if in_order {
        return ended!(info, None::<u32>, span, reason, stats, error);
    }
    let kind = ("ended", role, reason.word);
    let told = !reason.is_stranger;
    match told.then(|| LINES.allows(kind, Instant::now())).flatten() {
        Some(untold) => ended!(warn, Some(untold), span, reason, stats, error),
        None => ended!(debug, None::<u32>, span, reason, stats, error),
    }
}

#[cfg(feature = "server")]
pub(super) fn accept_failed(error: &std::io::Error) {
    let untold = LINES.allows(("accept", Role::Server, ""), Instant::now());
    limited!(warn, untold, &Span::current(), { %error }, "no connection can be accepted");
}

#[cfg(feature = "server")]
pub(super) fn handshake_failed(
    addr: std::net::SocketAddr,
    error: &std::io::Error,
    advice: Option<&str>,
) {
    let (ip, port) = (addr.ip(), addr.port());
    debug!(
        target: "tcpchan",
        { network.peer.address = %ip, network.peer.port = port, %error, advice },
        "the handshake failed"
    );
}

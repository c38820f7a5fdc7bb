//! Spans and events.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tracing::{Span, debug, info, info_span, warn};

use super::{reason, role_name};
use crate::proto::{ConnectionError, Event, Role, Stats};

pub(super) fn connection(role: Role) -> Span {
    static CONNECTIONS: AtomicU64 = AtomicU64::new(1);
    let id = CONNECTIONS.fetch_add(1, Relaxed);
    info_span!(target: "tcpchan", "connection", role = role_name(role), id)
}

#[cfg(feature = "server")]
pub(super) fn peer(addr: std::net::SocketAddr, connection: u64) -> Span {
    info_span!(target: "tcpchan", "peer", %addr, connection)
}

pub(super) fn event(
    span: &Span,
    role: Role,
    event: Event,
    stats: &Stats,
    error: Option<&ConnectionError>,
) {
    let (rtt, channels) = (stats.rtt, stats.channels);
    match event {
        Event::Connected => {
            let version = stats.version;
            info!(target: "tcpchan", parent: span, ?version, ?rtt, "the connection is up");
        }
        Event::Suspect => {
            let text = "the connection is suspect: its peer is late";
            warn!(target: "tcpchan", parent: span, ?rtt, channels, "{text}");
        }
        Event::Recovered => info!(target: "tcpchan", parent: span, "the peer was heard again"),
        Event::Draining => {
            info!(target: "tcpchan", parent: span, channels, "the peer drains the connection");
        }
        Event::Drained => {
            let text = "this side has drained the connection";
            info!(target: "tcpchan", parent: span, channels, "{text}");
        }
        Event::Closed => closed(span, role, stats, error),
        _ => {}
    }
}

/// An event at one of three levels, which the macros take as constants.
macro_rules! ended {
    ($level:ident, $span:expr, $stats:expr, $error:expr) => {
        $level!(
            target: "tcpchan",
            parent: $span,
            reason = reason($error),
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

fn closed(span: &Span, role: Role, stats: &Stats, error: Option<&ConnectionError>) {
    let in_order = matches!(
        error,
        None | Some(
            ConnectionError::Closed
                | ConnectionError::Abandoned
                | ConnectionError::PeerClosed { code: 0, .. }
        )
    );
    // As many as whoever can connect wants: scanners, health checks, floods.
    let never_began = role == Role::Server
        && matches!(
            error,
            Some(ConnectionError::NoHello(_) | ConnectionError::HandshakeTimeout)
        );
    match (in_order, never_began) {
        (true, _) => ended!(info, span, stats, error),
        (false, true) => ended!(debug, span, stats, error),
        (false, false) => ended!(warn, span, stats, error),
    }
}

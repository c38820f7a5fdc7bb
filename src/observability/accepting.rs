//! What a listener sees before a connection is one of this protocol.

use std::io;
use std::net::SocketAddr;

use tokio::time::Instant;

use super::cause;
use super::emit::{Label, Level, count, record};
use super::reason::role_name;
use crate::proto::Role;

/// The limits that refuse connections.
const LIMITS: [&str; 7] = [
    "max_connections",
    "max_per_network",
    "rate",
    "rate_per_network",
    "penalties",
    "max_handshakes",
    "memory_budget",
];

/// A listener begins. An alert sees only failures that a counter at 0 comes before.
pub(crate) fn accepts() {
    count("tcpchan_accept_errors_total", Vec::new(), 0);
    for limit in LIMITS {
        refusals(limit, 0);
    }
}

pub(crate) fn accept_failed(error: &io::Error) {
    #[cfg(feature = "tracing")]
    super::trace::accept_failed(error);
    count("tcpchan_accept_errors_total", Vec::new(), 1);
}

/// A channel is refused because the memory budget has nothing for it.
pub(crate) fn channel_without_memory() {
    #[cfg(feature = "tracing")]
    super::trace::channel_without_memory();
}

/// A limit has refused a connection.
pub(crate) fn connection_refused(addr: SocketAddr, limit: &'static str) {
    #[cfg(feature = "tracing")]
    super::trace::connection_refused(addr, limit);
    refusals(limit, 1);
}

fn refusals(limit: &'static str, more: u64) {
    debug_assert!(LIMITS.contains(&limit), "{limit} does not begin at 0");
    let labels = vec![Label::new("limit", limit)];
    count("tcpchan_connections_refused_total", labels, more);
}

/// A connection waits, because its network has broken rules.
pub(crate) fn connection_held_back() {
    count("tcpchan_connections_held_back_total", Vec::new(), 1);
}

/// A channel that waits for a limit, until it is dropped.
#[derive(Debug)]
pub(crate) struct WaitingChannel {
    _level: Level,
}

impl WaitingChannel {
    pub fn new() -> Self {
        let role = Label::new("role", role_name(Role::Server));
        WaitingChannel {
            _level: Level::new("tcpchan_channels_waiting", vec![role], 1),
        }
    }
}

/// A handshake of TLS or on a shared port, under way.
#[derive(Debug)]
pub(crate) struct Handshake {
    addr: SocketAddr,
    since: Instant,
    /// The kind of error, if it is one.
    result: Option<&'static str>,
}

impl Handshake {
    pub fn begin(addr: SocketAddr) -> Self {
        Handshake {
            addr,
            since: Instant::now(),
            result: Some("cancelled"),
        }
    }

    pub fn succeeds(mut self) {
        self.result = None;
    }

    /// `names` are those in the certificate that the client has shown, as far as they are known.
    pub fn fails(self, error: &io::Error, names: Option<&str>) {
        self.fails_with(error, cause::kind(error), names);
    }

    /// Its peer is another than it has come from.
    pub fn is_from(&mut self, addr: SocketAddr) {
        self.addr = addr;
    }

    /// What a proxy says of its client was not to be had or believed.
    pub fn refused(mut self, error: &io::Error) {
        self.result = Some("proxy_header");
        #[cfg(feature = "tracing")]
        super::trace::header_refused(self.addr, error);
        #[cfg(not(feature = "tracing"))]
        let _ = error;
    }

    /// Another needed its place.
    pub fn evicted(self) {
        self.fails_with(
            &io::Error::other("its place went to another"),
            "evicted",
            None,
        );
    }

    #[cfg_attr(
        not(all(feature = "tracing", feature = "tls")),
        allow(unused_variables)
    )]
    fn fails_with(mut self, error: &io::Error, kind: &'static str, names: Option<&str>) {
        self.result = Some(kind);
        #[cfg(all(feature = "tracing", feature = "tls"))]
        if let Some(reason) = crate::tls::refusal(error) {
            super::trace::client_refused(self.addr, reason, names, error, kind);
            return;
        }
        #[cfg(all(feature = "tracing", feature = "tls"))]
        let advice = crate::tls::advice(error);
        #[cfg(all(feature = "tracing", not(feature = "tls")))]
        let advice = None;
        #[cfg(feature = "tracing")]
        super::trace::handshake_failed(self.addr, error, kind, advice);
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        let error = self.result.map(|kind| Label::new("error_type", kind));
        let labels: Vec<Label> = error.into_iter().collect();
        let took = self.since.elapsed();
        record("tcpchan_handshake_duration_seconds", labels, took);
    }
}

/// An HTTP connection of a shared port, until it is dropped.
#[derive(Debug)]
pub(crate) struct HttpConnection {
    _level: Level,
}

impl HttpConnection {
    pub fn new() -> Self {
        count("tcpchan_http_connections_opened_total", Vec::new(), 1);
        HttpConnection {
            _level: Level::new("tcpchan_http_connections", Vec::new(), 1),
        }
    }
}

use std::net::SocketAddr;

use http::uri::{Authority, Scheme};

use crate::proto::Stats;

/// What the pool of one target has done and how it is.
///
/// ```
/// use tcpchan::client::Multiplex;
///
/// fn report<C>(connector: &Multiplex<C>) {
///     for target in connector.stats() {
///         let (live, waiting) = (target.connections.len(), target.waiting);
///         println!("{:?}: {live} connections, {waiting} callers wait", target.authority);
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TargetStats {
    /// The target's scheme.
    pub scheme: Option<Scheme>,
    /// The target's host and port.
    pub authority: Option<Authority>,
    /// The addresses that are used, if a [`Discovery`](super::Discovery) resolves the name.
    pub addresses: Vec<SocketAddr>,
    /// The connections that may get channels.
    pub connections: Vec<Stats>,
    /// The connections that get no more channels, because either side drains
    /// them, until what they carry is over.
    pub draining: Vec<Stats>,
    /// Dials under way, with those that wait for their time.
    pub dialling: usize,
    /// Callers that wait for a channel.
    pub waiting: usize,
    /// Dials so far.
    pub dials: u64,
    /// Dials that failed, and connections that ended or drained before they had
    /// lasted a second or served a channel.
    pub failed: u64,
    /// Whether the last server that was met speaks HTTP, so that callers of a
    /// [`Fallback`](super::Fallback) who find no connection call by HTTP.
    pub speaks_http: bool,
    /// Connections so far that a [`Fallback`](super::Fallback) gave to callers to carry HTTP.
    pub fell_back: u64,
}

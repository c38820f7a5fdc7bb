//! What the state machine of a target asks of its shell.

use std::net::SocketAddr;
use std::time::Instant;

use super::link::Link;
use super::waiters::WaiterId;
use crate::client::error::ConnectError;

/// What the shell is to do.
#[derive(Debug)]
pub(super) enum Action<L: Link> {
    /// Dial, not before this time, and tell the state machine of its end. The address is
    /// one that the name resolved to, if the connector does not find it.
    Dial(u64, Option<SocketAddr>, Instant),
    /// Resolve the target's name, and tell the state machine of the answer to this question.
    Resolve(u64),
    /// Give a caller that waits its channel, or the reason why there is none.
    Give(WaiterId, Result<L::Channel, ConnectError>),
    /// Tell one that waits for connections that they are up, or why not.
    Prewarmed(WaiterId, Result<(), ConnectError>),
    /// Ask for no more channels on a connection.
    Drain(L),
    /// End a connection: its channels had their time.
    Close(L),
    /// End a connection whose task is not run.
    Abandon(L),
    /// Nothing: the pool is done with the connection. To drop it may run anything.
    Release(L),
}

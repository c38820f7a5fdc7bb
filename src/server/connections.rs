//! The connections that an acceptor has.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slab::Slab;

use super::peer::Peer;
use crate::driver::{Connection, ConnectionStats};

/// The connections of an [`Acceptor`](super::Acceptor), also when a server owns the acceptor
/// or it is gone. Clones show the same ones.
///
/// ```no_run
/// # fn run(acceptor: tcpchan::server::Acceptor) {
/// let connections = acceptor.connections();
/// // Later, while a server has the acceptor:
/// for one in connections.snapshot() {
///     println!("{:?}: {} channels", one.peer_addr, one.stats.channels);
/// }
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Connections(Arc<Mutex<Slab<(Connection, Peer)>>>);

/// Takes a connection off the list when it is dropped.
#[derive(Debug)]
pub(super) struct Listed {
    connections: Connections,
    key: usize,
}

impl Connections {
    /// Those that have not ended, in no order. Connections whose TLS handshake is under way
    /// are not among them.
    pub fn snapshot(&self) -> Vec<ConnectionStats> {
        let all: Vec<_> = self.lock().iter().map(|(_, one)| one.clone()).collect();
        let snapshot = |(connection, peer): (Connection, Peer)| {
            let mut stats = connection.snapshot();
            stats.peer_addr = Some(peer.addr);
            #[cfg(feature = "tls")]
            {
                stats.identity = peer.identity;
            }
            stats
        };
        all.into_iter().map(snapshot).collect()
    }

    pub(super) fn list(&self, connection: &Connection, peer: &Peer) -> Listed {
        let key = self.lock().insert((connection.clone(), peer.clone()));
        Listed {
            connections: self.clone(),
            key,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Slab<(Connection, Peer)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let removed = self.connections.lock().try_remove(self.key);
        drop(removed); // the lock is free
    }
}

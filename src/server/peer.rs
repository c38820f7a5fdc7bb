//! Who is at the other end of a connection and of a channel.

use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::limits::{Admission, ConnectionLimits, Network, Refusal};
use crate::memory_budget::{MemoryBudget, NetworkUse};
#[cfg(feature = "tls")]
use crate::tls::Identity;

/// Where a channel comes from. With the feature `axum`, handlers get it from
/// `ConnectInfo`:
///
/// ```no_run
/// # #[cfg(feature = "axum")]
/// # async fn run(acceptor: tcpchan::server::Acceptor) -> std::io::Result<()> {
/// use axum::extract::ConnectInfo;
/// use axum::{Router, routing::get};
/// use tcpchan::server::PeerInfo;
///
/// let app = Router::new().route(
///     "/",
///     get(|ConnectInfo(peer): ConnectInfo<PeerInfo>| async move {
///         format!("channel {} of {}", peer.channel, peer.addr)
///     }),
/// );
/// axum::serve(acceptor, app.into_make_service_with_connect_info::<PeerInfo>()).await
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerInfo {
    /// The peer's address. Behind a proxy that speaks the PROXY protocol, the client's.
    pub addr: SocketAddr,
    /// The address of the proxy that has told the client's, by
    /// [`Acceptor::with_proxy_protocol`](super::Acceptor).
    pub proxy: Option<SocketAddr>,
    /// The connection, counted from 1 by its [`Acceptor`](super::Acceptor).
    pub connection: u64,
    /// The channel's number on its connection.
    pub channel: u32,
    /// The certificates by which a TLS peer has proven who it is, if it was
    /// asked for them.
    #[cfg(feature = "tls")]
    pub identity: Option<Identity>,
}

/// Where a connection comes from.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub addr: SocketAddr,
    pub proxy: Option<SocketAddr>,
    /// It counts among the connections until this is dropped.
    admission: Option<Arc<Admission>>,
    #[cfg(feature = "tls")]
    pub identity: Option<Identity>,
}

impl From<SocketAddr> for Peer {
    fn from(addr: SocketAddr) -> Self {
        Peer {
            addr,
            proxy: None,
            admission: None,
            #[cfg(feature = "tls")]
            identity: None,
        }
    }
}

impl Peer {
    /// One that the limits admit.
    pub fn admitted(addr: SocketAddr, admission: Admission) -> Self {
        let mut peer = Peer::from(addr);
        peer.admission = Some(Arc::new(admission));
        peer
    }

    /// It is a proxy that has told of its client. How long that is to be held back, unless
    /// the limits refuse it.
    pub fn stands_for(
        &mut self,
        client: SocketAddr,
        limits: &ConnectionLimits,
    ) -> Result<Duration, Refusal> {
        self.proxy = Some(std::mem::replace(&mut self.addr, client));
        match &self.admission {
            Some(admission) => admission.is_from(client.ip(), limits),
            None => Ok(Duration::ZERO),
        }
    }

    /// The network that it counts among.
    pub fn network(&self) -> Option<Network> {
        self.admission.as_ref()?.network()
    }

    /// What the connections of its network have of a memory budget.
    pub fn memory(&self, budget: &MemoryBudget) -> Option<Arc<NetworkUse>> {
        Some(budget.network(self.network()?.0))
    }

    /// It has broken a rule.
    pub fn violated(&self) {
        if let Some(admission) = &self.admission {
            admission.violated();
        }
    }

    /// Whom an I/O object is connected to.
    pub fn of(io: &dyn Any, addr: SocketAddr) -> Self {
        let mut peer = Peer::from(addr);
        peer.look_at(io);
        peer
    }

    /// Finds who it is, if it was not found by whoever made the I/O object.
    #[cfg_attr(not(feature = "tls"), allow(unused_variables))]
    pub fn look_at(&mut self, io: &dyn Any) {
        #[cfg(feature = "tls")]
        if self.identity.is_none() {
            self.identity = Identity::of(io);
        }
    }

    pub fn info(&self, connection: u64, channel: u32) -> PeerInfo {
        PeerInfo {
            addr: self.addr,
            proxy: self.proxy,
            connection,
            channel,
            #[cfg(feature = "tls")]
            identity: self.identity.clone(),
        }
    }
}

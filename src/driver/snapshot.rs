//! A connection at one moment, for people who look.

use std::net::SocketAddr;

use super::connection::Connection;
use super::throughput::Throughput;
use crate::proto;
use crate::socket::find;
#[cfg(feature = "tls")]
use crate::tls::Identity;

/// Who is at the other end of a connection, what it has done and how it is: a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionStats {
    /// The peer's address. `None` if it isn't known, or the connection has ended.
    pub peer_addr: Option<SocketAddr>,
    /// The certificates by which a TLS peer has proven who it is.
    #[cfg(feature = "tls")]
    pub identity: Option<Identity>,
    /// What the connection has done and how it is.
    pub stats: proto::Stats,
    /// How much the transport carries.
    pub throughput: Throughput,
}

impl Connection {
    /// Who is at the other end, what the connection has done and how it is.
    ///
    /// It costs a system call. [`stats`](Self::stats) and [`throughput`](Self::throughput) cost
    /// none. The peer is known if the transport is a `TcpStream`, rustls's `TlsStream` over one,
    /// or what a connector of hyper-util or this crate makes.
    pub fn snapshot(&self) -> ConnectionStats {
        let transport = self.handle.0.transport();
        let io = transport.io();
        let peer_addr = io.and_then(|io| find(io)?.peer_addr().ok());
        #[cfg(feature = "tls")]
        let identity = io.and_then(Identity::of);
        drop(transport);
        ConnectionStats {
            peer_addr,
            #[cfg(feature = "tls")]
            identity,
            stats: self.stats(),
            throughput: self.throughput(),
        }
    }
}

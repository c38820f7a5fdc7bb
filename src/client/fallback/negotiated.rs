//! What a TLS handshake has chosen.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use crate::driver::Describe;

/// What the handshake of a connection has chosen, before a byte of either protocol was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Negotiated {
    /// TLS chose the ALPN `tcpchan/1`.
    Tcpchan,
    /// TLS chose another ALPN, or none.
    Http,
    /// There was no TLS, so nothing was chosen.
    Nothing,
}

impl Negotiated {
    /// By the protocol that TLS chose, such as rustls's `alpn_protocol()` tells it. A server
    /// that knows no ALPN speaks HTTP/1.1.
    #[cfg(feature = "tls")]
    pub fn by_alpn(protocol: Option<&[u8]>) -> Self {
        match protocol == Some(crate::tls::ALPN) {
            true => Negotiated::Tcpchan,
            false => Negotiated::Http,
        }
    }
}

type Ask = dyn Fn(&dyn Any) -> Negotiated + Send + Sync;

/// What a connector's connections are asked, without their type.
#[derive(Clone)]
pub(in crate::client) struct Questions {
    pub negotiated: Arc<Ask>,
    /// What hyper-util's client is to learn of one that carries HTTP.
    pub connected: Describe,
}

impl fmt::Debug for Questions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Questions").finish_non_exhaustive()
    }
}

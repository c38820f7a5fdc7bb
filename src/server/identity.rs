//! Who a TLS peer is.

use std::any::Any;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::client;
use tokio_rustls::rustls::CommonState;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::server::TlsStream;

/// The certificates that a TLS peer has proven to own, its own first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity(Arc<[CertificateDer<'static>]>);

impl Identity {
    /// The certificate chain: never empty, the peer's own certificate first.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.0
    }

    /// That of the peer of one of rustls's streams over TCP.
    pub(super) fn of(io: &dyn Any) -> Option<Self> {
        let tls: &CommonState = if let Some(io) = io.downcast_ref::<TlsStream<TcpStream>>() {
            io.get_ref().1
        } else if let Some(io) = io.downcast_ref::<client::TlsStream<TcpStream>>() {
            io.get_ref().1
        } else {
            io.downcast_ref::<tokio_rustls::TlsStream<TcpStream>>()?
                .get_ref()
                .1
        };
        let chain = tls.peer_certificates().filter(|chain| !chain.is_empty())?;
        Some(Identity(chain.iter().cloned().collect()))
    }
}

//! Who a TLS peer is.

use std::any::Any;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::rustls::CommonState;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::{TlsStream, client, server};
use webpki::EndEntityCert;

/// The certificates that a TLS peer has proven to own, its own first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity(Arc<[CertificateDer<'static>]>);

impl Identity {
    /// The certificate chain: never empty, the peer's own certificate first.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.0
    }

    /// The alternative names of the peer's own certificate: URIs, such as a SPIFFE ID, then
    /// DNS names. Other kinds, and the subject, are left out.
    ///
    /// The peer's CA vouches for them, so trust them as far as the CA.
    pub fn names(&self) -> Vec<String> {
        let Ok(certificate) = EndEntityCert::try_from(&self.0[0]) else {
            return Vec::new();
        };
        let names = certificate.valid_uri_names();
        names
            .chain(certificate.valid_dns_names())
            .map(str::to_owned)
            .collect()
    }

    /// That of the peer of one of rustls's streams over TCP, or of what this crate's connector
    /// makes.
    pub(crate) fn of(io: &dyn Any) -> Option<Self> {
        Identity::new(state(io)?)
    }

    /// That of a session's peer, after the handshake.
    pub(crate) fn new(tls: &CommonState) -> Option<Self> {
        let chain = tls.peer_certificates().filter(|chain| !chain.is_empty())?;
        Some(Identity(chain.iter().cloned().collect()))
    }
}

fn state(io: &dyn Any) -> Option<&CommonState> {
    #[cfg(feature = "client")]
    {
        use hyper_util::rt::TokioIo;

        type Plain = TokioIo<TokioIo<TcpStream>>;
        if let Some(io) = io.downcast_ref::<TokioIo<TokioIo<client::TlsStream<Plain>>>>() {
            return Some(io.inner().inner().get_ref().1);
        }
    }
    if let Some(io) = io.downcast_ref::<server::TlsStream<TcpStream>>() {
        return Some(io.get_ref().1);
    }
    if let Some(io) = io.downcast_ref::<client::TlsStream<TcpStream>>() {
        return Some(io.get_ref().1);
    }
    Some(io.downcast_ref::<TlsStream<TcpStream>>()?.get_ref().1)
}

//! What both sides of TLS know.

#[cfg(any(feature = "client", feature = "server"))]
mod handle;
mod identity;

use std::error::Error;
use std::io;

use tokio_rustls::rustls::{self, AlertDescription, InvalidMessage};

#[cfg(any(feature = "client", feature = "server"))]
pub use self::handle::TlsHandle;
#[cfg(any(feature = "client", feature = "server"))]
pub(crate) use self::handle::{Prepared, Slot};
pub use self::identity::Identity;

/// The protocol's name in TLS's ALPN: `tcpchan/1`.
pub const ALPN: &[u8] = b"tcpchan/1";

/// What to change where a handshake failed since the two sides differ, for which rustls
/// has its own words.
#[cfg_attr(not(any(feature = "client", feature = "tracing")), allow(dead_code))]
pub(crate) fn advice(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let mut next = Some(error);
    while let Some(error) = next {
        match error.downcast_ref::<rustls::Error>() {
            Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
                return Some(
                    "the other side speaks no TLS: a server does by `with_tls` of its \
                     Acceptor or SharedPort, a client by a TlsConnector in its Multiplex",
                );
            }
            Some(
                rustls::Error::NoApplicationProtocol
                | rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol),
            ) => {
                return Some(
                    "the two sides' ALPN has no protocol in common: a client's connector \
                     must ask for tcpchan::ALPN, and the server be an Acceptor or a \
                     SharedPort with TLS",
                );
            }
            _ => {}
        }
        let inside = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        next = match inside {
            Some(inside) => Some(inside),
            None => error.source(),
        };
    }
    None
}

/// Why a client was refused, if a handshake failed since its certificate is missing or was not
/// accepted.
#[cfg(all(feature = "server", feature = "tracing"))]
pub(crate) fn refusal(error: &io::Error) -> Option<&'static str> {
    use rustls::CertificateError as Certificate;
    let error = error.get_ref().and_then(|error| error.downcast_ref())?;
    let rustls::Error::InvalidCertificate(error) = error else {
        let is_none = matches!(error, rustls::Error::NoCertificatesPresented);
        return is_none.then_some("it has shown no certificate");
    };
    Some(match error {
        Certificate::ApplicationVerificationFailure => "none of its certificate's names is allowed",
        // Another CA's with the same name signs otherwise.
        Certificate::UnknownIssuer | Certificate::BadSignature => {
            "no trusted CA has signed its certificate"
        }
        Certificate::Expired | Certificate::ExpiredContext { .. } => "its certificate is too old",
        Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => {
            "its certificate is not valid yet"
        }
        Certificate::Revoked => "its certificate is revoked",
        Certificate::InvalidPurpose | Certificate::InvalidPurposeContext { .. } => {
            "its certificate is not for clients"
        }
        _ => "its certificate is not accepted",
    })
}

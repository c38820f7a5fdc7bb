//! What is wrong with a peer, for who runs the command: what is there, and what to change.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::iter::successors;

use tcpchan::client::ConnectError;
use tcpchan::proto::{ChannelError, ConnectionError, OpenError};
use tokio_rustls::rustls::{self, AlertDescription as Alert, CertificateError as Certificate};

use crate::failure::in_a_line;
use crate::net::ProxyError;

/// An error of a connection that this side made, in a line. What the causes are known to mean
/// is said in place of them.
pub fn explain(error: &(dyn Error + 'static)) -> String {
    let causes = || successors(Some(error), |&error| inner(error));
    causes()
        // A server refuses a certificate after the client's handshake: TLS says more then.
        .find_map(|cause| of_tls(cause.downcast_ref()?))
        .or_else(|| causes().find_map(of_connection))
        .or_else(|| causes().find_map(|cause| of_proxy(cause.downcast_ref()?)))
        .or_else(|| causes().find_map(of_socket))
        .or_else(|| causes().find_map(of_name))
        .unwrap_or_else(|| in_a_line(error))
}

fn of_tls(error: &rustls::Error) -> Option<String> {
    use rustls::Error::{AlertReceived, InvalidCertificate, InvalidMessage, NoApplicationProtocol};
    let text = match error {
        InvalidMessage(_) => {
            "the other side speaks no TLS: leave out --tls, or check host and port".to_owned()
        }
        NoApplicationProtocol | AlertReceived(Alert::NoApplicationProtocol) => {
            "the other side speaks TLS, but it is no tcpchan server: check host and port".to_owned()
        }
        AlertReceived(Alert::CertificateRequired) => {
            "the server wants a certificate: give one with --tls-cert and --tls-key".to_owned()
        }
        AlertReceived(
            alert @ (Alert::AccessDenied
            | Alert::BadCertificate
            | Alert::CertificateExpired
            | Alert::CertificateRevoked
            | Alert::CertificateUnknown
            | Alert::DecryptError
            | Alert::UnknownCA
            | Alert::UnsupportedCertificate),
        ) => format!(
            "the server refuses the certificate of --tls-cert ({alert:?}): its CA must be in \
             the server's --tls-client-ca, and it must be valid today"
        ),
        AlertReceived(alert) => format!(
            "the server ended the TLS handshake ({alert:?}): have the two sides a version of \
             TLS in common?"
        ),
        InvalidCertificate(error) => of_certificate(error),
        _ => return None,
    };
    Some(text)
}

fn of_certificate(error: &Certificate) -> String {
    match error {
        // Another CA of the same name has signed it.
        Certificate::UnknownIssuer | Certificate::BadSignature => {
            "no trusted CA has signed the server's certificate: give its CA with --tls-ca".into()
        }
        Certificate::Expired | Certificate::ExpiredContext { .. } => {
            format!("the server's certificate is too old ({error}): renew it, or check the clock")
        }
        Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => {
            format!("the server's certificate is not valid yet ({error}): check the clock")
        }
        Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
            format!("the server's {error}: give the name that it is for with --tls-name")
        }
        _ => format!("the server's certificate is no good: {error}"),
    }
}

fn of_connection(error: &(dyn Error + 'static)) -> Option<String> {
    let of_channel = error.downcast_ref().and_then(|error| match error {
        ChannelError::Connection(error) | ChannelError::Refused(Some(error)) => Some(error),
        _ => None,
    });
    let of_open = error.downcast_ref().and_then(|error| match error {
        OpenError::Connection(error) => Some(error),
        _ => None,
    });
    let error = of_channel.or(of_open).or_else(|| error.downcast_ref())?;
    let text = match error {
        // The core names what the first byte looks like.
        ConnectionError::Violation { text, .. } if text.contains("as of TLS") => {
            "the other side speaks TLS: give --tls".to_owned()
        }
        ConnectionError::Violation { text, .. } if text.contains("not speak this protocol") => {
            format!("the other side is no tcpchan server ({text}): check host and port")
        }
        ConnectionError::NoHello(how) => format!(
            "the other side ended the connection before it said anything ({how}): is it a \
             tcpchan server? Does it want TLS (--tls)?"
        ),
        ConnectionError::HandshakeTimeout => "the other side took the connection and says \
             nothing: is it a tcpchan server? Does it want TLS (--tls)?"
            .to_owned(),
        _ => return None,
    };
    Some(text)
}

fn of_proxy(error: &ProxyError) -> Option<String> {
    match error.source() {
        Some(cause) => Some(format!("{error}: {}", explain(cause))),
        None => Some(error.to_string()),
    }
}

fn of_socket(error: &(dyn Error + 'static)) -> Option<String> {
    if is_own(error) {
        return Some(format!(
            "this host is out of something ({error}); for files, raise the limit (ulimit -n, \
             LimitNOFILE= of systemd)"
        ));
    }
    if let Some(error) = error.downcast_ref::<ConnectError>() {
        let text = "check host and port, and the firewalls on the way";
        return error.is_timeout().then(|| format!("{error}: {text}"));
    }
    // One of the system's own: others have a kind for callers, and their words in them.
    let error: &io::Error = error.downcast_ref()?;
    error.raw_os_error()?;
    let advice = match error.kind() {
        ErrorKind::ConnectionRefused => "nothing listens there: is it started? Check host and port",
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
            "no route leads there: check the host, and this host's network"
        }
        ErrorKind::TimedOut => {
            "nothing answers there: check host and port, and the firewalls on the way"
        }
        _ => return None,
    };
    Some(format!("{error}: {advice}"))
}

/// Why an address can't be listened on.
pub fn explain_listen(error: &io::Error) -> String {
    let advice = match error.kind() {
        ErrorKind::AddrInUse => "another program has it; `ss -ltnp` says which",
        ErrorKind::AddrNotAvailable => "this host has no such address; 0.0.0.0 is all",
        ErrorKind::PermissionDenied => {
            "ports below 1024 need root or CAP_NET_BIND_SERVICE (AmbientCapabilities= of systemd)"
        }
        _ => return explain(error),
    };
    format!("{error}: {advice}")
}

/// The standard library has no type for this error.
fn of_name(error: &(dyn Error + 'static)) -> Option<String> {
    let text = error.to_string();
    let known = text.starts_with("failed to lookup address");
    known.then(|| format!("{text}: check the name, and this host's DNS"))
}

/// Whether this process, or its host, is out of something. No peer is to blame for that.
pub fn is_own(error: &(dyn Error + 'static)) -> bool {
    let mut causes = successors(Some(error), |&error| inner(error));
    causes.any(|error| {
        let error: Option<&io::Error> = error.downcast_ref();
        error.is_some_and(|error| {
            let kind = error.kind();
            matches!(kind, ErrorKind::AddrNotAvailable | ErrorKind::OutOfMemory)
                || cfg!(unix) && matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
        })
    })
}

/// Out of file descriptors: the host, and the process. The numbers are the same on every Unix.
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;

/// The source; of an `io::Error`, the error in it, which is no source of it.
fn inner<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    let io: Option<&io::Error> = error.downcast_ref();
    match io.and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

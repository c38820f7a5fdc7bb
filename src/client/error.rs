use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::fallback::met::Met;

pub(super) type BoxError = Box<dyn Error + Send + Sync>;

/// Why no channel could be had. Cloned for every caller that waited for the
/// same dial, whose own error is the source.
///
/// ```
/// use std::error::Error;
///
/// use hyper_util::client::legacy::connect::HttpConnector;
/// use tcpchan::client::Multiplex;
/// use tower_service::Service;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn Error>> {
/// let mut connector = Multiplex::new(HttpConnector::new());
/// let uri = "http://127.0.0.1:1/".parse()?; // where nothing listens
/// let error = connector.call(uri).await.unwrap_err();
/// assert!(error.is_retryable() && !error.is_timeout());
/// assert!(error.source().is_some()); // the connector's own error
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ConnectError {
    kind: Kind,
    cause: Option<Arc<BoxError>>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Dial,
    /// All of so many addresses failed.
    Addresses(usize),
    Resolve,
    Timeout(Duration),
    Full(usize),
    /// The caller is to call by HTTP.
    Http,
    /// The caller called by HTTP, and the server speaks tcpchan.
    Changed,
}

impl ConnectError {
    pub(super) fn dial(cause: impl Into<BoxError>) -> Self {
        ConnectError {
            kind: Kind::Dial,
            cause: Some(Arc::new(cause.into())),
        }
    }

    /// The name could not be resolved.
    pub(super) fn resolve(cause: impl Into<BoxError>) -> Self {
        ConnectError {
            kind: Kind::Resolve,
            ..ConnectError::dial(cause)
        }
    }

    /// The resolver took too long.
    pub(super) fn unresolved_within(time: Duration) -> Self {
        ConnectError {
            kind: Kind::Timeout(time),
            ..ConnectError::dial(format!("the resolver gave no answer within {time:?}"))
        }
    }

    /// Of a dial to this address, if it is known.
    pub(super) fn of(self, addr: Option<SocketAddr>) -> Self {
        match (addr, self.cause) {
            (Some(addr), Some(cause)) => ConnectError {
                kind: self.kind,
                ..ConnectError::dial(AtAddress { addr, cause })
            },
            (_, cause) => ConnectError { cause, ..self },
        }
    }

    /// The last failure of so many addresses, which all fail.
    pub(super) fn of_all(self, addresses: usize) -> Self {
        match self.kind {
            Kind::Dial => ConnectError {
                kind: Kind::Addresses(addresses),
                ..self
            },
            _ => self,
        }
    }

    /// With the error of the last dial, if there was one.
    pub(super) fn timeout(after: Duration, last: Option<ConnectError>) -> Self {
        ConnectError {
            kind: Kind::Timeout(after),
            cause: last.and_then(|error| error.cause),
        }
    }

    pub(super) fn full(waiting: usize) -> Self {
        ConnectError {
            kind: Kind::Full(waiting),
            cause: None,
        }
    }

    pub(super) fn http(met: Met) -> Self {
        ConnectError {
            kind: Kind::Http,
            cause: Some(Arc::new(met.into())),
        }
    }

    pub(super) fn changed() -> Self {
        ConnectError {
            kind: Kind::Changed,
            cause: None,
        }
    }

    /// What was met, if the caller is to call by HTTP.
    pub(super) fn met(&self) -> Option<&Met> {
        match self.kind {
            Kind::Http => self.cause.as_ref()?.downcast_ref(),
            _ => None,
        }
    }

    /// Always: nothing was sent.
    pub fn is_retryable(&self) -> bool {
        true
    }

    /// Whether the time for an open, or for the dial, was over.
    pub fn is_timeout(&self) -> bool {
        matches!(self.kind, Kind::Timeout(_))
    }

    /// Whether too many callers waited already.
    pub fn is_full(&self) -> bool {
        matches!(self.kind, Kind::Full(_))
    }
}

impl ConnectError {
    /// What kind of failure it is, for metrics.
    pub(super) fn word(&self) -> &'static str {
        match self.kind {
            Kind::Dial | Kind::Addresses(_) => crate::observability::kind(self),
            Kind::Resolve => "dns",
            Kind::Timeout(_) => "timeout",
            Kind::Full(_) => "full",
            Kind::Http => "fallback",
            Kind::Changed => "hello",
        }
    }

    fn fmt_advice(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.advice() {
            Some(advice) => write!(f, ": {advice}"),
            None => Ok(()),
        }
    }

    fn advice(&self) -> Option<&'static str> {
        let cause = self.source()?;
        if takes_no_https(cause) {
            return Some(
                "an https URI needs TLS: put a TlsConnector into the Multiplex, which \
                 takes http URIs, too",
            );
        }
        #[cfg(feature = "tls")]
        return crate::tls::advice(cause);
        #[cfg(not(feature = "tls"))]
        None
    }
}

const CHANGED: &str = "the server has changed to tcpchan, and has seen no request of HTTP";

/// Whether it is [`ConnectError::changed`], of which h2 leaves the text alone. No peer can have
/// an error of I/O say no more than this.
pub(super) fn is_changed(error: &(dyn Error + 'static)) -> bool {
    error.is::<io::Error>() && error.to_string() == CHANGED
}

/// What went wrong with one address of several.
#[derive(Debug)]
struct AtAddress {
    addr: SocketAddr,
    cause: Arc<BoxError>,
}

impl fmt::Display for AtAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the dial to {} failed", self.addr)
    }
}

impl Error for AtAddress {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let cause: &(dyn Error + 'static) = &**self.cause;
        Some(cause)
    }
}

/// Whether hyper-util's connector was asked for https. Its error has no other sign.
fn takes_no_https(error: &(dyn Error + 'static)) -> bool {
    let mut errors = std::iter::successors(Some(error), |&error| error.source());
    errors.any(|error| error.to_string().contains("scheme is not http"))
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Dial => {
                f.write_str("no channel to the target: the dial failed")?;
                self.fmt_advice(f)
            }
            Kind::Addresses(count) => {
                write!(
                    f,
                    "no channel to the target: all of its {count} addresses fail"
                )?;
                self.fmt_advice(f)
            }
            Kind::Resolve => {
                f.write_str("no channel to the target: its name could not be resolved")
            }
            Kind::Timeout(after) => write!(f, "no channel to the target within {after:?}"),
            Kind::Full(waiting) => {
                write!(
                    f,
                    "no channel to the target: {waiting} callers wait already"
                )
            }
            Kind::Http => f.write_str("no channel to the target: it speaks HTTP"),
            Kind::Changed => f.write_str(CHANGED),
        }
    }
}

impl Error for ConnectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let cause: &(dyn Error + 'static) = &***self.cause.as_ref()?;
        Some(cause)
    }
}

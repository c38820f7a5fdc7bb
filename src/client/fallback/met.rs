//! What a dial met in place of tcpchan.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use tokio::runtime::{Handle, Id};

use crate::observability::Dial;
use crate::proto::ConnectionError;

/// How it is known that a server does not speak tcpchan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::client) enum Evidence {
    /// TLS chose another protocol. Each dial learns it anew.
    Alpn,
    /// It answered the hello with HTTP.
    Answer,
    /// It said nothing, or hung up, as servers of HTTP do, but also one that is about to
    /// stop, or a load balancer without a server.
    Silence,
}

impl Evidence {
    /// What the end of a connection before the peer's hello tells, and its first bytes.
    /// `None` for a server of a third protocol, and for one of tcpchan that differs.
    pub fn of(error: &ConnectionError, first: &[u8]) -> Option<Self> {
        match (error, first) {
            // HTTP/2 begins with the length and the type of its SETTINGS.
            (_, [b'H', ..] | [0, 0, _] | [0, 0, _, 4]) => Some(Evidence::Answer),
            (ConnectionError::NoHello(_) | ConnectionError::HandshakeTimeout, []) => {
                Some(Evidence::Silence)
            }
            _ => None,
        }
    }
}

/// A server that does not speak tcpchan. It is the cause of an error that all who waited for
/// the dial get, and the first of them takes the connection.
pub(in crate::client) struct Met {
    pub evidence: Evidence,
    pub cause: Option<ConnectionError>,
    io: Mutex<Option<Carried>>,
    dial: Mutex<Option<Dial>>,
}

/// A connection on which HTTP can be spoken, and the runtime that it belongs to.
struct Carried {
    io: Box<dyn Any + Send>,
    runtime: Id,
}

impl Met {
    /// By TLS, which leaves a connection.
    pub fn by_alpn(io: impl Send + 'static, dial: Dial) -> Self {
        let (io, runtime) = (Box::new(io), Handle::current().id());
        Met {
            evidence: Evidence::Alpn,
            cause: None,
            io: Mutex::new(Some(Carried { io, runtime })),
            dial: Mutex::new(Some(dial)),
        }
    }

    /// By its answer to the hello, after which its connection is of no use.
    pub fn by_answer(evidence: Evidence, cause: ConnectionError, dial: Dial) -> Self {
        Met {
            evidence,
            cause: Some(cause),
            io: Mutex::new(None),
            dial: Mutex::new(Some(dial)),
        }
    }

    /// By what was met before.
    pub fn before(evidence: Evidence) -> Self {
        Met {
            evidence,
            cause: None,
            io: Mutex::new(None),
            dial: Mutex::new(None),
        }
    }

    /// The connection, for the first who asks on the runtime that it belongs to, or on
    /// `any` one.
    pub fn take<T: 'static>(&self, any: bool) -> Option<T> {
        let mut io = self.io.lock().unwrap_or_else(PoisonError::into_inner);
        let here = Handle::current().id();
        let taken = io.take_if(|carried| any || carried.runtime == here);
        drop(io);
        Some(*taken?.io.downcast().ok()?)
    }

    /// Tells of the dial's end, once it is known whether the evidence is believed.
    pub fn tell(&self, believed: bool) {
        let dial = self.dial.lock();
        let dial = dial.unwrap_or_else(PoisonError::into_inner).take();
        match (dial, &self.cause) {
            (Some(dial), Some(cause)) if !believed => dial.fails(cause),
            (Some(dial), cause) => dial.meets_http(cause.is_none()),
            (None, _) => {}
        }
    }
}

impl fmt::Debug for Met {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Met")
            .field("evidence", &self.evidence)
            .field("cause", &self.cause)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Met {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server does not speak tcpchan")
    }
}

impl Error for Met {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let cause: &(dyn Error + 'static) = self.cause.as_ref()?;
        Some(cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(first: &[u8]) -> Option<Evidence> {
        let violation = ConnectionError::Version(String::new());
        Evidence::of(&violation, first)
    }

    #[test]
    fn an_answer_of_http_is_known_by_its_first_bytes() {
        assert_eq!(of(b"HTTP"), Some(Evidence::Answer));
        assert_eq!(of(b"H"), Some(Evidence::Answer));
        assert_eq!(of(&[0, 0, 24, 4]), Some(Evidence::Answer)); // SETTINGS
        assert_eq!(of(&[0, 0, 24, 1]), None);
        assert_eq!(of(&[0x15, 3, 3, 0]), None); // an alert of TLS
        assert_eq!(of(&[0, 2, 0, 0]), None); // a server of version 0
        assert_eq!(of(b"SSH-"), None);
    }

    #[test]
    fn who_says_nothing_may_speak_http() {
        let late = ConnectionError::HandshakeTimeout;
        assert_eq!(Evidence::of(&late, b""), Some(Evidence::Silence));
        assert_eq!(Evidence::of(&late, &[1, 2]), None); // a part of a hello
        assert_eq!(Evidence::of(&ConnectionError::Abandoned, b""), None);
    }
}

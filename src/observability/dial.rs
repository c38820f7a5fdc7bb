//! Dials: of a connector, and of an acceptor that dials.
#![cfg(any(feature = "client", feature = "server"))]

use std::error::Error;
use std::io;
use std::time::Duration;

use tokio::time::Instant;

/// A dial that is dropped before its end after this time was given up for it.
const LONG: Duration = Duration::from_secs(1);

/// A dial under way.
pub(crate) struct Dial {
    since: Instant,
    over: bool,
    #[cfg(feature = "tracing")]
    span: tracing::Span,
    /// Whom it is to, for who limits lines.
    #[cfg(feature = "tracing")]
    target: (String, u16),
}

impl Dial {
    pub fn begin(host: Option<&str>, port: Option<u16>) -> Self {
        Dial {
            since: Instant::now(),
            over: false,
            #[cfg(feature = "tracing")]
            span: super::trace::target(host, port),
            #[cfg(feature = "tracing")]
            target: (host.unwrap_or_default().to_owned(), port.unwrap_or(0)),
        }
    }

    /// Runs what makes the connection within its target's span.
    pub fn make<T>(&self, make: impl FnOnce() -> T) -> T {
        #[cfg(feature = "tracing")]
        return self.span.in_scope(make);
        #[cfg(not(feature = "tracing"))]
        make()
    }

    /// The connection is up.
    #[cfg(feature = "server")]
    pub fn up(mut self) {
        self.end("ok");
    }

    /// Both.
    #[cfg(feature = "client")]
    pub fn succeeds<T>(mut self, make: impl FnOnce() -> T) -> T {
        self.end("ok");
        self.make(make)
    }

    pub fn fails(mut self, error: &(dyn Error + 'static)) {
        self.end(reason(error));
        #[cfg(feature = "tracing")]
        self.tell(error);
    }

    /// It took too long.
    #[cfg(feature = "server")]
    pub fn times_out(self) {
        self.fails(&io::Error::from(io::ErrorKind::TimedOut))
    }

    #[cfg(feature = "tracing")]
    fn tell(&self, error: &(dyn Error + 'static)) {
        use super::limit::Limit;
        use super::trace::limited;
        use tracing::{debug, warn};

        static LINES: Limit<(String, u16)> = Limit::new();
        let took = self.since.elapsed();
        let untold = LINES.allows(self.target.clone(), std::time::Instant::now());
        let reason = reason(error);
        limited!(warn, untold, &self.span, { error, reason, ?took }, "the dial failed");
    }

    fn end(&mut self, result: &'static str) {
        self.over = true;
        #[cfg(feature = "metrics")]
        {
            metrics::counter!("tcpchan_dials_total", "result" => result).increment(1);
            metrics::histogram!("tcpchan_dial_seconds", "result" => result)
                .record(self.since.elapsed());
        }
    }
}

impl Drop for Dial {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        if self.since.elapsed() < LONG {
            return self.end("abandoned");
        }
        let late = io::Error::from(io::ErrorKind::TimedOut);
        self.end(reason(&late));
        #[cfg(feature = "tracing")]
        self.tell(&late);
    }
}

/// A word for why a dial failed.
fn reason(error: &(dyn Error + 'static)) -> &'static str {
    let chain = std::iter::successors(Some(error), |error| inner(*error));
    for error in chain {
        if error.is::<crate::proto::ConnectionError>() {
            return "hello";
        }
        #[cfg(feature = "tls")]
        if error.is::<tokio_rustls::rustls::Error>() {
            return "tls";
        }
        match error.downcast_ref::<io::Error>().map(io::Error::kind) {
            Some(io::ErrorKind::ConnectionRefused) => return "refused",
            Some(io::ErrorKind::TimedOut) => return "timeout",
            _ => {}
        }
        // Neither the standard library nor hyper-util has a type for it.
        let text = error.to_string();
        if text == "dns error" || text.starts_with("failed to lookup address") {
            return "dns";
        }
    }
    "error"
}

/// The source of an error; for one of `io` also what is in it.
fn inner<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    let inside = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref);
    match inside {
        Some(inside) => Some(inside),
        None => error.source(),
    }
}

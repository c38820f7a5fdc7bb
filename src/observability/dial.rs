//! Dials of a connector.
#![cfg(feature = "client")]

use std::error::Error;
use std::time::Instant;

/// A dial under way. One that is dropped before its end was abandoned.
pub(crate) struct Dial {
    since: Instant,
    over: bool,
    #[cfg(feature = "tracing")]
    span: tracing::Span,
}

impl Dial {
    pub fn begin(host: Option<&str>, port: Option<u16>) -> Self {
        Dial {
            since: Instant::now(),
            over: false,
            #[cfg(feature = "tracing")]
            span: tracing::info_span!(target: "tcpchan", "target", host, port),
        }
    }

    /// Runs what makes the connection within its target's span.
    pub fn succeeds<T>(mut self, make: impl FnOnce() -> T) -> T {
        self.end("ok");
        #[cfg(feature = "tracing")]
        return self.span.in_scope(make);
        #[cfg(not(feature = "tracing"))]
        make()
    }

    pub fn fails(mut self, error: &(dyn Error + 'static)) {
        self.end("error");
        #[cfg(feature = "tracing")]
        {
            let took = self.since.elapsed();
            tracing::warn!(target: "tcpchan", parent: &self.span, error, ?took, "the dial failed");
        }
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
        if !self.over {
            self.end("abandoned");
        }
    }
}

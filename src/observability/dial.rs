//! Dials: of a connector, and of an acceptor that dials.

use std::error::Error;
use std::io;

use tokio::time::Instant;

use super::cause;
use super::emit::{Label, record};
use super::target::Target;

/// A dial under way, which ends with the peer's hello.
#[derive(Debug)]
pub(crate) struct Dial {
    since: Instant,
    over: bool,
    /// The end is told by the dial that this is the shadow of.
    is_shadow: bool,
    pub(super) target: Target,
    #[cfg(feature = "tracing")]
    pub(super) span: tracing::Span,
}

impl Dial {
    pub fn begin(target: Target) -> Self {
        Dial {
            since: Instant::now(),
            over: false,
            is_shadow: false,
            #[cfg(feature = "tracing")]
            span: super::trace::target(&target),
            target,
        }
    }

    /// What a connection gets that only asks what its peer speaks. The dial itself tells
    /// how that ended.
    #[cfg(feature = "client")]
    pub fn shadow(&self) -> Self {
        Dial {
            since: self.since,
            over: false,
            is_shadow: true,
            target: self.target.clone(),
            #[cfg(feature = "tracing")]
            span: self.span.clone(),
        }
    }

    pub(super) fn is_shadow(&self) -> bool {
        self.is_shadow
    }

    /// The peer has said its hello.
    pub fn up(mut self) {
        self.end(None);
    }

    /// The connection carries HTTP.
    #[cfg(feature = "client")]
    pub fn falls_back(mut self) {
        self.end(Some("fallback"));
    }

    /// It was for a connection of tcpchan, and found a server that speaks HTTP: by TLS,
    /// which leaves a connection that carries it, or by an answer.
    #[cfg(feature = "client")]
    pub fn meets_http(mut self, by_tls: bool) {
        self.end(Some(if by_tls { "fallback" } else { "http" }));
        #[cfg(feature = "tracing")]
        super::trace::meets_http(&self.span, self.target.who(), self.since.elapsed());
    }

    pub fn fails(mut self, error: &(dyn Error + 'static)) {
        self.failed(error);
    }

    /// It took too long.
    pub fn times_out(self) {
        self.fails(&io::Error::from(io::ErrorKind::TimedOut))
    }

    fn failed(&mut self, error: &(dyn Error + 'static)) {
        let kind = cause::kind(error);
        self.end(Some(kind));
        #[cfg(feature = "tracing")]
        if !self.is_shadow {
            let took = self.since.elapsed();
            super::trace::dial_failed(&self.span, self.target.who(), error, kind, took);
        }
    }

    fn end(&mut self, error: Option<&'static str>) {
        self.over = true;
        if self.is_shadow {
            return;
        }
        let mut labels = self.target.labels.clone();
        labels.extend(error.map(|kind| Label::new("error_type", kind)));
        let took = self.since.elapsed();
        record("tcpchan_dial_duration_seconds", labels, took);
    }
}

/// The name of a target could not be resolved.
#[cfg(feature = "client")]
pub(crate) fn unresolved(target: &Target, error: &(dyn Error + 'static)) {
    #[cfg(feature = "tracing")]
    super::trace::unresolved(&super::trace::target(target), target.who(), error);
}

impl Drop for Dial {
    /// Nobody needs it any more, or it panicked.
    fn drop(&mut self) {
        match self.over {
            true => {}
            false if std::thread::panicking() => {
                self.failed(&io::Error::other("the dial panicked"));
            }
            false => self.end(Some("cancelled")),
        }
    }
}

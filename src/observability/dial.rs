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
    pub(super) target: Target,
    #[cfg(feature = "tracing")]
    pub(super) span: tracing::Span,
}

impl Dial {
    pub fn begin(target: Target) -> Self {
        Dial {
            since: Instant::now(),
            over: false,
            #[cfg(feature = "tracing")]
            span: super::trace::target(&target),
            target,
        }
    }

    /// The peer has said its hello.
    pub fn up(mut self) {
        self.end(None);
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
        super::trace::dial_failed(
            &self.span,
            self.target.who(),
            error,
            kind,
            self.since.elapsed(),
        );
    }

    fn end(&mut self, error: Option<&'static str>) {
        self.over = true;
        let mut labels = self.target.labels.clone();
        labels.extend(error.map(|kind| Label::new("error_type", kind)));
        let took = self.since.elapsed();
        record("tcpchan_dial_duration_seconds", labels, took);
    }
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

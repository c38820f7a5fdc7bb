//! Whether a target's servers speak tcpchan, as far as that is remembered.

use std::time::{Duration, Instant};

use crate::client::ConnectError;
use crate::client::fallback::config::FallbackConfig;
use crate::client::fallback::met::Evidence;

/// How long a target that spoke tcpchan is not believed to have lost it because it hangs up
/// or says nothing: so do servers that restart, and load balancers without a server. HTTP
/// that is sent to those might be lost.
const DOUBT: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// Of a connector that may call by HTTP.
    config: Option<FallbackConfig>,
    http: Option<Http>,
    /// When a peer's hello was last known to have come.
    spoke: Option<Instant>,
    /// Connections that carry HTTP, so far.
    pub fell_back: u64,
}

/// A server was met that speaks HTTP.
#[derive(Debug)]
enum Http {
    /// TLS tells each dial.
    Negotiated,
    /// It is asked again from then on.
    Until(Instant),
}

impl Verdict {
    pub fn new(config: Option<FallbackConfig>) -> Self {
        Verdict {
            config,
            ..Verdict::default()
        }
    }

    /// A connection has its hello.
    pub fn spoke(&mut self, now: Instant) {
        self.spoke = Some(now);
    }

    /// Whether a hello is to tell whether the target speaks tcpchan at all: one is enough.
    pub fn asks_first(&self) -> bool {
        let asks = self
            .config
            .as_ref()
            .is_some_and(FallbackConfig::get_first_answer);
        asks && self.spoke.is_none()
    }

    /// The next dial is to ask. Whether the target spoke HTTP.
    pub fn forget(&mut self) -> bool {
        self.http.take().is_some()
    }

    /// The result of a dial, which has failed if what it says of the server isn't believed.
    pub fn judge<T>(
        &self,
        result: Result<T, ConnectError>,
        now: Instant,
    ) -> (bool, Result<T, ConnectError>) {
        let met = result.as_ref().err().and_then(ConnectError::met);
        match met.and_then(|met| Some((met.evidence, met.cause.clone()?))) {
            Some((evidence, cause)) if !self.believes(evidence, now) => {
                (false, Err(ConnectError::dial(cause)))
            }
            _ => (true, result),
        }
    }

    fn believes(&self, evidence: Evidence, now: Instant) -> bool {
        let doubted = self.spoke.is_some_and(|spoke| now < spoke + DOUBT);
        evidence != Evidence::Silence || !doubted
    }

    /// A dial met a server that speaks HTTP.
    pub fn met_http(&mut self, evidence: Evidence, now: Instant) {
        self.http = Some(match evidence {
            Evidence::Alpn => Http::Negotiated,
            Evidence::Answer | Evidence::Silence => Http::Until(self.again(now)),
        });
    }

    /// Whether callers are to call by HTTP.
    pub fn is_http(&self) -> bool {
        self.http.is_some()
    }

    /// Whether it is time for one dial to ask again, true once.
    pub fn asks_again(&mut self, now: Instant) -> bool {
        let due = matches!(self.http, Some(Http::Until(at)) if at <= now);
        if due {
            self.met_http(Evidence::Answer, now);
        }
        due
    }

    /// By chance a little sooner or later, so that clients that began together don't ask
    /// together.
    fn again(&self, now: Instant) -> Instant {
        let after = self.config.as_ref().map(FallbackConfig::get_retry_after);
        now + after
            .unwrap_or_default()
            .mul_f64(0.9 + fastrand::f64() / 5.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: Duration = Duration::from_secs(300);

    fn verdict() -> (Verdict, Instant) {
        let config = FallbackConfig::default().retry_after(RETRY).unwrap();
        (Verdict::new(Some(config)), Instant::now())
    }

    #[test]
    fn one_caller_has_the_server_asked_again_after_the_time() {
        let (mut verdict, start) = verdict();
        verdict.met_http(Evidence::Answer, start);
        assert!(!verdict.asks_again(start + RETRY * 8 / 10));
        assert!(verdict.asks_again(start + RETRY * 12 / 10));
        assert!(!verdict.asks_again(start + RETRY * 12 / 10));
        assert!(verdict.is_http());
    }

    #[test]
    fn what_tls_has_told_needs_no_question() {
        let (mut verdict, start) = verdict();
        verdict.met_http(Evidence::Alpn, start);
        assert!(!verdict.asks_again(start + RETRY * 10));
        assert!(verdict.is_http());
    }

    #[test]
    fn a_target_that_spoke_tcpchan_does_not_lose_it_because_it_hangs_up() {
        let (mut verdict, start) = verdict();
        assert!(verdict.believes(Evidence::Silence, start));
        verdict.spoke(start);
        assert!(!verdict.believes(Evidence::Silence, start + DOUBT / 2));
        assert!(verdict.believes(Evidence::Answer, start + DOUBT / 2));
        assert!(verdict.believes(Evidence::Alpn, start + DOUBT / 2));
        assert!(verdict.believes(Evidence::Silence, start + DOUBT));
    }
}

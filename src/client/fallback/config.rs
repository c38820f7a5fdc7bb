use std::time::Duration;

use crate::check::{ConfigError, DAY, check_time};

/// Which protocols a [`Fallback`](super::Fallback) speaks: the switch for operators.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocols {
    /// tcpchan with servers that speak it, and HTTP with the others.
    #[default]
    Both,
    /// tcpchan only, as a [`Multiplex`](crate::client::Multiplex) by itself.
    Tcpchan,
    /// HTTP only, as the connector without a `Multiplex`. TLS does not ask for tcpchan.
    Http,
}

/// When a [`Fallback`](super::Fallback) falls back to HTTP; always valid.
///
/// ```
/// use tcpchan::client::{FallbackConfig, Protocols};
///
/// let off = std::env::var("TCPCHAN").is_ok_and(|value| value == "off");
/// let config = FallbackConfig::default().first_answer(true);
/// let config = config.protocols(if off { Protocols::Http } else { Protocols::Both });
/// # let _ = config;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct FallbackConfig {
    protocols: Protocols,
    first_answer: bool,
    hello_within: Duration,
    retry_after: Duration,
}

impl Default for FallbackConfig {
    fn default() -> Self {
        FallbackConfig {
            protocols: Protocols::Both,
            first_answer: false,
            hello_within: Duration::from_secs(2),
            retry_after: Duration::from_secs(300),
        }
    }
}

impl FallbackConfig {
    /// Which protocols are spoken. Default [`Protocols::Both`].
    pub fn protocols(mut self, protocols: Protocols) -> Self {
        self.protocols = protocols;
        self
    }

    /// Whether a server without TLS is asked by a hello whether it speaks tcpchan. Default
    /// `false`: without TLS tcpchan is spoken, and a server of HTTP is an error.
    ///
    /// With `true`, a dial sends the hello and waits for the answer before anything of a
    /// request leaves. That costs each connection of tcpchan one round trip, for which
    /// callers wait if they have no other. A server of HTTP answers with an error, hangs up
    /// or says nothing, and is called by HTTP from then on, on new connections. Whoever can
    /// change the bytes on the path can bring that about.
    pub fn first_answer(mut self, ask: bool) -> Self {
        self.first_answer = ask;
        self
    }

    /// How long a server without TLS may say nothing to the hello before it is taken for one
    /// of HTTP. Default 2 s: a round trip of 300 ms with two lost packets. The first
    /// request to a server that is silent takes so much longer.
    ///
    /// # Errors
    ///
    /// Below 1 ms or above a minute.
    pub fn hello_within(mut self, time: Duration) -> Result<Self, ConfigError> {
        check_time("hello_within", time, 1..=60_000)?;
        self.hello_within = time;
        Ok(self)
    }

    /// How long it is remembered that a server without TLS speaks HTTP, give or take 10 % by
    /// chance. Default 5 min: so often a server of HTTP gets a hello from each client. Then
    /// one dial asks again, for which nobody waits. Over TLS each dial asks.
    ///
    /// # Errors
    ///
    /// Below 1 ms or above a day.
    pub fn retry_after(mut self, time: Duration) -> Result<Self, ConfigError> {
        check_time("retry_after", time, 1..=DAY)?;
        self.retry_after = time;
        Ok(self)
    }

    /// What [`protocols`](Self::protocols) is set to.
    pub fn get_protocols(&self) -> Protocols {
        self.protocols
    }

    /// What [`first_answer`](Self::first_answer) is set to.
    pub fn get_first_answer(&self) -> bool {
        self.first_answer
    }

    /// What [`hello_within`](Self::hello_within) is set to.
    pub fn get_hello_within(&self) -> Duration {
        self.hello_within
    }

    /// What [`retry_after`](Self::retry_after) is set to.
    pub fn get_retry_after(&self) -> Duration {
        self.retry_after
    }
}

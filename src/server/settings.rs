//! What is set before an acceptor starts.

use super::channel_limits::ChannelLimits;
use super::handshake::Limits;
use super::limits::ConnectionLimits;
#[cfg(feature = "tls")]
use super::tls::Tls;
use crate::config::Config;

#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    pub config: Config,
    #[cfg(feature = "tls")]
    pub tls: Option<Tls>,
    pub connection_limits: ConnectionLimits,
    pub channel_limits: ChannelLimits,
}

impl Settings {
    /// The limits of what a connection does before its first frame.
    pub fn limits(&self) -> Limits {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return tls.limits;
        }
        Limits {
            within: self.config.core().get_handshake_timeout(),
            at_once: self.config.get_max_handshakes() as usize,
        }
    }
}

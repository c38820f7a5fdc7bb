//! What is set before an acceptor starts.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncRead;

use super::channel_limits::{ChannelLimits, Gate};
use super::handshake_limits::Limits;
use super::limits::{Admission, ConnectionLimits, Refusal};
#[cfg(feature = "proxy-protocol")]
use super::proxy_protocol::ProxyProtocol;
#[cfg(feature = "tls")]
use super::tls::Tls;
use crate::config::Config;
use crate::memory_budget::NetworkUse;
use crate::rewind::Rewind;

#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    pub config: Config,
    #[cfg(feature = "tls")]
    pub tls: Option<Tls>,
    #[cfg(feature = "proxy-protocol")]
    pub proxy_protocol: Option<ProxyProtocol>,
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

    /// What the channels of another connection pass, which is from this network.
    pub fn gate(&self, network: Option<Arc<NetworkUse>>) -> Gate {
        let budget = self.config.get_memory_budget();
        self.channel_limits.gate(budget, network)
    }

    /// A connection from this address has come. It is to be held back so long, unless it is
    /// refused.
    pub fn admit(&self, addr: IpAddr) -> Result<(Admission, Duration), Refusal> {
        #[cfg(feature = "proxy-protocol")]
        if let Some(proxy_protocol) = &self.proxy_protocol
            && proxy_protocol.trusts(addr)
        {
            return self.connection_limits.admit_proxy();
        }
        self.connection_limits.admit(addr)
    }

    /// The client of a connection from this address, if it is a proxy's that says who that is.
    ///
    /// # Errors
    ///
    /// `InvalidData` if what it says is wrong, missing or not believed.
    pub async fn introduce<T: AsyncRead + Unpin>(
        &self,
        io: &mut Rewind<T>,
        from: IpAddr,
    ) -> io::Result<Option<SocketAddr>> {
        #[cfg(feature = "proxy-protocol")]
        if let Some(proxy_protocol) = &self.proxy_protocol {
            return proxy_protocol.introduce(io, from).await;
        }
        let _ = (io, from);
        Ok(None)
    }
}

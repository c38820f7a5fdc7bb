//! Whose word is taken for where a connection comes from.

use std::io;
use std::net::{IpAddr, SocketAddr};

use ipnet::{IpNet, Ipv4Net};
use tokio::io::AsyncRead;

use super::proxy_header::Version;
use crate::check::{ConfigError, malformed};
use crate::rewind::Rewind;

/// The PROXY protocol, versions 1 and 2: a load balancer that forwards TCP tells the server
/// who its client is, ahead of the client's bytes.
///
/// An [`Acceptor`](super::Acceptor) or a [`SharedPort`](super::SharedPort) reads the header
/// before TLS and before the hello. The client's address becomes the `addr` of
/// [`PeerInfo`](super::PeerInfo), and the load balancer's becomes its `proxy`.
///
/// | who connects | with a header | without one |
/// |---|---|---|
/// | a [trusted network](Self::trusted_networks) | the header is believed | closed if it is [`required`](Self::required), else taken as it is |
/// | anyone else | closed | taken as it is |
///
/// - [`ConnectionLimits`](super::ConnectionLimits) of one network hold for the client's. A
///   trusted network has none of its own.
/// - LOCAL and UNKNOWN, as of health checks, and other addresses than those of TCP, leave the
///   connection as it is.
/// - Only one header is read. A second one is the client's own, and counts as its first bytes.
/// - A header may have 107 bytes in version 1 and 4,096 in version 2. What version 2 has
///   besides addresses is skipped.
/// - The header counts for the same time and number of handshakes as TLS, or as the hello
///   where there is no TLS.
///
/// ```
/// use tcpchan::server::ProxyProtocol;
///
/// let proxy_protocol = ProxyProtocol::default().trusted_networks(["10.0.0.0/8", "fd00::/8"])?;
/// assert!(proxy_protocol.get_required());
/// # Ok::<(), tcpchan::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct ProxyProtocol {
    trusted: Vec<IpNet>,
    required: bool,
}

/// Nobody is trusted, and so nobody may send a header.
impl Default for ProxyProtocol {
    fn default() -> Self {
        ProxyProtocol {
            trusted: Vec::new(),
            required: true,
        }
    }
}

impl ProxyProtocol {
    /// Whose headers are believed: networks in CIDR notation, or single addresses. Default
    /// none. They replace those that were set before.
    ///
    /// Whoever has an address in them can claim any address. So name the load balancer's
    /// networks only, and let nobody else send from there.
    ///
    /// # Errors
    ///
    /// If one is neither.
    pub fn trusted_networks<I>(mut self, networks: I) -> Result<Self, ConfigError>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        let networks = networks.into_iter();
        self.trusted = networks
            .map(|network| parse(network.as_ref()))
            .collect::<Result<_, _>>()?;
        Ok(self)
    }

    /// See [`trusted_networks`](Self::trusted_networks). A single address is a network, too.
    #[must_use]
    pub fn get_trusted_networks(&self) -> Vec<String> {
        self.trusted.iter().map(IpNet::to_string).collect()
    }

    /// Whether a connection of a trusted network must begin with a header. Default `true`.
    ///
    /// With `false`, a connection without one is taken as the proxy's own. That is for the time
    /// while a load balancer gets its setting. It has a risk: if the load balancer does not send
    /// headers, a client's first bytes are believed as a header, with any address in it.
    pub fn required(mut self, required: bool) -> Self {
        self.required = required;
        self
    }

    /// See [`required`](Self::required).
    #[must_use]
    pub fn get_required(&self) -> bool {
        self.required
    }

    pub(super) fn trusts(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.trusted.iter().any(|network| network.contains(&ip))
    }

    /// Takes the header, if there is to be one. The client, if a proxy has come from this
    /// address and says who it is.
    pub(super) async fn introduce<T: AsyncRead + Unpin>(
        &self,
        io: &mut Rewind<T>,
        from: IpAddr,
    ) -> io::Result<Option<SocketAddr>> {
        let is_trusted = self.trusts(from);
        match Version::of(io).await? {
            Some(version) if is_trusted => version.take(io).await,
            Some(_) => Err(refused(
                "a PROXY header from outside the trusted networks: add the load balancer's \
                 network to ProxyProtocol::trusted_networks",
            )),
            None if is_trusted && self.required => Err(refused(
                "no PROXY header from a trusted network: have the load balancer send it, or \
                 set ProxyProtocol::required to false",
            )),
            None => Ok(None),
        }
    }
}

/// A network in CIDR notation, or one address; IPv4 as such, also in the form of IPv6.
fn parse(text: &str) -> Result<IpNet, ConfigError> {
    let network = match text.parse::<IpAddr>() {
        Ok(ip) => Ok(IpNet::from(ip)),
        Err(_) => text.parse::<IpNet>(),
    };
    let network = network.map_err(|_| {
        let must = "an address, or a network such as 10.0.0.0/8";
        malformed("trusted_networks", text, must)
    })?;
    Ok(match network {
        IpNet::V6(mapped) if mapped.prefix_len() >= 96 => {
            let ip = mapped.addr().to_ipv4_mapped();
            let mapped = ip.map(|ip| Ipv4Net::new(ip, mapped.prefix_len() - 96));
            mapped.and_then(Result::ok).map_or(network, IpNet::V4)
        }
        _ => network,
    }
    .trunc())
}

fn refused(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

//! Options of tcpchan's own connections, on either side.

use clap::Args;
use tcpchan::client::PoolConfig;
use tcpchan::{Config, SocketProfile};

use super::tls::TlsClient;
use super::values::{ProxyUrl, size};
use crate::failure::Problem;
use crate::net::{Outgoing, Proxy};

#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Congestion control of tcpchan's sockets, such as cubic [default: bbr,
    /// where the system lets this process choose it]
    #[arg(long, value_name = "NAME")]
    pub congestion: Option<String>,
    /// Bytes that all channels of a connection together may have in flight or
    /// unread, beyond 64 KiB of each
    ///
    /// One channel may have three quarters of it: with the default, enough for
    /// 4 Gbit/s over 100 ms.
    #[arg(long, value_name = "SIZE", default_value = "64 MiB", value_parser = size)]
    pub receive_budget: u64,
}

impl Socket {
    pub fn config(&self) -> Result<Config, Problem> {
        let mut profile = SocketProfile::default();
        if let Some(name) = &self.congestion {
            profile = profile
                .congestion(name)
                .map_err(|error| Problem::because("congestion", &error))?;
        }
        let config = Config::default().socket(profile);
        Ok(config.receive_budget(self.receive_budget))
    }
}

/// How a relay's connections to a `serve` are made.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Dialled {
    #[command(flatten)]
    pub tls: TlsClient,
    /// Connect through this proxy: http://HOST:PORT (CONNECT) or
    /// socks5://HOST:PORT, with USER:PASSWORD@ before the host if it wants them
    ///
    /// The proxy resolves the names of the servers. Variables such as
    /// HTTPS_PROXY are not read: those are for other programs of this host.
    #[arg(long, value_name = "URL")]
    pub proxy: Option<ProxyUrl>,
    /// Connections to each `serve`, from the first client on
    ///
    /// More, up to 4, are made when 256 channels are open on each, a transfer
    /// fills each, packets are lost, or clients wait for a slow connect.
    ///
    /// More than one is for a load balancer in between, and for more than one
    /// core's work.
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=64))]
    pub connections: u8,
    #[command(flatten)]
    pub socket: Socket,
}

impl Dialled {
    pub fn config(&self) -> Result<Config, Problem> {
        self.socket.config()
    }

    pub fn outgoing(&self) -> Result<Outgoing, Problem> {
        outgoing(self.proxy.as_ref())
    }

    pub fn pool(&self) -> Result<PoolConfig, Problem> {
        let least = usize::from(self.connections);
        PoolConfig::default()
            .connections(least..=least.max(4))
            .map_err(|error| Problem::because("connections", &error))
    }
}

/// How a `serve` takes connections.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Channels at a time on each connection; further ones wait
    #[arg(long, value_name = "N", default_value_t = 1024)]
    #[arg(value_parser = clap::value_parser!(u32).range(256..=1_000_000))]
    pub max_channels: u32,
    #[command(flatten)]
    pub socket: Socket,
}

impl Accepted {
    pub fn config(&self) -> Result<Config, Problem> {
        self.socket
            .config()?
            .max_channels(self.max_channels)
            .map_err(|error| Problem::because("max-channels", &error))
    }
}

/// What makes connections, through the proxy if there is one.
pub fn outgoing(proxy: Option<&ProxyUrl>) -> Result<Outgoing, Problem> {
    let proxy = proxy.map(|url| Proxy::new(&url.0)).transpose();
    let proxy = proxy.map_err(|text| Problem::new("proxy", text))?;
    Ok(Outgoing::new(proxy))
}

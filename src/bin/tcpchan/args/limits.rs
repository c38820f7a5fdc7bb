//! How many connections a serve takes.

use std::net::IpAddr;
use std::str::FromStr;

use clap::Args;
use tcpchan::server::ConnectionLimits;

use crate::failure::Problem;

#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time; further ones are reset [default: no limit]
    #[arg(long, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=2_147_483_647))]
    pub max_connections: Option<u32>,
    /// Connections at a time from one network, which is an IPv4 address or an
    /// IPv6 /64; further ones are reset [default: no limit]
    #[arg(long, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=2_147_483_647))]
    pub max_per_network: Option<u32>,
    /// A network that has no limits of its own: ADDRESS or ADDRESS/BITS; repeat
    /// it for several
    ///
    /// It is for load balancers, which have one address for all clients. Without
    /// it these share 500 new connections a second, three quarters of the
    /// memory, and the wait of those that break rules.
    #[arg(long, value_name = "NETWORK")]
    pub exempt: Vec<Network>,
}

impl Limits {
    pub fn limits(&self) -> Result<ConnectionLimits, Problem> {
        let mut limits = ConnectionLimits::default();
        if let Some(count) = self.max_connections {
            limits = limits
                .max_connections(count)
                .map_err(|error| Problem::because("max-connections", &error))?;
        }
        if let Some(count) = self.max_per_network {
            limits = limits
                .max_per_network(count)
                .map_err(|error| Problem::because("max-per-network", &error))?;
        }
        for network in &self.exempt {
            limits = limits
                .exempt(network.addr, network.bits)
                .map_err(|error| Problem::because("exempt", &error))?;
        }
        Ok(limits)
    }
}

/// Addresses that begin alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    addr: IpAddr,
    bits: u8,
}

impl FromStr for Network {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (addr, bits) = match text.split_once('/') {
            Some((addr, bits)) => (addr, Some(bits.parse().map_err(|_| WRONG)?)),
            None => (text, None),
        };
        let addr: IpAddr = addr.parse().map_err(|_| WRONG)?;
        let most = if addr.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        if bits > most {
            return Err(WRONG);
        }
        Ok(Network { addr, bits })
    }
}

const WRONG: &str = "it must be an address, or one with a number of bits, such as 10.0.0.0/8";

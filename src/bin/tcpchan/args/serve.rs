//! The options of a serve.

use std::time::Duration;

use clap::Args;

use super::limits::Limits;
use super::link::Accepted;
use super::listen::Listen;
use super::tls::TlsServer;
use super::values::{target, time};

#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Serve {
    #[command(flatten)]
    pub listen: Listen,
    #[command(flatten)]
    pub upstream: Upstream,
    #[command(flatten)]
    pub tls: TlsServer,
    #[command(flatten)]
    pub accepted: Accepted,
    #[command(flatten)]
    pub limits: Limits,
}

/// What channels are carried to, and how.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// The service: HOST:PORT, unix:/PATH or unix:@NAME; repeat it for several
    ///
    /// A channel goes to the one that has the fewest. One that can't be reached
    /// gets none until it answers again, unless all are like that. A channel
    /// that no service takes is refused.
    #[arg(long, value_name = "ADDRESS", value_parser = target, required = true)]
    pub to: Vec<String>,
    /// Expect a PROXY header (version 2) at the start of each channel, as
    /// `relay --send-proxy-v2` sends it; refuse channels without one
    ///
    /// The header is believed, so only relays may be able to connect: see
    /// --tls-client-ca.
    #[arg(long)]
    pub accept_proxy: bool,
    /// Begin each connection to the service with a PROXY header (version 2):
    /// the one that was accepted, or else of the address that the tcpchan
    /// connection comes from
    #[arg(long)]
    pub send_proxy_v2: bool,
    /// How long the service may be silent after the client has ended its side; then the
    /// stream is cut off
    ///
    /// The default is an hour: a client that has sent all waits for an answer, which may take
    /// the service long. A service that still sends or receives is never cut off.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = time)]
    pub server_fin_timeout: Duration,
}

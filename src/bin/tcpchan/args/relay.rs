//! The options of a relay.

use std::time::Duration;

use clap::Args;

use super::link::Dialled;
use super::listen::Listen;
use super::values::{target, time};

#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    #[command(flatten)]
    pub listen: Listen,
    /// Where `serve` listens: HOST:PORT, unix:/PATH or unix:@NAME; repeat it for several
    ///
    /// A connection goes to the one that carries the fewest. One that can't be
    /// reached, or is late with its answers, gets none until it answers again,
    /// unless all are like that.
    #[arg(long, value_name = "ADDRESS", value_parser = target, required = true)]
    pub to: Vec<String>,
    /// Begin each channel with a PROXY header (version 2) of the client's
    /// address
    ///
    /// Without `--accept-proxy`, `serve` passes it on to the service as it is.
    #[arg(long)]
    pub send_proxy_v2: bool,
    /// Clients at a time; further ones wait in the system's backlog
    ///
    /// `serve` takes 1,024 channels on each connection unless it is told
    /// otherwise. The system must allow as many open files.
    #[arg(long, value_name = "N", default_value_t = 4096)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub max_clients: u32,
    /// How long a client may be silent after the service has ended its side; then it is
    /// let go
    ///
    /// Some clients never close. Each would hold a stream and a socket without end. A client
    /// that still sends or receives is never cut off.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time)]
    pub client_fin_timeout: Duration,
    #[command(flatten)]
    pub dialled: Dialled,
}

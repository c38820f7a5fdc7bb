//! The options of a service that comes to a hub.

use std::path::PathBuf;

use clap::Args;

use super::link::Accepted;
use super::serve::Upstream;
use super::tls::TlsClient;
use super::values::{ProxyUrl, host_and_port, published_name};

#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    #[command(flatten)]
    pub way: Way,
    #[command(flatten)]
    pub upstream: Upstream,
}

/// How a hub is reached.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// Where the hub listens; repeat it for several
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port, required = true)]
    pub hub: Vec<String>,
    /// The name under which the hub's clients reach the service
    ///
    /// Several processes may have the same name. The hub's clients are spread
    /// over them.
    #[arg(long, value_name = "NAME", value_parser = published_name)]
    pub name: String,
    /// A file with the name's key, as the hub has it: a line NAME KEY
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Connect through this proxy: http://HOST:PORT (CONNECT) or
    /// socks5://HOST:PORT, with USER:PASSWORD@ before the host if it wants them
    #[arg(long, value_name = "URL")]
    pub proxy: Option<ProxyUrl>,
    #[command(flatten)]
    pub tls: TlsClient,
    #[command(flatten)]
    pub accepted: Accepted,
}

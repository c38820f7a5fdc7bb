//! The options of a ping.

use std::time::Duration;

use clap::Args;

use super::tls::TlsClient;
use super::values::{ProxyUrl, host_and_port, time};

#[derive(Args)]
pub struct Ping {
    /// Where `serve` listens, or any other tcpchan server
    #[arg(value_name = "HOST:PORT", value_parser = host_and_port)]
    pub to: String,
    /// Rounds
    #[arg(short, long, value_name = "N", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub count: u32,
    /// Time between the starts of rounds
    #[arg(short, long, value_name = "TIME", default_value = "1s", value_parser = time)]
    pub interval: Duration,
    /// How long a round may take
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    pub timeout: Duration,
    /// Print one JSON document at the end, and nothing else
    #[arg(long)]
    pub json: bool,
    /// Begin the channel with a PROXY header that says it is nobody's, for
    /// `serve --accept-proxy`
    #[arg(long)]
    pub send_proxy_v2: bool,
    #[command(flatten)]
    pub tls: TlsClient,
    /// Connect through this proxy, as a relay does; `tcp` is then the time until
    /// the proxy has connected
    #[arg(long, value_name = "URL")]
    pub proxy: Option<ProxyUrl>,
}

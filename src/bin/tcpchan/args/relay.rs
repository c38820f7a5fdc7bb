//! The options of a relay.

use std::time::Duration;

use clap::{Args, FromArgMatches};

use super::link::Dialled;
use super::listen::Listen;
use super::values::{relay_target, time};

#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    #[command(flatten)]
    pub listen: Listen,
    /// Where `serve` listens: HOST:PORT, unix:/PATH, unix:@NAME, or published:NAME for
    /// a service that comes to a hub of this process; repeat it for several
    ///
    /// A connection goes to the one that carries the fewest. One that can't be
    /// reached, or is late with its answers, gets none until it answers again,
    /// unless all are like that.
    #[arg(long, value_name = "ADDRESS", value_parser = relay_target, required = true)]
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
    /// otherwise. Each client is an open file: the process raises its limit
    /// to the highest that the system allows (ulimit -Hn).
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

impl Relay {
    /// The relay of a hub to a service, with the defaults.
    pub fn of_hub(name: &str, listen: &[&str]) -> Relay {
        let mut words = vec!["relay".to_owned(), format!("--to=published:{name}")];
        words.extend(listen.iter().map(|address| format!("--listen={address}")));
        let command = Relay::augment_args(clap::Command::new("relay"));
        let matches = command.get_matches_from(words);
        Relay::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
}

//! The arguments, and what `--help` says of them.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use http::uri::Authority;
use tcpchan::{Config, SocketProfile};

use crate::failure::{EXIT_CODES, Failure};

/// Carries any TCP service over one connection between two places.
///
/// Clients connect to `relay`, which gives each of them a channel of a
/// connection to `serve`, which connects to the service. Opening a channel
/// costs no round trip. Half-closed connections, resets and back-pressure are
/// carried as they are.
#[derive(Parser)]
#[command(version, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// Log on stderr what the connections do, down to this level
    #[arg(long, global = true, value_name = "LEVEL")]
    #[arg(value_parser = ["error", "warn", "info", "debug", "trace"])]
    pub log: Option<String>,
}

#[derive(Subcommand)]
pub enum Command {
    /// Take TCP connections, and carry each on a channel to `serve`
    #[command(after_help = EXIT_CODES)]
    Relay(Relay),
    /// Take channels, and connect each to a TCP service
    #[command(after_help = EXIT_CODES)]
    Serve(Serve),
    /// Measure round trips: of the link, of a connection's set-up, of a channel
    ///
    /// Each round makes a connection of its own. `set-up` is TCP's handshake,
    /// and TLS's; tcpchan's hello needs no round trip of its own. `link` is how
    /// long the peer took to answer the hello's ping. `channel` is the time
    /// between opening a channel, on which nothing but its end is sent, and the
    /// first that the service answers to that: a byte, or its end.
    #[command(after_help = EXIT_CODES)]
    Ping(Ping),
}

#[derive(Args)]
pub struct Relay {
    /// Where to take TCP connections; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
    pub listen: String,
    /// Where `serve` listens; repeat it for several
    ///
    /// A connection goes to the one that carries the fewest. One that can't be
    /// reached, or is late with its answers, gets none until it answers again,
    /// unless all are like that.
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port, required = true)]
    pub to: Vec<String>,
    #[command(flatten)]
    pub tls: TlsClient,
    /// Begin each channel with a PROXY header (version 2) of the client's
    /// address
    ///
    /// Without `--accept-proxy`, `serve` passes it on to the service as it is.
    #[arg(long)]
    pub send_proxy_v2: bool,
    /// Connections to each `serve`, from the first client on; more, up to 4,
    /// are made when 256 channels are open on each
    ///
    /// More than one is for a load balancer in between, and for more than one
    /// core's work.
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=64))]
    pub connections: u8,
    /// Clients at a time; further ones wait in the system's backlog
    ///
    /// `serve` takes 1,024 channels on each connection unless it is told
    /// otherwise. The system must allow as many open files.
    #[arg(long, value_name = "N", default_value_t = 4096)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub max_clients: u32,
    /// Seconds that a client may be silent after the service has ended its side; then it is
    /// let go
    ///
    /// Some clients never close. Each would hold a stream and a socket without end. A client
    /// that still sends or receives is never cut off.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub client_fin_timeout: Duration,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Args)]
pub struct Serve {
    /// Where to take tcpchan connections; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
    pub listen: String,
    /// The TCP service; repeat it for several
    ///
    /// A channel goes to the one that has the fewest. One that can't be reached
    /// gets none until it answers again, unless all are like that. A channel
    /// that no service takes is refused.
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port, required = true)]
    pub to: Vec<String>,
    #[command(flatten)]
    pub tls: TlsServer,
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
    /// Channels at a time on each connection; further ones wait
    #[arg(long, value_name = "N", default_value_t = 1024)]
    #[arg(value_parser = clap::value_parser!(u32).range(256..=1_000_000))]
    pub max_channels: u32,
    /// Seconds that the service may be silent after the client has ended its side; then the
    /// stream is cut off
    ///
    /// The default is an hour: a client that has sent all waits for an answer, which may take
    /// the service long. A service that still sends or receives is never cut off.
    #[arg(long, value_name = "SECONDS", default_value = "3600", value_parser = seconds)]
    pub server_fin_timeout: Duration,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Args)]
pub struct Ping {
    /// Where `serve` listens, or any other tcpchan server
    #[arg(value_name = "HOST:PORT", value_parser = host_and_port)]
    pub to: String,
    /// Rounds
    #[arg(short, long, value_name = "N", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub count: u32,
    /// Seconds between the starts of rounds
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub interval: Duration,
    /// Seconds that a round may take
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub timeout: Duration,
    /// Begin the channel with a PROXY header that says it is nobody's, for
    /// `serve --accept-proxy`
    #[arg(long)]
    pub send_proxy_v2: bool,
    #[command(flatten)]
    pub tls: TlsClient,
}

#[derive(Args)]
pub struct Common {
    /// Congestion control of tcpchan's sockets, such as cubic [default: bbr,
    /// where the system lets this process choose it]
    #[arg(long, value_name = "NAME")]
    pub congestion: Option<String>,
    /// Seconds that what is carried may take to end after SIGTERM or SIGINT;
    /// then, or at a second signal, it is cut off
    #[arg(long, value_name = "SECONDS", default_value = "25", value_parser = seconds)]
    pub grace: Duration,
    /// Print statistics on stdout, every so many seconds and at the end
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "10")]
    pub stats: Option<Duration>,
}

impl Common {
    pub fn config(&self) -> Result<Config, Failure> {
        let mut profile = SocketProfile::default();
        if let Some(name) = &self.congestion {
            profile = profile
                .congestion(name)
                .map_err(|error| Failure::because("--congestion", &error))?;
        }
        Ok(Config::default().socket(profile))
    }
}

#[derive(Args)]
pub struct TlsClient {
    /// Speak TLS
    #[arg(long)]
    pub tls: bool,
    /// Certificates (PEM) to trust instead of the system's
    #[arg(long, value_name = "FILE", requires = "tls")]
    pub tls_ca: Option<PathBuf>,
    /// The name that the server's certificate is for [default: the host]
    #[arg(long, value_name = "NAME", requires = "tls")]
    pub tls_name: Option<String>,
    /// A certificate (PEM, with its chain) to show to the server
    #[arg(long, value_name = "FILE", requires = "tls", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
}

#[derive(Args)]
pub struct TlsServer {
    /// Speak TLS, with this certificate (PEM, with its chain)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Take only clients that show a certificate by one of these (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_client_ca: Option<PathBuf>,
}

fn host_and_port(text: &str) -> Result<String, String> {
    let authority: Option<Authority> = text.parse().ok();
    let fits = |authority: &Authority| authority.port_u16().is_some() && !text.contains('@');
    match authority.filter(fits) {
        Some(_) => Ok(text.to_owned()),
        None => Err("it must be HOST:PORT, an IPv6 address in brackets".to_owned()),
    }
}

/// At most a day, at least a millisecond.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|n| (0.001..=86_400.0).contains(n));
    match seconds {
        Some(seconds) => Ok(Duration::from_secs_f64(seconds)),
        None => Err("it must be seconds, from 0.001 to 86400".to_owned()),
    }
}

/// Tells what is wrong with the arguments, in a line; or prints the help.
pub fn explain(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = error.print();
    } else {
        let text = error.to_string();
        let text = text.strip_prefix("error: ").unwrap_or(&text);
        // What follows is a usage of several lines.
        let said = text.split("\n\nUsage:").next().unwrap_or_default();
        let said = said.split("\n\nFor more").next().unwrap_or_default();
        let line = |part: &str| part.split_whitespace().collect::<Vec<_>>().join(" ");
        let parts: Vec<String> = said.split("\n\n").map(line).collect();
        eprintln!("tcpchan: {}; see --help", parts.join("; "));
    }
    ExitCode::from(error.exit_code() as u8)
}

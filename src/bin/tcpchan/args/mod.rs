//! The arguments, and what `--help` says of them.

mod link;
mod ping;
mod process;
mod relay;
mod serve;
mod tls;
mod values;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};

pub use self::link::{Accepted, Dialled};
pub use self::ping::Ping;
pub use self::process::Process;
pub use self::relay::Relay;
pub use self::serve::Serve;
pub use self::tls::{TlsClient, TlsServer};
use crate::failure::EXIT_CODES;

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
    Relay(One<Relay>),
    /// Take channels, and connect each to a TCP service
    #[command(after_help = EXIT_CODES)]
    Serve(One<Serve>),
    /// Measure round trips: of TCP, of TLS, of the hello, of a channel
    ///
    /// Each round makes a connection of its own. `tcp` is TCP's handshake, and
    /// `tls` that of TLS. `hello` is how long the peer took to answer the hello
    /// and the ping in it; nothing waits for that. `channel` is the time from
    /// opening a channel, with the hello, to the first answer of the service: a
    /// byte, or its end. Nothing but the channel's end is sent.
    ///
    /// At the end, or at Ctrl-C, a table tells how the times are spread.
    #[command(after_help = EXIT_CODES)]
    Ping(Ping),
}

/// One service, which is all that the process has.
#[derive(Args)]
pub struct One<S: Args> {
    #[command(flatten)]
    pub service: S,
    #[command(flatten)]
    pub process: Process,
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

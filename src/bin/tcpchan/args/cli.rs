//! The commands, and what `--help` says of them.

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use super::hub::Hub;
use super::logging::Logging;
use super::ping::Ping;
use super::process::{Process, Run};
use super::publish::Publish;
use super::relay::Relay;
use super::serve::Serve;
use super::top::Top;
use super::version::version;
use crate::failure::EXIT_CODES;

/// Carries any TCP service over one connection between two places.
///
/// Clients connect to `relay`, which gives each of them a channel of a
/// connection to `serve`, which connects to the service. Opening a channel
/// costs no round trip. Half-closed connections, resets and back-pressure are
/// carried as they are.
#[derive(Parser)]
#[command(name = "tcpchan", version, long_version = version(), after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub logging: Logging,
}

#[derive(Subcommand)]
pub enum Command {
    /// Take TCP connections, and carry each on a channel to `serve`
    #[command(after_help = EXIT_CODES)]
    Relay(One<Relay>),
    /// Take channels, and connect each to a TCP service
    #[command(after_help = EXIT_CODES)]
    Serve(One<Serve>),
    /// Take services that come here by themselves, and carry clients to them by name
    ///
    /// A service behind NAT, or without an open port, runs `publish`.
    #[command(after_help = EXIT_CODES)]
    Hub(One<Hub>),
    /// Bring a service to a hub, whose clients reach it there by its name
    #[command(after_help = EXIT_CODES)]
    Publish(One<Publish>),
    /// Run the services of a configuration file
    ///
    /// Each of its tables `[service.NAME]` has a `mode`, which is `relay`, `serve`, `hub` or
    /// `publish`, and the options of that command. Keys outside the tables are the options here. Arguments come
    /// before environment variables, and those before the file.
    #[command(after_help = EXIT_CODES)]
    Run(Run),
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
    /// Watch a process that runs with --admin: its services, targets and connections
    #[command(after_help = EXIT_CODES)]
    Top(Top),
    /// Print the completions of a shell
    Completions {
        /// For this shell
        shell: Shell,
    },
    /// Print a page for `man`
    Man {
        /// Of this command, such as relay [default: of all]
        command: Option<String>,
    },
}

impl Command {
    /// Whether it runs until a signal, and logs what happens.
    pub fn is_daemon(&self) -> bool {
        match self {
            Command::Relay(_) | Command::Serve(_) | Command::Hub(_) | Command::Publish(_) => true,
            Command::Run(run) => !run.check,
            Command::Ping(_)
            | Command::Top(_)
            | Command::Completions { .. }
            | Command::Man { .. } => false,
        }
    }
}

/// One service, which is all that the process has.
#[derive(Args)]
pub struct One<S: Args> {
    #[command(flatten)]
    pub service: S,
    #[command(flatten)]
    pub process: Process,
}

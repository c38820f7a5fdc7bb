//! The command `tcpchan`: any TCP service over one connection. `relay` goes
//! where the clients are, `serve` where the service is, and `ping` measures
//! what is between them.

mod args;
mod carry;
mod counters;
mod explain;
mod failure;
mod net;
mod ping;
mod process;
mod say;
mod service;
mod stats;
mod targets;
mod tls;

use std::process::ExitCode;

use clap::Parser;
use tracing::Level;

use self::args::{Cli, Command};
use self::failure::Failure;
use self::say::Label;
use self::service::{Mode, Spec};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return args::explain(&error),
    };
    if let Some(Ok(level)) = cli.log.map(|level| level.parse::<Level>()) {
        tracing_subscriber::fmt()
            .with_max_level(level)
            .with_writer(std::io::stderr)
            .init();
    }
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("tcpchan: {failure}");
            failure.exit_code()
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::because("no runtime", &error))?;
    let result = runtime.block_on(async {
        match command {
            Command::Relay(args) => one(Mode::Relay(args.service), args.process).await,
            Command::Serve(args) => one(Mode::Serve(args.service), args.process).await,
            Command::Ping(args) => ping::run(args).await,
        }
    });
    // A name that the system still looks up holds nobody up.
    runtime.shutdown_background();
    result
}

/// Runs the one service of the arguments.
async fn one(mode: Mode, args: args::Process) -> Result<(), Failure> {
    let label = Label::new("");
    process::run(vec![Spec { label, mode }], args).await
}

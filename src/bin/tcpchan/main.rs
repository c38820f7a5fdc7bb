//! The command `tcpchan`: any TCP service over one connection. `relay` goes
//! where the clients are, `serve` where the service is, and `ping` measures
//! what is between them.

mod args;
mod buffer;
mod carry;
mod failure;
mod link;
mod ping;
mod proxy;
mod relay;
mod serve;
mod stats;
mod stop;
mod targets;
mod tls;

use std::process::ExitCode;

use clap::Parser;
use tracing::Level;

use self::args::{Cli, Command};
use self::failure::Failure;

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
            Command::Relay(args) => relay::run(args).await,
            Command::Serve(args) => serve::run(args).await,
            Command::Ping(args) => ping::run(args).await,
        }
    });
    // A name that the system still looks up holds nobody up.
    runtime.shutdown_background();
    result
}

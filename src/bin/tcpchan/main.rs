//! The command `tcpchan`: any TCP service over one connection. `relay` goes
//! where the clients are, `serve` where the service is, and `ping` measures
//! what is between them.

mod admin;
mod args;
mod carry;
mod config;
mod counters;
mod explain;
mod failure;
mod label;
mod log;
mod net;
mod pages;
mod ping;
mod process;
mod reverse;
mod service;
mod stats;
mod targets;
mod tls;
mod top;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::ArgMatches;
use clap::parser::ValueSource;
use tracing::error;

use self::args::{Command, Process};
use self::config::{Config, Origin, Set};
use self::failure::Failure;
use self::label::Label;
use self::net::Passed;
use self::process::Source;
use self::service::{Mode, Spec};

fn main() -> ExitCode {
    // While the process has one thread: they are in the environment.
    let passed = Passed::take();
    let mut words: Vec<OsString> = std::env::args_os().collect();
    let (mut cli, matches) = match args::parse(&words) {
        Ok(parsed) => parsed,
        Err(error) => return args::explain(&error),
    };
    let (is_daemon, mut set) = (cli.command.is_daemon(), Vec::new());
    if let Command::Run(run) = &cli.command {
        match Config::read(&run.config) {
            Ok(config) => set = config.process,
            Err(failure) => {
                log::begin(&cli.logging, is_daemon);
                return told(Err(failure), is_daemon);
            }
        }
        words.extend(unset(&set, &matches));
        cli = match args::parse(&words) {
            Ok((cli, _)) => cli,
            Err(error) => return args::explain(&error),
        };
    }
    log::begin(&cli.logging, is_daemon);
    let passed = passed.map_err(|error| Failure::because("LISTEN_FDS", &error));
    let result = passed.and_then(|passed| run(cli.command, set, passed));
    told(result, is_daemon)
}

/// The words of a file's options that neither an argument nor a variable has set.
fn unset(set: &[Set], matches: &ArgMatches) -> Vec<OsString> {
    let own = matches.subcommand().map(|(_, own)| own);
    let is_set = |set: &&Set| {
        let source = own.and_then(|own| own.value_source(&set.id));
        !matches!(
            source,
            Some(ValueSource::CommandLine | ValueSource::EnvVariable)
        )
    };
    let unset = set.iter().filter(is_set);
    unset.flat_map(|set| set.words.clone()).collect()
}

fn told(result: Result<(), Failure>, is_daemon: bool) -> ExitCode {
    let Err(failure) = result else {
        return ExitCode::SUCCESS;
    };
    for line in failure.text() {
        match is_daemon {
            true => error!("{line}"),
            false => eprintln!("tcpchan: {line}"),
        }
    }
    failure.exit_code()
}

fn run(command: Command, set: Vec<Set>, passed: Passed) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::because("no runtime", &error))?;
    let result = runtime.block_on(async {
        match command {
            Command::Relay(args) => one(Mode::Relay(args.service), args.process, passed).await,
            Command::Serve(args) => one(Mode::Serve(args.service), args.process, passed).await,
            Command::Hub(args) => one(Mode::Hub(args.service), args.process, passed).await,
            Command::Publish(args) => one(Mode::Publish(args.service), args.process, passed).await,
            Command::Run(args) => many(args, set, passed).await,
            Command::Ping(args) => ping::run(args).await,
            Command::Top(args) => top::run(args).await,
            Command::Completions { shell } => pages::completions(shell, args::with_variables()),
            Command::Man { command } => pages::man(command.as_deref(), args::with_variables()),
        }
    });
    // A name that the system still looks up holds nobody up.
    runtime.shutdown_background();
    result
}

/// Runs the one service of the arguments.
async fn one(mode: Mode, process: Process, passed: Passed) -> Result<(), Failure> {
    let spec = Spec {
        label: Label::new(""),
        mode,
        origin: Origin::Arguments,
    };
    process::run(Source::Arguments(Box::new(spec)), process, passed).await
}

/// Runs the services of a file.
async fn many(args: args::Run, process: Vec<Set>, passed: Passed) -> Result<(), Failure> {
    let path = args.config;
    let source = Source::File { path, process };
    if !args.check {
        return process::run(source, args.process, passed).await;
    }
    let count = source.check()?;
    let services = if count == 1 { "service" } else { "services" };
    stats::print(&format!("{count} {services}, and nothing is wrong"));
    Ok(())
}

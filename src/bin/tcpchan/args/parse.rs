//! From words to options; and errors as a line.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::builder::{ArgAction, BoolishValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgMatches, Args, Command, CommandFactory, FromArgMatches};

use super::cli::Cli;
use super::process::Process;

/// The options of these words, and of the environment where the words have none.
pub fn parse(words: &[OsString]) -> Result<(Cli, ArgMatches), clap::Error> {
    let matches = with_variables().try_get_matches_from(words)?;
    Ok((Cli::from_arg_matches(&matches)?, matches))
}

/// The command, with an environment variable for each option.
pub fn with_variables() -> Command {
    let command = Cli::command();
    let names: Vec<_> = command
        .get_subcommands()
        .map(|one| one.get_name().to_owned())
        .collect();
    names
        .iter()
        .fold(with_environment(command), |command, name| {
            command.mut_subcommand(name, with_environment)
        })
}

/// The options of a process that a file may have, by their names without dashes.
pub fn process_options() -> Command {
    let command = Process::augment_args(Command::new("run"));
    let cli = Cli::command();
    let global = cli.get_arguments().filter(|arg| arg.is_global_set());
    global.fold(command, |command, arg| command.arg(arg.clone()))
}

/// Each option has a variable: `--max-clients` has `TCPCHAN_MAX_CLIENTS`.
fn with_environment(command: Command) -> Command {
    command.mut_args(|arg| {
        let Some(long) = arg.get_long() else {
            return arg;
        };
        let name = format!("TCPCHAN_{}", long.replace('-', "_").to_uppercase());
        let arg = arg.env(name).hide_env_values(true);
        match arg.get_action() {
            ArgAction::Append => arg.value_delimiter(','),
            ArgAction::SetTrue => arg.value_parser(BoolishValueParser::new()),
            _ => arg,
        }
    })
}

/// The options that an error is about, as `--help` names them.
pub fn options_of<'a>(error: &'a clap::Error) -> Vec<&'a str> {
    let names = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(name)) => vec![name.as_str()],
        Some(ContextValue::Strings(names)) => names.iter().map(String::as_str).collect(),
        _ => Vec::new(),
    };
    let bare = |name: &'a str| {
        let name = name.strip_prefix("--")?;
        name.split([' ', '[', '=', '.']).next()
    };
    names.into_iter().filter_map(bare).collect()
}

/// Tells what is wrong with the arguments, in a line; or prints the help.
pub fn explain(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = error.print();
    } else {
        eprintln!("tcpchan: {}; see --help", line(error));
    }
    ExitCode::from(error.exit_code() as u8)
}

fn line(error: &clap::Error) -> String {
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    // What follows is a usage of several lines.
    let said = text.split("\n\nUsage:").next().unwrap_or_default();
    let said = said.split("\n\nFor more").next().unwrap_or_default();
    let line = |part: &str| part.split_whitespace().collect::<Vec<_>>().join(" ");
    let parts: Vec<String> = said.split("\n\n").map(line).collect();
    parts.join("; ")
}

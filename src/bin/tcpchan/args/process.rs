//! The options of a process, whatever services it has.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::admin::Admin;
use super::values::time;

#[derive(Args, Clone, Debug)]
pub struct Process {
    /// How long what is carried may take to end after SIGTERM or SIGINT; then, or at a second
    /// signal, it is cut off
    #[arg(long, value_name = "TIME", default_value = "25s", value_parser = time)]
    pub grace: Duration,
    /// Print statistics on stdout, at this interval and at the end
    #[arg(long, value_name = "TIME", value_parser = time)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "10s")]
    pub stats: Option<Duration>,
    #[command(flatten)]
    pub admin: Admin,
}

/// Many services, by a file.
#[derive(Args)]
pub struct Run {
    /// The configuration (TOML); it is read again at each SIGHUP
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Say what is wrong with the configuration and the files that it names, and end
    #[arg(long)]
    pub check: bool,
    #[command(flatten)]
    pub process: Process,
}

//! The options of a process, whatever services it has.

use std::time::Duration;

use clap::Args;

use super::values::seconds;

#[derive(Args, Clone, Debug)]
pub struct Process {
    /// Seconds that what is carried may take to end after SIGTERM or SIGINT;
    /// then, or at a second signal, it is cut off
    #[arg(long, value_name = "SECONDS", default_value = "25", value_parser = seconds)]
    pub grace: Duration,
    /// Print statistics on stdout, every so many seconds and at the end
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "10")]
    pub stats: Option<Duration>,
}

//! What is logged, and how.

use clap::Args;

/// The names of levels are also those of `LevelFilter`.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

#[derive(Args, Clone, Debug)]
pub struct Logging {
    /// Log on stderr down to this level [default: info]
    ///
    /// `ping` and `top` log only if they are told to.
    #[arg(long, global = true, value_name = "LEVEL", value_parser = LEVELS)]
    pub log_level: Option<String>,
    /// Log each stream when it has ended: client, target, bytes, seconds and how it ended
    #[arg(long, global = true)]
    pub log_streams: bool,
    /// The format of the log: lines for people, or a JSON object a line
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text")]
    #[arg(value_parser = ["text", "json"])]
    pub log_format: String,
}

//! The options of a live view.

use std::time::Duration;

use clap::Args;

use super::values::{admin_address, time};

#[derive(Args)]
pub struct Top {
    /// The admin address of the process; a bare port is one of 127.0.0.1
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9100")]
    #[arg(value_parser = admin_address)]
    pub admin: String,
    /// How often to look
    #[arg(short, long, value_name = "TIME", default_value = "1s", value_parser = time)]
    pub interval: Duration,
    /// Look twice, print what was seen, and end; so it does where stdout is no terminal
    #[arg(long)]
    pub once: bool,
}

//! The arguments, and what `--help` says of them.

mod admin;
mod cli;
mod hub;
mod limits;
mod link;
mod listen;
mod logging;
mod parse;
mod ping;
mod process;
mod publish;
mod relay;
mod serve;
mod tls;
mod top;
mod values;
mod version;

pub use self::admin::Admin;
pub use self::cli::Command;
pub use self::hub::Hub;
pub use self::limits::Limits;
pub use self::link::{Accepted, Dialled, outgoing};
pub use self::logging::Logging;
pub use self::parse::{explain, options_of, parse, process_options, with_variables};
pub use self::ping::Ping;
pub use self::process::{Process, Run};
pub use self::publish::{Publish, Way};
pub use self::relay::Relay;
pub use self::serve::{Serve, Upstream};
pub use self::tls::{TlsClient, TlsServer};
pub use self::top::Top;

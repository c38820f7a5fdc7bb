//! The log on stderr: one format for the command's lines and for the library's.

mod limit;
mod line;

use std::io::stderr;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{fmt, registry};

pub use self::limit::Limit;
use self::line::Lines;
use crate::args::Logging;

/// Begins it. Unless the options have a level, daemons log and other commands don't. To be
/// called once.
pub fn begin(options: &Logging, is_daemon: bool) {
    let default = match is_daemon {
        true => LevelFilter::INFO,
        false => LevelFilter::OFF,
    };
    let level = options.log_level.as_deref();
    let level = level.and_then(|level| level.parse().ok());
    let lines = fmt::layer()
        .with_writer(stderr)
        .fmt_fields(JsonFields::new())
        .event_format(Lines {
            json: options.log_format == "json",
        });
    let shown = shown(level.unwrap_or(default), options.log_streams);
    registry().with(lines.with_filter(shown)).init();
}

fn shown(level: LevelFilter, streams: bool) -> Targets {
    let targets = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target("tcpchan", level);
    let targets = match streams {
        true => targets,
        false => targets.with_target("tcpchan::streams", LevelFilter::OFF),
    };
    match level {
        LevelFilter::DEBUG | LevelFilter::TRACE => targets,
        // A target that is down has a line of the command's, with the same cause.
        _ => targets.with_target("tcpchan::dials", LevelFilter::OFF),
    }
}

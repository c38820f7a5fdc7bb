//! What is measured of what, and for how long.

use anyhow::Context;
use clap::{Args, ValueEnum};

#[derive(Args)]
pub struct Times {
    /// Seconds of rest; with 0 it is not measured
    #[arg(long, default_value_t = 30.0)]
    pub idle: f64,
    /// Seconds of each measurement of echoes
    #[arg(long, default_value_t = 3.0)]
    pub busy: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub enum Way {
    /// Channels.
    Tcpchan,
    /// Requests of hyper's own HTTP/2.
    HyperHttp2,
    /// The same with a ping each 15 s, as tcpchan has by default.
    HyperHttp2Pings,
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}

/// Bytes of unread frames that a connection of HTTP/2 takes. h2 cuts off a peer that has half
/// of it in small frames, for which it counts 256 bytes each.
pub const HTTP2_WINDOW: u32 = 64 << 20;

#[derive(Clone, Copy)]
pub struct Size {
    pub connections: usize,
    pub streams: usize,
}

pub fn size(text: &str) -> anyhow::Result<Size> {
    let (connections, streams) = text.split_once('x').context("not CONNECTIONSxSTREAMS")?;
    Ok(Size {
        connections: connections.parse()?,
        streams: streams.parse()?,
    })
}

//! The client's process: one way in one scenario.

mod changes;
mod downloads;
mod events;
mod kept;
mod link;
mod mixed;
mod peer;
mod plan;
mod quic;
mod watch;
mod works;

use std::io::{self, Write};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

pub use self::link::DATAGRAMS;
pub use self::peer::Peer;
pub use self::watch::Counts;
use crate::conditions::Congestion;
use crate::scenario;
use crate::tls::Identity;
use crate::way::Way;

#[derive(clap::Args)]
pub struct Options {
    /// The scenario's name
    #[arg(long)]
    pub scenario: String,
    #[arg(long)]
    pub way: Way,
    /// For QUIC; the kernel's TCP has the route's
    #[arg(long, value_enum)]
    pub cc: Congestion,
    #[arg(long)]
    pub rounds: u32,
    /// Of the link, in Mbit/s
    #[arg(long)]
    pub rate: u64,
    /// How long each stage lasts of those that have some, in seconds
    #[arg(long)]
    pub stage: u64,
}

/// What the client tells, one line of JSON each.
#[derive(Serialize, Deserialize)]
pub enum Event {
    /// A piece of work is done.
    Sample(Sample),
    /// The link shall lose this share of packets from now on.
    Loss(f64),
    /// The link's round trip from now on; `None` is the conditions' own.
    RoundTrip(Option<Duration>),
    /// A stage of this name is over, in which there were so many connections.
    Stage(String, Counts),
}

#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Sample {
    /// Such as "cold" or "warm".
    pub phase: String,
    /// Of each request, in seconds.
    pub latencies: Vec<f64>,
    /// How many of the requests failed.
    #[serde(default)]
    pub failed: usize,
    /// Until all was done, in seconds.
    pub wall: f64,
    /// Bytes of all bodies.
    pub bytes: u64,
}

/// Nothing that a scenario does takes so long, beside its stages, unless it hangs.
const HANGS: Duration = Duration::from_secs(120);

pub async fn run(options: Options) -> Result<()> {
    let scenario = scenario::find(&options.scenario)?;
    let identity = Identity::from_environment()?;
    let new = || Peer::new(options.way, &identity, options.cc);
    let stage = Duration::from_secs(options.stage);
    for _ in 0..options.rounds {
        let round = works::round(scenario.work, options.rate, stage, new);
        let hangs = HANGS + mixed::length(stage);
        tokio::time::timeout(hangs, round)
            .await
            .context("it hangs")??;
        works::apart().await;
    }
    Ok(())
}

fn tell(event: Event) -> Result<()> {
    let line = serde_json::to_string(&event)?;
    Ok(writeln!(io::stdout(), "{line}")?)
}

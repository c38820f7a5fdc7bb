//! The client's process: one way in one scenario.

mod burst;
mod changes;
mod downloads;
mod events;
mod kept;
mod link;
mod mixed;
mod output;
mod pause;
mod peer;
mod plan;
mod quic;
mod watch;
mod works;

use std::time::Duration;

use anyhow::{Context, Result};

pub use self::link::DATAGRAMS;
pub use self::output::{Event, Sample};
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
        pause::apart().await;
    }
    Ok(())
}

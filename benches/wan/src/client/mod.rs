//! The client's process: one way in one scenario.

mod changes;
mod kept;
mod link;
mod peer;
mod quic;
mod works;

use std::io::{self, Write};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

pub use self::link::DATAGRAMS;
pub use self::peer::Peer;
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
}

#[derive(Clone, Serialize, Deserialize)]
pub struct Sample {
    /// Such as "cold" or "warm".
    pub phase: String,
    /// Of each request, in seconds.
    pub latencies: Vec<f64>,
    /// Until all was done, in seconds.
    pub wall: f64,
    /// Bytes of all bodies.
    pub bytes: u64,
}

/// Nothing that a scenario does takes so long unless it hangs.
const HANGS: Duration = Duration::from_secs(120);

pub async fn run(options: Options) -> Result<()> {
    let scenario = scenario::find(&options.scenario)?;
    let identity = Identity::from_environment()?;
    let new = || Peer::new(options.way, &identity, options.cc);
    for _ in 0..options.rounds {
        let round = works::round(scenario.work, new);
        tokio::time::timeout(HANGS, round)
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

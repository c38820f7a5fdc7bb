//! What the client tells the process that measures.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::watch::Counts;

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

pub fn tell(event: Event) -> Result<()> {
    let line = serde_json::to_string(&event)?;
    Ok(writeln!(io::stdout(), "{line}")?)
}

/// Tells of a piece of work that began at `start`.
pub fn sample(phase: &str, latencies: Vec<f64>, start: Instant, bytes: u64) -> Result<()> {
    tell(Event::Sample(Sample {
        phase: phase.into(),
        latencies,
        wall: start.elapsed().as_secs_f64(),
        bytes,
        ..Sample::default()
    }))
}

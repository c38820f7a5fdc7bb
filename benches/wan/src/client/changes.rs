//! Requests on a connection whose round trip changed.

use std::time::Duration;

use anyhow::Result;
use tokio::time::Instant;

use super::output::{Event, sample, tell};
use super::pause::apart;
use super::peer::Peer;
use crate::scenario::SMALL;

/// Round trips of small GETs, before and after the change.
const SETTLES: usize = 10;

const TRANSFER: u64 = 16 << 20;

/// On a client that always had the link's round trip, and on one that had another
/// at first. Both do the same work.
pub async fn changes(new: impl Fn() -> Result<Peer>, from: Duration) -> Result<()> {
    for (name, before) in [("always", None), ("changed", Some(from))] {
        tell(Event::RoundTrip(before))?;
        let peer = new()?;
        gets(&peer, SETTLES).await?;
        peer.get(TRANSFER).await?;
        tell(Event::RoundTrip(None))?;
        gets(&peer, SETTLES).await?;
        measure(&peer, name).await?;
        drop(peer);
        apart().await;
    }
    Ok(())
}

async fn measure(peer: &Peer, name: &str) -> Result<()> {
    let start = Instant::now();
    let latencies = gets(peer, 20).await?;
    sample(&format!("{name}: small GETs"), latencies, start, 0)?;
    for which in ["first 16 MiB", "16 MiB", "16 MiB"] {
        let start = Instant::now();
        peer.get(TRANSFER).await?;
        let latency = start.elapsed().as_secs_f64();
        let phase = format!("{name}: {which}");
        sample(&phase, vec![latency], start, TRANSFER)?;
    }
    Ok(())
}

/// One after the other, so that each takes a round trip.
async fn gets(peer: &Peer, count: usize) -> Result<Vec<f64>> {
    let mut latencies = Vec::new();
    for _ in 0..count {
        let start = Instant::now();
        peer.get(SMALL).await?;
        latencies.push(start.elapsed().as_secs_f64());
    }
    Ok(latencies)
}

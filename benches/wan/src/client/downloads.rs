//! So many downloads at a time, on a new client for each count.

use std::time::Duration;

use anyhow::Result;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::output::{Event, Sample, tell};
use super::pause::apart;
use super::peer::Peer;
use super::watch::Watch;

/// Downloads that each of those at a time fetches, one after the other.
const EACH: u64 = 4;

/// All of a stage's together have the bytes that the link carries in `length`; a
/// `rate` is in Mbit/s.
pub async fn downloads(
    new: impl Fn() -> Result<Peer>,
    counts: &[usize],
    rate: u64,
    length: Duration,
) -> Result<()> {
    for count in counts {
        let peer = new()?;
        let watch = Watch::new(peer.way().address().port());
        let total = rate * 125_000 * length.as_secs();
        let bytes = total / (*count as u64 * EACH);
        let stage = format!("{count} at a time");
        let sample = fetch(&peer, *count, bytes).await?;
        tell(Event::Sample(Sample {
            phase: format!("{stage}: downloads"),
            ..sample
        }))?;
        tell(Event::Stage(stage, watch.take()))?;
        drop(peer);
        apart().await;
    }
    Ok(())
}

async fn fetch(peer: &Peer, count: usize, bytes: u64) -> Result<Sample> {
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..count {
        let peer = peer.clone();
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            for _ in 0..EACH {
                let start = Instant::now();
                peer.get(bytes).await?;
                latencies.push(start.elapsed().as_secs_f64());
            }
            anyhow::Ok(latencies)
        });
    }
    let latencies: Result<Vec<_>> = tasks.join_all().await.into_iter().collect();
    Ok(Sample {
        latencies: latencies?.concat(),
        wall: start.elapsed().as_secs_f64(),
        bytes: bytes * EACH * count as u64,
        ..Sample::default()
    })
}

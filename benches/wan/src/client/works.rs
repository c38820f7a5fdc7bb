//! One round of each kind of work.

use std::future::Future;
use std::time::Duration;

use anyhow::Result;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::burst::{all, burst, timed};
use super::changes::changes;
use super::downloads::downloads;
use super::kept::kept;
use super::link::{datagrams, link};
use super::mixed::mixed;
use super::output::{Event, Sample, sample, tell};
use super::pause::every;
use super::peer::Peer;
use crate::scenario::{SMALL, Work};

/// Repeats of a work on connections that are open; fewer of a long one.
fn repeats(bytes: u64) -> usize {
    if bytes > 2 << 20 { 2 } else { 5 }
}

/// `new` makes a client that has no connection yet. The link has a `rate`, in
/// Mbit/s, and a stage is so long.
pub async fn round(
    work: Work,
    rate: u64,
    stage: Duration,
    new: impl Fn() -> Result<Peer>,
) -> Result<()> {
    let peer = new()?;
    match work {
        Work::Gets { count, bytes } => cold_and_warm(count, bytes, || get(&peer, bytes)).await,
        Work::Puts { count, bytes } => cold_and_warm(count, bytes, || put(&peer, bytes)).await,
        Work::Idle {
            count,
            bytes,
            seconds,
        } => idle(&peer, count, bytes, seconds).await,
        Work::KeptGet { count, bytes } => {
            kept(
                new,
                count,
                bytes,
                |peer| async move { peer.get(bytes).await },
            )
            .await
        }
        Work::KeptPut { count, bytes } => {
            kept(
                new,
                count,
                bytes,
                |peer| async move { peer.put(bytes).await },
            )
            .await
        }
        Work::Beside { bytes } => beside(&peer, bytes).await,
        Work::BothWays { bytes } => both_ways(&peer, bytes).await,
        Work::Recovers { loss } => recovers(&peer, loss).await,
        Work::Mixed => mixed(&peer, stage).await,
        Work::Downloads { counts } => downloads(new, counts, rate, stage).await,
        Work::Changes { from_ms } => changes(new, Duration::from_millis(from_ms)).await,
        Work::Link => link(&peer).await,
        Work::Datagrams => datagrams().await,
    }
}

async fn cold_and_warm<F>(count: usize, bytes: u64, work: impl Fn() -> F) -> Result<()>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    burst("cold", count, bytes, &work).await?;
    for _ in 0..repeats(count as u64 * bytes) {
        burst("warm", count, bytes, &work).await?;
    }
    Ok(())
}

async fn idle(peer: &Peer, count: usize, bytes: u64, seconds: u64) -> Result<()> {
    let work = || get(peer, bytes);
    burst("cold", count, bytes, work).await?;
    burst("warm", count, bytes, work).await?;
    sleep(Duration::from_secs(seconds)).await;
    burst(&format!("after {seconds} s"), count, bytes, work).await
}

async fn beside(peer: &Peer, bytes: u64) -> Result<()> {
    burst("warm-up", 1, bytes, || get(peer, bytes)).await?;
    burst("transfer alone", 1, bytes, || get(peer, bytes)).await?;
    beside_transfers(
        peer,
        bytes,
        vec![("transfer", tokio::spawn(get_timed(peer, bytes)))],
    )
    .await
}

async fn both_ways(peer: &Peer, bytes: u64) -> Result<()> {
    burst("warm-up", 1, bytes, || get(peer, bytes)).await?;
    let start = Instant::now();
    let transfers = vec![
        ("download", tokio::spawn(get_timed(peer, bytes))),
        ("upload", tokio::spawn(timed(start, put(peer, bytes)))),
    ];
    beside_transfers(peer, bytes, transfers).await
}

type Transfer = tokio::task::JoinHandle<Result<f64>>;

/// Small GETs from the time when the transfers fill the link until the first
/// of them is over.
async fn beside_transfers(peer: &Peer, bytes: u64, transfers: Vec<(&str, Transfer)>) -> Result<()> {
    let start = Instant::now();
    let running = || {
        transfers
            .iter()
            .all(|(_, transfer)| !transfer.is_finished())
    };
    let mut tasks = JoinSet::new();
    let mut tick = every(20);
    sleep(Duration::from_millis(400)).await;
    while running() {
        tasks.spawn(timed(Instant::now(), get(peer, SMALL)));
        tick.tick().await;
    }
    sample("small GETs", all(tasks).await?, start, 0)?;
    for (name, transfer) in transfers {
        let wall = transfer.await??;
        tell(Event::Sample(Sample {
            phase: name.into(),
            latencies: vec![wall],
            wall,
            bytes,
            ..Sample::default()
        }))?;
    }
    Ok(())
}

/// The link changes at its time, whatever requests are still on their way; a
/// request belongs to the phase in which it started.
async fn recovers(peer: &Peer, loss: f64) -> Result<()> {
    get(peer, 16 << 10).await?;
    let start = Instant::now();
    let mut phases = Vec::new();
    let mut tick = every(25);
    for (phase, loss) in [("before", 0.0), ("lossy", loss), ("after", 0.0)] {
        tell(Event::Loss(loss))?;
        let mut tasks = JoinSet::new();
        for _ in 0..120 {
            tick.tick().await;
            tasks.spawn(timed(Instant::now(), get(peer, 16 << 10)));
        }
        phases.push((phase, tasks));
    }
    for (phase, tasks) in phases {
        sample(phase, all(tasks).await?, start, 0)?;
    }
    Ok(())
}

fn get(peer: &Peer, bytes: u64) -> impl Future<Output = Result<()>> + Send + 'static {
    let peer = peer.clone();
    async move { peer.get(bytes).await }
}

fn put(peer: &Peer, bytes: u64) -> impl Future<Output = Result<()>> + Send + 'static {
    let peer = peer.clone();
    async move { peer.put(bytes).await }
}

fn get_timed(peer: &Peer, bytes: u64) -> impl Future<Output = Result<f64>> + Send + 'static {
    timed(Instant::now(), get(peer, bytes))
}

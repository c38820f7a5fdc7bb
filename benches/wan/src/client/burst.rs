//! Requests that begin at the same time.

use std::future::Future;

use anyhow::Result;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::output::sample;

/// All at once; each latency counts from the burst's start.
pub async fn burst<F>(phase: &str, count: usize, bytes: u64, work: impl Fn() -> F) -> Result<()>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..count {
        tasks.spawn(timed(start, work()));
    }
    let latencies = all(tasks).await?;
    sample(phase, latencies, start, count as u64 * bytes)
}

pub async fn timed(start: Instant, work: impl Future<Output = Result<()>>) -> Result<f64> {
    work.await?;
    Ok(start.elapsed().as_secs_f64())
}

pub async fn all(mut tasks: JoinSet<Result<f64>>) -> Result<Vec<f64>> {
    let mut latencies = Vec::new();
    while let Some(latency) = tasks.join_next().await {
        latencies.push(latency??);
    }
    Ok(latencies)
}

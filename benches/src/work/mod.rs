//! The traffic of the rows, the same for every way.

pub mod bulk;
pub mod echo;
pub mod http;

use std::future::Future;

use tokio::task::JoinSet;

/// Runs `count` workers until the first one fails.
pub async fn run_all<F, W>(count: usize, mut worker: F) -> anyhow::Result<()>
where
    F: FnMut() -> W,
    W: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let mut workers = JoinSet::new();
    for _ in 0..count {
        workers.spawn(worker());
    }
    while let Some(ended) = workers.join_next().await {
        ended??;
    }
    Ok(())
}

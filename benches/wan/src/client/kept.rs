//! A transfer on a client that keeps what a burst left.

use std::future::Future;

use anyhow::Result;

use super::burst::burst;
use super::pause::apart;
use super::peer::Peer;
use crate::scenario::SMALL;

/// On a client that keeps one connection or channel, and on one that keeps `count`.
/// A burst of small GETs leaves them: each has one of its own.
pub async fn kept<F>(
    new: impl Fn() -> Result<Peer>,
    count: usize,
    bytes: u64,
    transfer: impl Fn(Peer) -> F,
) -> Result<()>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    for kept in [1, count] {
        let peer = new()?;
        let small = |peer: Peer| async move { peer.get(SMALL).await };
        let phase = |what| format!("{kept} kept: {what}");
        burst(&phase("GETs"), kept, SMALL, || small(peer.clone())).await?;
        for which in ["first", "second"] {
            burst(&phase(which), 1, bytes, || transfer(peer.clone())).await?;
        }
        drop(peer);
        apart().await;
    }
    Ok(())
}

//! An event stream that is read beside other work.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use http_body_util::BodyExt;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::peer::Peer;
use crate::stamps::Ages;

/// From the end of a stream until the next is asked for.
const AGAIN: Duration = Duration::from_millis(200);

/// Reads until it is dropped, from another stream if one ends.
pub struct Events {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
pub struct Seen {
    /// How long each event was on its way, in seconds.
    pub ages: Vec<f64>,
    /// Why streams ended.
    pub ends: Vec<String>,
}

impl Events {
    /// An event is to come after each such time.
    pub fn new(peer: &Peer, every: Duration) -> Self {
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let (peer, told) = (peer.clone(), seen.clone());
        let task = tokio::spawn(async move {
            loop {
                if let Err(error) = read(&peer, every, &told).await {
                    lock(&told).ends.push(format!("{error:#}"));
                }
                sleep(AGAIN).await;
            }
        });
        Events { seen, task }
    }

    /// What was seen since it was last asked.
    pub fn take(&self) -> Seen {
        std::mem::take(&mut *lock(&self.seen))
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read(peer: &Peer, every: Duration, seen: &Mutex<Seen>) -> Result<()> {
    let response = peer.events(every).await?;
    ensure!(response.status().is_success(), "{}", response.status());
    let mut body = response.into_body();
    let mut ages = Ages::default();
    while let Some(frame) = body.frame().await {
        if let Some(bytes) = frame?.data_ref() {
            lock(seen).ages.extend(ages.feed(bytes));
        }
    }
    bail!("the event stream ended")
}

fn lock(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::run_all;
use crate::measure::{self, count};
use crate::way::{ByteStream, Way};

pub const PAYLOAD: usize = 100;

/// Sends back what comes, until the end.
pub async fn serve<S: ByteStream>(mut stream: S) {
    let mut buf = [0; 2 * PAYLOAD];
    while let Ok(n @ 1..) = stream.read(&mut buf).await {
        if stream.write_all(&buf[..n]).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
    let _ = stream.shutdown().await;
}

pub async fn once<S: ByteStream>(stream: &mut S) -> anyhow::Result<()> {
    stream.write_all(&[7; PAYLOAD]).await?;
    stream.flush().await?;
    stream.read_exact(&mut [0; PAYLOAD]).await?;
    Ok(())
}

/// A stream on which one echo was done.
pub async fn opened<W: Way>(client: &W::Client) -> anyhow::Result<W::Stream> {
    let mut stream = W::open(client).await?;
    once(&mut stream).await?;
    Ok(stream)
}

/// Echoes on `streams` streams at once, while `idle` more are open.
pub async fn kept<W: Way>(client: W::Client, streams: usize, idle: usize) -> anyhow::Result<()> {
    let mut quiet = Vec::with_capacity(idle);
    for _ in 0..idle {
        quiet.push(opened::<W>(&client).await?);
    }
    let mut busy = Vec::with_capacity(streams);
    for _ in 0..streams {
        busy.push(opened::<W>(&client).await?);
    }
    measure::ready();
    let mut busy = busy.into_iter();
    run_all(streams, || {
        let stream = busy.next();
        async {
            let Some(mut stream) = stream else {
                return Ok(());
            };
            loop {
                once(&mut stream).await?;
                count(1);
            }
        }
    })
    .await
}

/// Opens a stream, echoes once and closes it; `at_once` such loops.
pub async fn fresh<W: Way>(client: W::Client, at_once: usize) -> anyhow::Result<()> {
    let client = Arc::new(client);
    opened::<W>(&client).await?;
    measure::ready();
    run_all(at_once, || {
        let client = client.clone();
        async move {
            loop {
                let mut stream = opened::<W>(&client).await?;
                stream.shutdown().await?;
                drop(stream);
                count(1);
            }
        }
    })
    .await
}

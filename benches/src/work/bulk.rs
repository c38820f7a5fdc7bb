use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::run_all;
use crate::measure::{self, count};
use crate::way::{ByteStream, Way};

const WRITE: usize = 64 << 10;

/// What is sent between two half-closes, on all streams together.
const TRANSFER: usize = 256 << 20;

/// Reads to the end, up to `read` bytes at a time, then says so.
pub async fn serve<S: ByteStream>(mut stream: S, read: usize) {
    let mut buf = vec![0; read];
    while let Ok(n) = stream.read(&mut buf).await {
        if n == 0 {
            let _ = stream.write_all(&[1]).await;
            let _ = stream.shutdown().await;
            return;
        }
    }
}

/// Sends on `streams` streams at once. A stream is half-closed and replaced
/// when it has sent its part of a transfer.
pub async fn send<W: Way>(client: W::Client, streams: usize) -> anyhow::Result<()> {
    let client = Arc::new(client);
    measure::ready();
    run_all(streams, || {
        let client = client.clone();
        async move {
            let data = vec![7; WRITE];
            loop {
                let mut stream = W::open(&client).await?;
                for _ in 0..TRANSFER / WRITE / streams {
                    stream.write_all(&data).await?;
                    count(WRITE as u64);
                }
                stream.shutdown().await?;
                stream.read_exact(&mut [0]).await?;
            }
        }
    })
    .await
}

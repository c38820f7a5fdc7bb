//! Resident bytes for each idle stream, of both ends.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;

use crate::transport::Transport;
use crate::way::Way;
use crate::work::echo;

/// Streams that are opened before the first look.
const WARM: usize = 64;
/// As many as most systems' 20,000 file descriptors carry when each stream is a
/// connection.
const STREAMS: usize = 9_000;

pub fn resident() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().split(' ').next());
    Ok(kib.context("no VmRSS")?.parse::<f64>()? * 1024.0)
}

type Grown = anyhow::Result<f64>;

async fn grown<F>(mut open: impl FnMut() -> F) -> Grown
where
    F: Future<Output = anyhow::Result<()>>,
{
    for _ in 0..WARM {
        open().await?;
    }
    let before = resident()?;
    for _ in 0..STREAMS {
        open().await?;
    }
    Ok((resident()? - before) / STREAMS as f64)
}

/// Streams with an echo task at each end, all idle after one echo.
pub async fn with_tasks<W: Way>(client: W::Client) -> Grown {
    let client = Arc::new(client);
    grown(|| async {
        let stream = echo::opened::<W>(&client).await?;
        tokio::spawn(echo::serve(stream));
        Ok(())
    })
    .await
}

/// A server's handler that keeps streams after one echo, without a task.
pub fn keep<S: crate::way::ByteStream>()
-> impl Fn(S) -> Pin<Box<dyn Future<Output = ()> + Send>> + Clone + Send + 'static {
    let kept = Arc::new(Mutex::new(Vec::with_capacity(WARM + STREAMS)));
    move |mut stream| {
        let kept = kept.clone();
        Box::pin(async move {
            if echo_once(&mut stream).await.is_ok() {
                kept.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(stream);
            }
        })
    }
}

async fn echo_once<S: crate::way::ByteStream>(stream: &mut S) -> std::io::Result<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut buf = [0; echo::PAYLOAD];
    stream.read_exact(&mut buf).await?;
    stream.write_all(&buf).await?;
    stream.flush().await
}

/// Streams alone, no tasks, all idle after one echo.
pub async fn alone<W: Way>(client: W::Client) -> Grown {
    let kept = Mutex::new(Vec::with_capacity(WARM + STREAMS));
    grown(|| async {
        let stream = echo::opened::<W>(&client).await?;
        kept.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(stream);
        Ok(())
    })
    .await
}

/// Connects and runs one of the two.
pub async fn drive<W: Way>(addr: SocketAddr, transport: Transport, tasks: bool) -> Grown {
    let client = W::connect(addr, transport).await?;
    match tasks {
        true => with_tasks::<W>(client).await,
        false => alone::<W>(client).await,
    }
}

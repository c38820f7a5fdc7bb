use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadBuf};

use super::run_all;
use crate::measure::{self, count};
use crate::way::{ByteStream, Way};

pub const PAYLOAD: usize = 100;

/// Sends back what comes, until the end.
pub fn serve<S: ByteStream>(stream: S) -> Serve<S> {
    Serve { stream, rest: None }
}

/// The future of [`serve`]. While it waits for bytes it keeps nothing but the
/// stream, so that the memory of an idle stream is the stream's.
pub struct Serve<S> {
    stream: S,
    rest: Option<Box<Rest>>,
}

/// What couldn't be done at once.
struct Rest {
    owed: Vec<u8>,
    ended: bool,
}

impl<S: ByteStream> Serve<S> {
    fn poll_echo(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut stream = Pin::new(&mut self.stream);
        loop {
            if let Some(rest) = &mut self.rest {
                while !rest.owed.is_empty() {
                    let n = ready!(stream.as_mut().poll_write(cx, &rest.owed))?;
                    rest.owed.drain(..n);
                }
                if rest.ended {
                    return stream.poll_shutdown(cx);
                }
                ready!(stream.as_mut().poll_flush(cx))?;
                self.rest = None;
            }
            let mut buf = [0; 2 * PAYLOAD];
            let mut buf = ReadBuf::new(&mut buf);
            ready!(stream.as_mut().poll_read(cx, &mut buf))?;
            let bytes = buf.filled();
            if bytes.is_empty() {
                let owed = Vec::new();
                self.rest = Some(Box::new(Rest { owed, ended: true }));
                continue;
            }
            let n = match stream.as_mut().poll_write(cx, bytes)? {
                Poll::Ready(n) => n,
                Poll::Pending => 0,
            };
            if n < bytes.len() || stream.as_mut().poll_flush(cx)?.is_pending() {
                let owed = bytes[n..].to_vec();
                self.rest = Some(Box::new(Rest { owed, ended: false }));
            }
        }
    }
}

impl<S: ByteStream> Future for Serve<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_echo(cx).map(drop)
    }
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

/// Opens a stream, echoes once and closes it; `at_once` such loops. If `ended`, each waits for
/// the peer's end of its stream.
pub async fn fresh<W: Way>(client: W::Client, at_once: usize, ended: bool) -> anyhow::Result<()> {
    let client = Arc::new(client);
    opened::<W>(&client).await?;
    measure::ready();
    run_all(at_once, || {
        let client = client.clone();
        async move {
            loop {
                let mut stream = opened::<W>(&client).await?;
                stream.shutdown().await?;
                if ended {
                    anyhow::ensure!(stream.read(&mut [0]).await? == 0);
                }
                drop(stream);
                count(1);
            }
        }
    })
    .await
}

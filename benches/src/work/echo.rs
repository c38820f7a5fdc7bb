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
    Serve {
        stream,
        owed: Vec::new(),
        flush: false,
        ended: false,
    }
}

/// The future of [`serve`]. While it waits for bytes it keeps no buffer, so that
/// the memory of an idle stream is the stream's.
pub struct Serve<S> {
    stream: S,
    /// What was read and not taken yet.
    owed: Vec<u8>,
    flush: bool,
    ended: bool,
}

impl<S: ByteStream> Serve<S> {
    fn poll_echo(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut stream = Pin::new(&mut self.stream);
        while !self.ended {
            while !self.owed.is_empty() {
                let n = ready!(stream.as_mut().poll_write(cx, &self.owed))?;
                self.owed.drain(..n);
            }
            if self.flush {
                ready!(stream.as_mut().poll_flush(cx))?;
                self.flush = false;
            }
            let mut buf = [0; 2 * PAYLOAD];
            let mut buf = ReadBuf::new(&mut buf);
            ready!(stream.as_mut().poll_read(cx, &mut buf))?;
            let bytes = buf.filled();
            if bytes.is_empty() {
                self.ended = true;
                break;
            }
            let n = match stream.as_mut().poll_write(cx, bytes)? {
                Poll::Ready(n) => n,
                Poll::Pending => 0,
            };
            self.owed = bytes[n..].to_vec();
            self.flush = true;
        }
        stream.poll_shutdown(cx)
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

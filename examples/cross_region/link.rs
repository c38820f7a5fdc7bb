//! A slow link inside the process: a connector whose connections cost a full
//! round trip to set up, and whose bytes arrive half a round trip late.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tower_service::Service;

/// Connects over TCP and delays everything; without a delay it is plain TCP.
#[derive(Clone, Copy)]
pub struct Link {
    pub rtt: Duration,
}

impl Service<Uri> for Link {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Stream>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let rtt = self.rtt;
        Box::pin(async move {
            let addr = uri.authority().map(|a| a.to_string()).unwrap_or_default();
            sleep(rtt).await; // the SYN and its answer
            let tcp = TcpStream::connect(addr).await?;
            tcp.set_nodelay(true)?;
            if rtt.is_zero() {
                return Ok(TokioIo::new(Stream::Direct(tcp)));
            }
            let (near, far) = tokio::io::duplex(1 << 20);
            let (far_read, far_write) = tokio::io::split(far);
            let (tcp_read, tcp_write) = tcp.into_split();
            tokio::spawn(delay(far_read, tcp_write, rtt / 2));
            tokio::spawn(delay(tcp_read, far_write, rtt / 2));
            Ok(TokioIo::new(Stream::Delayed(near)))
        })
    }
}

/// Moves bytes, each `by` after it came.
async fn delay(
    mut from: impl AsyncRead + Unpin + Send + 'static,
    mut to: impl AsyncWrite + Unpin,
    by: Duration,
) {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(1024);
    tokio::spawn(async move {
        let mut buf = vec![0; 64 * 1024];
        while let Ok(n @ 1..) = from.read(&mut buf).await {
            let due = Instant::now() + by;
            if sender.send((due, buf[..n].to_vec())).await.is_err() {
                return;
            }
        }
    });
    while let Some((due, bytes)) = receiver.recv().await {
        sleep_until(due).await;
        if to.write_all(&bytes).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await; // the other side may be gone
}

/// A connection over the link.
pub enum Stream {
    Direct(TcpStream),
    Delayed(DuplexStream),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Direct(io) => Pin::new(io).poll_read(cx, buf),
            Stream::Delayed(io) => Pin::new(io).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Direct(io) => Pin::new(io).poll_write(cx, buf),
            Stream::Delayed(io) => Pin::new(io).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Direct(io) => Pin::new(io).poll_flush(cx),
            Stream::Delayed(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Direct(io) => Pin::new(io).poll_shutdown(cx),
            Stream::Delayed(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}

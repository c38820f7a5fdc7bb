//! A slow link inside the process: a connector whose connections cost a full
//! round trip to set up, and whose bytes arrive half a round trip late.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tower_service::Service;

use crate::Failure;

/// hyper-util's connector with a long way to go.
#[derive(Clone)]
pub struct SlowLink {
    tcp: HttpConnector,
    rtt: Duration,
}

impl SlowLink {
    pub fn new(rtt: Duration) -> SlowLink {
        let tcp = crate::connector();
        SlowLink { tcp, rtt }
    }
}

impl Service<Uri> for SlowLink {
    type Response = TokioIo<SlowStream>;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Failure>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.tcp.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (connect, rtt) = (self.tcp.call(uri), self.rtt);
        Box::pin(async move {
            sleep(rtt).await; // the SYN and its answer
            let tcp = connect.await?.into_inner();
            let (near, far) = tokio::io::duplex(1 << 20);
            let (far_read, far_write) = tokio::io::split(far);
            let (tcp_read, tcp_write) = tcp.into_split();
            tokio::spawn(carry(far_read, tcp_write, rtt / 2));
            tokio::spawn(carry(tcp_read, far_write, rtt / 2));
            Ok(TokioIo::new(SlowStream(near)))
        })
    }
}

/// One direction: each byte, and the end, arrives `delay` after it was sent.
async fn carry(
    from: impl AsyncRead + Unpin + Send + 'static,
    mut to: impl AsyncWrite + Unpin,
    delay: Duration,
) {
    let (sender, mut under_way) = mpsc::channel(1024);
    tokio::spawn(depart(from, sender, delay));
    while let Some((due, bytes)) = under_way.recv().await {
        sleep_until(due).await;
        if bytes.is_empty() || to.write_all(&bytes).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await; // the other side may be gone
}

/// Sends what it reads with the time when it is due; an empty one at the end.
async fn depart(
    mut from: impl AsyncRead + Unpin,
    to: mpsc::Sender<(Instant, Vec<u8>)>,
    delay: Duration,
) {
    let mut buf = vec![0; 64 * 1024];
    loop {
        let n = from.read(&mut buf).await.unwrap_or(0);
        let packet = (Instant::now() + delay, buf[..n].to_vec());
        if to.send(packet).await.is_err() || n == 0 {
            return;
        }
    }
}

/// The near end of a connection over the link.
pub struct SlowStream(DuplexStream);

impl Connection for SlowStream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for SlowStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for SlowStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

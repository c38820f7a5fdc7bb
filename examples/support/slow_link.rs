//! A slow link inside the process: a connector whose connections cost a full
//! round trip to set up, and whose bytes arrive half a round trip late.

#[path = "../../tests/support/stream.rs"]
mod stream;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper_util::client::legacy::connect::{Connected, HttpConnector};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tower_service::Service;

use self::stream::Stream;
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
    type Response = Stream<DuplexStream>;
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
            Ok(Stream::new(TokioIo::new(near), |_| Connected::new()))
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

//! A slow link in virtual time: a connector whose connections cost a full round
//! trip to set up, and whose bytes arrive half a round trip late.
//!
//! For tests whose time is paused: what they measure is exact.

#[path = "stream.rs"]
pub mod stream;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use hyper::Uri;
use hyper_util::client::legacy::connect::Connected;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tower_service::Service;

use stream::Stream;

pub const RTT: Duration = Duration::from_millis(80);

/// Bytes that one end may write before the link takes them.
const BUFFER: usize = 1 << 20;

/// The connector. Its clones are one link.
#[derive(Clone)]
pub struct Link {
    far: mpsc::UnboundedSender<DuplexStream>,
    dials: Arc<AtomicUsize>,
}

impl Link {
    /// A link, and the far ends of its connections as they are dialled.
    pub fn new() -> (Link, mpsc::UnboundedReceiver<DuplexStream>) {
        let (far, ends) = mpsc::unbounded_channel();
        let dials = Arc::default();
        (Link { far, dials }, ends)
    }

    /// How often it was asked to connect.
    pub fn dials(&self) -> usize {
        self.dials.load(Ordering::Relaxed)
    }
}

impl Service<Uri> for Link {
    type Response = Stream<DuplexStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        self.dials.fetch_add(1, Ordering::Relaxed);
        let server = self.far.clone();
        Box::pin(async move {
            sleep(RTT).await; // the SYN and its answer
            let (near, near_end) = tokio::io::duplex(BUFFER);
            let (far, far_end) = tokio::io::duplex(BUFFER);
            let (near_read, near_write) = tokio::io::split(near_end);
            let (far_read, far_write) = tokio::io::split(far_end);
            tokio::spawn(delay(near_read, far_write));
            tokio::spawn(delay(far_read, near_write));
            let refused = |_| io::ErrorKind::ConnectionRefused;
            server.send(far).map_err(refused)?;
            Ok(Stream::new(TokioIo::new(near), |_| Connected::new()))
        })
    }
}

/// Moves bytes, each half a round trip after it came.
async fn delay(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
    let (late, mut due) = mpsc::unbounded_channel();
    let read = async move {
        let mut bytes = BytesMut::with_capacity(BUFFER);
        while let Ok(1..) = from.read_buf(&mut bytes).await {
            let _ = late.send((Instant::now() + RTT / 2, bytes.split())); // the far end may be gone
            bytes.reserve(BUFFER);
        }
    };
    let write = async move {
        while let Some((at, bytes)) = due.recv().await {
            sleep_until(at).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await; // the far end may be gone
    };
    tokio::join!(read, write);
}

//! A virtual network to one server, on a paused clock: connections that are
//! slow, split what they carry, stall and break.
#![allow(dead_code)] // each test file uses a part

use std::future::{Future, pending};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, split};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep;
use tower_service::Service;

/// Bytes that one end may write before the network takes them.
const BUFFER: usize = 32 << 10;

/// How the network is now.
#[derive(Clone, Debug)]
pub struct Conditions {
    /// From one end to the other.
    pub delay: Duration,
    /// Bytes that are carried at once.
    pub piece: usize,
    /// What is sent stays on its way.
    pub stalled: bool,
    /// Dials are refused.
    pub refuses: bool,
    /// Dials are not answered.
    pub silent: bool,
}

impl Default for Conditions {
    fn default() -> Self {
        Conditions {
            delay: Duration::from_millis(1),
            piece: BUFFER,
            stalled: false,
            refuses: false,
            silent: false,
        }
    }
}

/// The connector. Its clones are one network.
#[derive(Clone)]
pub struct Network {
    conditions: Arc<watch::Sender<Conditions>>,
    far: mpsc::UnboundedSender<DuplexStream>,
    /// Dropping one cuts its connection.
    connections: Arc<Mutex<Vec<oneshot::Sender<()>>>>,
}

impl Network {
    /// A network, and the far ends of its connections as they are dialled.
    pub fn new() -> (Network, mpsc::UnboundedReceiver<DuplexStream>) {
        let (far, ends) = mpsc::unbounded_channel();
        let network = Network {
            conditions: Arc::new(watch::Sender::default()),
            far,
            connections: Arc::default(),
        };
        (network, ends)
    }

    pub fn change(&self, change: impl FnOnce(&mut Conditions)) {
        self.conditions.send_modify(change);
    }

    /// Breaks one of the connections that there are.
    pub fn cut(&self, nth: usize) {
        let mut connections = self.connections.lock().unwrap();
        connections.retain(|cut| !cut.is_closed());
        if !connections.is_empty() {
            let nth = nth % connections.len();
            connections.swap_remove(nth);
        }
    }

    /// Keeps the connections that there are, also when the network is dropped.
    pub fn hold(&self) -> impl Sized + use<> {
        self.connections.clone()
    }

    fn connect(&self) -> Option<DuplexStream> {
        let (near, near_end) = tokio::io::duplex(BUFFER);
        let (far, far_end) = tokio::io::duplex(BUFFER);
        let (cut, is_cut) = oneshot::channel();
        self.connections.lock().unwrap().push(cut);
        let (near_read, near_write) = split(near_end);
        let (far_read, far_write) = split(far_end);
        let up = carry(near_read, far_write, self.conditions.subscribe());
        let down = carry(far_read, near_write, self.conditions.subscribe());
        tokio::spawn(async move {
            tokio::select! {
                biased;
                _ = is_cut => {}
                _ = async { tokio::join!(up, down) } => {}
            }
        });
        self.far.send(far).ok()?;
        Some(near)
    }
}

/// One direction of a connection.
async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut conditions: watch::Receiver<Conditions>,
) {
    let mut buf = vec![0; BUFFER];
    loop {
        let (piece, delay) = {
            let now = conditions.borrow();
            (now.piece, now.delay)
        };
        let Ok(n @ 1..) = from.read(&mut buf[..piece]).await else {
            break;
        };
        sleep(delay).await;
        if conditions.wait_for(|now| !now.stalled).await.is_err() {
            return;
        }
        if to.write_all(&buf[..n]).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await; // the far end may be gone
}

impl Service<Uri> for Network {
    type Response = TokioIo<DuplexStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let network = self.clone();
        Box::pin(async move {
            let now = network.conditions.borrow().clone();
            sleep(now.delay * 2).await; // the SYN and its answer
            if now.silent {
                pending::<()>().await;
            }
            let near = match now.refuses {
                true => None,
                false => network.connect(),
            };
            near.map(TokioIo::new)
                .ok_or_else(|| io::ErrorKind::ConnectionRefused.into())
        })
    }
}

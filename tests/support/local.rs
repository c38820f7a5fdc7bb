//! A client and servers that are joined in memory, for a clock that is paused.
#![allow(dead_code)]

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper_util::rt::TokioIo;
use tcpchan::client::{ConnectError, Multiplex};
use tcpchan::{Channel, Config, Connection};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, copy_bidirectional, duplex};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tower::Service;

/// What happens to a dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Up,
    Refused,
    Hangs,
    Panics,
    /// The connection is up and ends without an answer.
    Deaf,
    /// The connection is up and carries nothing.
    Silent,
}

/// A connector to an echo server in memory, which a test may spoil.
#[derive(Clone)]
pub struct Net(Arc<Mutex<Inner>>);

struct Inner {
    way: Way,
    /// How long a dial takes.
    takes: Duration,
    dials: Vec<Instant>,
    links: Vec<oneshot::Sender<()>>,
    servers: Vec<Connection>,
    config: Config,
}

impl Net {
    pub fn new(config: Config) -> Net {
        Net(Arc::new(Mutex::new(Inner {
            way: Way::Up,
            takes: Duration::from_millis(1),
            dials: Vec::new(),
            links: Vec::new(),
            servers: Vec::new(),
            config,
        })))
    }

    pub fn set(&self, way: Way) {
        self.0.lock().unwrap().way = way;
    }

    pub fn takes(&self, time: Duration) {
        self.0.lock().unwrap().takes = time;
    }

    /// When each dial began.
    pub fn dials(&self) -> Vec<Instant> {
        self.0.lock().unwrap().dials.clone()
    }

    /// The server's side of each connection.
    pub fn servers(&self) -> Vec<Connection> {
        self.0.lock().unwrap().servers.clone()
    }

    /// From now on no byte arrives on the connections that are up, and nobody
    /// is told.
    pub fn black_hole(&self) {
        for cut in self.0.lock().unwrap().links.drain(..) {
            let _ = cut.send(());
        }
    }

    fn connect(&self) -> DuplexStream {
        let (near, mut left) = duplex(64 * 1024);
        let (mut right, far) = duplex(64 * 1024);
        let mut inner = self.0.lock().unwrap();
        let server = Connection::server(far, inner.config.clone());
        tokio::spawn(echo(server.clone()));
        inner.servers.push(server);
        let (cut, is_cut) = oneshot::channel();
        inner.links.push(cut);
        tokio::spawn(async move {
            tokio::select! {
                biased;
                // Both ends stay open.
                Ok(()) = is_cut => std::future::pending().await,
                _ = copy_bidirectional(&mut left, &mut right) => {}
            }
        });
        near
    }
}

async fn echo(server: Connection) {
    while let Some(channel) = server.accept().await {
        tokio::spawn(async move {
            let (mut reader, mut writer) = channel.into_split();
            let _ = tokio::io::copy(&mut reader, &mut writer).await;
            let _ = writer.shutdown().await;
        });
    }
}

/// A channel to the echo server.
pub async fn open(multiplex: &Multiplex<Net>) -> Result<Channel, ConnectError> {
    multiplex
        .clone()
        .call(Uri::from_static("http://here/"))
        .await
}

/// Sends a byte and waits for it to come back.
pub async fn ping(channel: &mut Channel) -> io::Result<()> {
    channel.write_all(b"!").await?;
    match channel.read_u8().await? {
        b'!' => Ok(()),
        other => panic!("{other} came back"),
    }
}

impl Service<Uri> for Net {
    type Response = TokioIo<DuplexStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let net = self.clone();
        let takes = {
            let mut inner = net.0.lock().unwrap();
            inner.dials.push(Instant::now());
            inner.takes
        };
        Box::pin(async move {
            tokio::time::sleep(takes).await;
            let way = net.0.lock().unwrap().way;
            match way {
                Way::Up => Ok(TokioIo::new(net.connect())),
                Way::Deaf => Ok(TokioIo::new(duplex(64 * 1024).0)),
                Way::Silent => {
                    let stream = net.connect();
                    net.black_hole();
                    Ok(TokioIo::new(stream))
                }
                Way::Refused => Err(io::ErrorKind::ConnectionRefused.into()),
                Way::Hangs => std::future::pending().await,
                Way::Panics => panic!("the connector panics"),
            }
        })
    }
}

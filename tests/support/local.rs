//! A client and servers that are joined in memory, for a clock that is paused.
#![allow(dead_code)]

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper_util::rt::TokioIo;
use tcpchan::client::{ConnectError, Multiplex};
use tcpchan::server::Acceptor;
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
    /// The connection is up and answers, and ends after this time.
    Brief(Duration),
    /// The connection is up, and the server asks for no more channels at once.
    Drains,
}

/// What becomes of a connection that is up, while both of its ends stay open.
enum Fate {
    /// No byte arrives any more.
    Lost,
    /// So many bytes a second reach the server, and none the client.
    Slow(usize),
}

/// A connector to an echo server in memory, which a test may spoil.
#[derive(Clone)]
pub struct Net(Arc<Mutex<Inner>>);

struct Inner {
    way: Way,
    /// How long a dial takes.
    takes: Duration,
    /// How long the next dials take instead.
    next: VecDeque<Duration>,
    dials: Vec<Instant>,
    links: Vec<oneshot::Sender<Fate>>,
    servers: Vec<Connection>,
    config: Config,
}

impl Net {
    pub fn new(config: Config) -> Net {
        Net(Arc::new(Mutex::new(Inner {
            way: Way::Up,
            takes: Duration::from_millis(1),
            next: VecDeque::new(),
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

    /// How long each of the next dials takes.
    pub fn takes_next(&self, times: &[Duration]) {
        self.0.lock().unwrap().next.extend(times);
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
        self.hurt(|| Fate::Lost);
    }

    /// From now on the connections that are up take so many bytes a second,
    /// and nothing comes back.
    pub fn slow(&self, rate: usize) {
        self.hurt(|| Fate::Slow(rate));
    }

    fn hurt(&self, fate: impl Fn() -> Fate) {
        for link in self.0.lock().unwrap().links.drain(..) {
            let _ = link.send(fate());
        }
    }

    fn newest(&self) -> Connection {
        self.servers().pop().unwrap()
    }

    fn connect(&self) -> DuplexStream {
        let (near, mut left) = duplex(64 * 1024);
        let (mut right, far) = duplex(64 * 1024);
        let mut inner = self.0.lock().unwrap();
        let server = Connection::server(far, inner.config.clone());
        tokio::spawn(echo(server.clone()));
        inner.servers.push(server);
        let (link, fate) = oneshot::channel();
        inner.links.push(link);
        tokio::spawn(async move {
            let fate = tokio::select! {
                biased;
                Ok(fate) = fate => fate,
                _ = copy_bidirectional(&mut left, &mut right) => return,
            };
            match fate {
                Fate::Lost => std::future::pending().await,
                Fate::Slow(rate) => crawl(left, right, rate).await,
            }
        });
        near
    }
}

async fn crawl(mut from: DuplexStream, to: DuplexStream, rate: usize) {
    let (mut answers, mut to) = tokio::io::split(to);
    tokio::spawn(async move { tokio::io::copy(&mut answers, &mut tokio::io::sink()).await });
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    let mut bytes = vec![0; rate / 10];
    loop {
        tick.tick().await;
        let n = from.read(&mut bytes).await.unwrap_or(0);
        if n == 0 || to.write_all(&bytes[..n]).await.is_err() {
            return std::future::pending().await;
        }
    }
}

async fn echo(server: Connection) {
    while let Some(channel) = server.accept().await {
        tokio::spawn(echo_one(channel));
    }
}

/// An echo server over TCP.
pub async fn echo_all(mut acceptor: Acceptor) {
    loop {
        let (channel, _) = acceptor.accept().await;
        tokio::spawn(echo_one(channel));
    }
}

async fn echo_one(channel: Channel) {
    let (mut reader, mut writer) = channel.into_split();
    let _ = tokio::io::copy(&mut reader, &mut writer).await;
    let _ = writer.shutdown().await;
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
            inner.next.pop_front().unwrap_or(inner.takes)
        };
        Box::pin(async move {
            tokio::time::sleep(takes).await;
            let way = net.0.lock().unwrap().way;
            match way {
                Way::Up => Ok(TokioIo::new(net.connect())),
                Way::Deaf => Ok(TokioIo::new(duplex(64 * 1024).0)),
                Way::Silent => {
                    let stream = net.connect();
                    let link = net.0.lock().unwrap().links.pop().unwrap();
                    let _ = link.send(Fate::Lost);
                    Ok(TokioIo::new(stream))
                }
                Way::Brief(life) => {
                    let stream = net.connect();
                    let server = net.newest();
                    tokio::spawn(async move {
                        tokio::time::sleep(life).await;
                        server.close("the server ends");
                    });
                    Ok(TokioIo::new(stream))
                }
                Way::Drains => {
                    let stream = net.connect();
                    net.newest().drain();
                    Ok(TokioIo::new(stream))
                }
                Way::Refused => Err(io::ErrorKind::ConnectionRefused.into()),
                Way::Hangs => std::future::pending().await,
                Way::Panics => panic!("the connector panics"),
            }
        })
    }
}

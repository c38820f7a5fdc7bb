//! After an error of its listener an acceptor waits a while, and for nothing longer
//! than it must. In virtual time.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use tcpchan::server::Acceptor;
use tcpchan::{Config, Connection};
#[cfg(feature = "proxy-protocol")]
use tokio::io::AsyncReadExt;
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::started::started;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Far below any pause.
const AT_ONCE: Duration = Duration::from_millis(5);

type Next = io::Result<(DuplexStream, SocketAddr)>;

struct Incoming {
    next: mpsc::UnboundedReceiver<Next>,
    /// Closed when the stream is dropped.
    _alive: mpsc::Sender<()>,
}

impl Stream for Incoming {
    type Item = Next;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Next>> {
        self.next.poll_recv(cx)
    }
}

struct Server {
    to: mpsc::UnboundedSender<Next>,
    alive: mpsc::Receiver<()>,
    acceptor: Acceptor,
}

impl Server {
    fn new() -> Server {
        let (to, next) = mpsc::unbounded_channel();
        let (_alive, alive) = mpsc::channel(1);
        let config = Config::default().handshake_timeout(HOUR).unwrap();
        let acceptor = Acceptor::from_incoming(Incoming { next, _alive }).with_config(config);
        let acceptor = started(acceptor);
        Server {
            to,
            alive,
            acceptor,
        }
    }

    fn comes(&self) -> DuplexStream {
        let (near, far) = duplex(1 << 16);
        let addr = SocketAddr::from(([10, 0, 0, 1], 1));
        self.to.send(Ok((far, addr))).unwrap();
        near
    }

    /// What a listener says that has no file descriptors left.
    async fn fails(&self) {
        self.to.send(Err(io::Error::other("too many"))).unwrap();
        sleep(Duration::from_millis(1)).await;
    }

    /// After how long a peer that comes now is served.
    async fn serves(&mut self) -> Duration {
        let start = Instant::now();
        let client = Connection::client(self.comes(), Config::default());
        let mut channel = client.open().await.unwrap();
        channel.write_all(b"hello").await.unwrap();
        self.acceptor.accept().await;
        start.elapsed()
    }
}

#[tokio::test(start_paused = true)]
async fn after_an_error_the_listener_is_left_alone_for_a_second() {
    let mut server = Server::new();
    server.fails().await;
    let took = server.serves().await;
    assert!(
        took > SECOND - AT_ONCE && took < SECOND + AT_ONCE,
        "{took:?}"
    );
}

/// As tokio says it where the system tells no address: macOS, of a connection that was reset.
#[tokio::test(start_paused = true)]
async fn a_connection_that_was_reset_before_it_was_accepted_holds_up_no_other() {
    let mut server = Server::new();
    let error = io::ErrorKind::InvalidInput.into();
    server.to.send(Err(error)).unwrap();
    sleep(Duration::from_millis(1)).await;
    let took = server.serves().await;
    assert!(took < AT_ONCE, "{took:?}");
}

/// As Linux says it of one that was shut down: else the acceptor would ask it without an end.
#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn a_listener_that_says_it_does_not_listen_is_left_alone_for_a_second() {
    const EINVAL: i32 = 22;
    let mut server = Server::new();
    let error = io::Error::from_raw_os_error(EINVAL);
    server.to.send(Err(error)).unwrap();
    sleep(Duration::from_millis(1)).await;
    let took = server.serves().await;
    assert!(took > SECOND - AT_ONCE, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_the_pause() {
    let mut server = Server::new();
    server.fails().await;
    let start = Instant::now();
    let drain = server.acceptor.drain_handle();
    drain.drain(HOUR);
    drain.drained().await;
    drain.closed().await;
    assert!(server.alive.recv().await.is_none());
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_drop_of_the_acceptor_ends_the_pause() {
    let Server {
        to,
        mut alive,
        acceptor,
    } = Server::new();
    to.send(Err(io::Error::other("too many"))).unwrap();
    sleep(Duration::from_millis(1)).await;
    let start = Instant::now();
    drop(acceptor);
    assert!(alive.recv().await.is_none());
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_a_silent_peer_gave_back_is_used_at_once() {
    let mut server = Server::new();
    let _silent = server.comes();
    sleep(2 * SECOND).await;
    server.fails().await;
    let took = server.serves().await;
    assert!(took < AT_ONCE, "{took:?}");
}

/// It says nothing of file descriptors.
#[cfg(feature = "proxy-protocol")]
#[tokio::test(start_paused = true)]
async fn an_error_of_one_connection_sends_no_other_away() {
    let (to, next) = mpsc::unbounded_channel();
    let config = Config::default().handshake_timeout(HOUR).unwrap();
    let incoming = tokio_stream::wrappers::UnboundedReceiverStream::new(next);
    let _acceptor = started(
        Acceptor::from_incoming(incoming)
            .with_config(config)
            .with_proxy_protocol(Default::default()),
    );
    let (mut silent, far) = duplex(1);
    let addr = SocketAddr::from(([10, 0, 0, 1], 1));
    to.send(Ok((far, addr))).unwrap();
    sleep(2 * SECOND).await;
    to.send(Err(io::ErrorKind::ConnectionAborted.into()))
        .unwrap();
    let end = tokio::time::timeout(SECOND, silent.read_u8()).await;
    assert!(end.is_err(), "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_ends_during_the_pause_makes_room() {
    let mut server = Server::new();
    let other = Connection::client(server.comes(), Config::default());
    sleep(SECOND / 10).await;
    server.fails().await;
    other.close("");
    let took = server.serves().await;
    assert!(took < AT_ONCE, "{took:?}");
}

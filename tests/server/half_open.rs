//! Peers that connect and say nothing keep nobody out, in virtual time.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tcpchan::server::Acceptor;
use tcpchan::{Config, Connection};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use crate::started::started;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

struct Incoming(mpsc::UnboundedReceiver<(DuplexStream, SocketAddr)>);

impl futures_core::Stream for Incoming {
    type Item = io::Result<(DuplexStream, SocketAddr)>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map(|io| io.map(Ok))
    }
}

/// An acceptor with so many places, where silence alone is held against nobody.
struct Server {
    to: mpsc::UnboundedSender<(DuplexStream, SocketAddr)>,
    acceptor: Acceptor,
}

impl Server {
    fn new(places: u32) -> Server {
        let config = Config::default().max_handshakes(places);
        let config = config.and_then(|config| config.handshake_timeout(HOUR));
        let (to, incoming) = mpsc::unbounded_channel();
        let acceptor = Acceptor::from_incoming(Incoming(incoming)).with_config(config.unwrap());
        let acceptor = started(acceptor);
        Server { to, acceptor }
    }

    /// A peer from this address, and time for the acceptor to take it.
    async fn connect(&self, from: &str) -> DuplexStream {
        let (near, far) = duplex(1 << 16);
        let from = SocketAddr::new(from.parse().unwrap(), 1);
        self.to.send((far, from)).unwrap();
        sleep(Duration::from_millis(1)).await;
        near
    }

    /// A peer that says its hello is served; after how long.
    async fn serves(&mut self, io: DuplexStream) -> Duration {
        let start = Instant::now();
        let client = Connection::client(io, Config::default());
        let mut channel = client.open().await.unwrap();
        channel.write_all(b"hello").await.unwrap();
        let (mut accepted, _) = self.acceptor.accept().await;
        assert_eq!(accepted.read_u8().await.unwrap(), b'h');
        start.elapsed()
    }
}

/// Whether the acceptor has closed it.
async fn is_closed(peer: &mut DuplexStream) -> bool {
    let closed = timeout(Duration::from_millis(1), peer.read_u8()).await;
    closed.is_ok_and(|read| read.is_err())
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_silent_for_a_second_goes_when_another_comes() {
    let mut server = Server::new(2);
    let mut first = server.connect("10.0.0.1").await;
    let mut second = server.connect("10.0.0.1").await;
    sleep(SECOND).await;
    let honest = server.connect("10.0.0.1").await;
    assert!(server.serves(honest).await < SECOND / 10);
    assert!(is_closed(&mut first).await);
    assert!(!is_closed(&mut second).await);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_has_just_come_is_not_sent_away() {
    let mut server = Server::new(2);
    let mut first = server.connect("10.0.0.1").await;
    let mut second = server.connect("10.0.0.1").await;
    let honest = server.connect("10.0.0.1").await;
    assert!(!is_closed(&mut first).await && !is_closed(&mut second).await);
    let waited = server.serves(honest).await;
    assert!(SECOND / 2 < waited && waited <= SECOND, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn silence_is_borne_while_there_is_room() {
    let server = Server::new(2);
    let mut first = server.connect("10.0.0.1").await;
    sleep(HOUR / 2).await;
    assert!(!is_closed(&mut first).await);
}

#[tokio::test(start_paused = true)]
async fn a_crowd_that_speaks_is_served_at_once_and_whole() {
    let mut server = Server::new(1);
    let start = Instant::now();
    for _ in 0..100 {
        let honest = server.connect("10.0.0.1").await;
        server.serves(honest).await;
    }
    assert!(start.elapsed() < SECOND);
}

#[tokio::test(start_paused = true)]
async fn the_network_with_most_silent_peers_loses_one_first() {
    for (crowd, also_crowd, alone) in [
        ("10.0.0.1", "::ffff:10.0.0.1", "10.0.0.2"),
        ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"),
    ] {
        let mut server = Server::new(3);
        let mut alone = server.connect(alone).await;
        let mut first = server.connect(crowd).await;
        let mut second = server.connect(also_crowd).await;
        sleep(SECOND).await;
        let honest = server.connect(crowd).await;
        server.serves(honest).await;
        assert!(is_closed(&mut first).await);
        assert!(!is_closed(&mut alone).await && !is_closed(&mut second).await);
    }
}

/// They come so quickly that there is always a full table of young ones.
#[tokio::test(start_paused = true)]
async fn a_flood_of_silent_peers_from_one_network_delays_no_other_and_is_refused() {
    let mut server = Server::new(8);
    let mut flood = Vec::new();
    for _ in 0..16 {
        flood.push(server.connect("10.0.0.1").await);
    }
    sleep(SECOND).await; // the first eight have had their time, and go for the others
    let mut young = flood.split_off(8);
    for peer in &mut flood {
        assert!(is_closed(peer).await);
    }
    for _ in 0..3 {
        let honest = server.connect("10.0.0.2").await;
        assert!(server.serves(honest).await < SECOND / 10);
    }
    assert!(is_closed(&mut young[0]).await, "the oldest of the flood");
    assert!(!is_closed(&mut young[7]).await);
    let mut further = server.connect("10.0.0.1").await;
    let mut last = server.connect("10.0.0.1").await;
    assert!(!is_closed(&mut further).await, "there was room");
    assert!(is_closed(&mut last).await);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_leaves_gives_its_place_to_another() {
    let mut server = Server::new(1);
    let silent = server.connect("10.0.0.1").await;
    let honest = server.connect("10.0.0.1").await;
    drop(silent);
    assert!(server.serves(honest).await < SECOND / 10);
}

#[tokio::test(start_paused = true)]
async fn a_hello_that_comes_byte_by_byte_does_not_prolong_its_time() {
    let server = Server::new(2);
    let start = Instant::now();
    let mut dribbles = server.connect("10.0.0.1").await;
    let hello = [1, 1, 0xFE, 0xED, 0xBA, 0xCC, 1, 5, 0, 0, 0, 0, 0, 16];
    for byte in hello {
        dribbles.write_u8(byte).await.unwrap();
        sleep(HOUR / 15).await;
    }
    let mut answer = Vec::new();
    let closed = timeout(2 * HOUR, dribbles.read_to_end(&mut answer)).await;
    closed.expect("to be closed").unwrap();
    assert_eq!(start.elapsed().as_secs(), HOUR.as_secs());
}

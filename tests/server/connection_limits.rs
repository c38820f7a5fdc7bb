//! How many connections may come: beyond a limit they are refused, wait or are held back.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use tcpchan::server::{Acceptor, ConnectionLimits, SharedPort};
use tcpchan::{Config, Connection};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::StreamExt;

use crate::guard::within;
use crate::rude::violation;

const SECOND: Duration = Duration::from_secs(1);

struct Incoming(mpsc::UnboundedReceiver<(DuplexStream, SocketAddr)>);

impl futures_core::Stream for Incoming {
    type Item = io::Result<(DuplexStream, SocketAddr)>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map(|io| io.map(Ok))
    }
}

/// An acceptor in virtual time, and peers of any address.
struct Server {
    to: mpsc::UnboundedSender<(DuplexStream, SocketAddr)>,
    acceptor: Acceptor,
}

/// A client, and the channel that keeps its connection.
type Client = (Connection, tcpchan::Channel, tcpchan::Channel);

impl Server {
    fn new(limits: ConnectionLimits) -> Server {
        let (to, incoming) = mpsc::unbounded_channel();
        let acceptor = Acceptor::from_incoming(Incoming(incoming)).with_connection_limits(limits);
        Server { to, acceptor }
    }

    fn connect(&self, from: &str) -> DuplexStream {
        let (near, far) = duplex(1 << 16);
        let from = SocketAddr::new(from.parse().unwrap(), 1);
        self.to.send((far, from)).unwrap();
        near
    }

    /// An honest client from there, or none if it is refused.
    async fn serves(&mut self, from: &str) -> Option<Client> {
        let client = Connection::client(self.connect(from), Config::default());
        let mut channel = client.open().await.ok()?;
        channel.write_all(b"?").await.ok()?;
        tokio::select! {
            (accepted, _) = self.acceptor.accept() => Some((client, channel, accepted)),
            () = client.closed() => None,
        }
    }

    async fn is_refused(&mut self, from: &str) -> bool {
        self.serves(from).await.is_none()
    }

    /// A peer from there breaks a rule as soon as it is served.
    async fn violates(&mut self, from: &str) {
        self.says(from, &violation()).await;
    }

    /// A peer from there says this, and waits for the end.
    async fn says(&mut self, from: &str, bytes: &[u8]) {
        let mut peer = self.connect(from);
        let _ = peer.write_all(bytes).await;
        let end = async { while let Ok(1..) = peer.read(&mut [0; 64]).await {} };
        tokio::select! {
            () = end => {}
            _ = self.acceptor.accept() => unreachable!(),
        }
    }
}

fn limits() -> ConnectionLimits {
    ConnectionLimits::default()
}

#[tokio::test(start_paused = true)]
async fn a_connection_beyond_the_most_is_refused_until_another_ends() {
    let mut server = Server::new(limits().max_connections(2).unwrap());
    let first = server.serves("10.0.0.1").await.unwrap();
    let _second = server.serves("10.0.0.2").await.unwrap();
    assert!(server.is_refused("10.0.0.3").await);
    drop(first);
    sleep(SECOND).await;
    assert!(!server.is_refused("10.0.0.3").await);
}

#[tokio::test(start_paused = true)]
async fn a_network_beyond_its_most_leaves_the_rest_to_others() {
    let mut server = Server::new(limits().max_per_network(1).unwrap());
    let _one = server.serves("2001:db8::1").await.unwrap();
    assert!(server.is_refused("2001:db8::2").await);
    let _other = server.serves("2001:db8:0:1::1").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_beyond_the_rate_in_all_waits_its_turn() {
    let mut server = Server::new(limits().rate(10, 2).unwrap());
    let start = Instant::now();
    let mut served = Vec::new();
    for nth in 0..7 {
        served.push(server.serves(&format!("10.0.0.{nth}")).await.unwrap());
    }
    let took = start.elapsed();
    assert!((SECOND / 2..SECOND * 6 / 10).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_network_beyond_its_most_is_refused_though_the_rate_in_all_is_used_up() {
    let limits = limits().rate(1, 1).unwrap().max_per_network(1).unwrap();
    let mut server = Server::new(limits);
    let _first = server.serves("10.0.0.1").await.unwrap();
    let start = Instant::now();
    assert!(server.is_refused("10.0.0.1").await);
    assert!(start.elapsed() < SECOND / 10, "it waits");
    let _other = server.serves("10.0.0.2").await.unwrap();
    assert!(start.elapsed() < SECOND * 11 / 10, "it waits for those");
}

/// How many of these were refused by now.
async fn refused(peers: &mut [DuplexStream]) -> usize {
    let mut refused = 0;
    for peer in peers {
        let read = timeout(Duration::ZERO, peer.read_u8()).await;
        refused += usize::from(read.is_ok());
    }
    refused
}

#[tokio::test(start_paused = true)]
async fn others_have_their_turn_beside_a_network_that_uses_up_the_rate_in_all() {
    let mut server = Server::new(limits().rate(100, 1).unwrap());
    let mut flood: Vec<_> = (0..2_000).map(|_| server.connect("10.0.0.1")).collect();
    let start = Instant::now();
    let _other = server.serves("10.0.0.2").await.unwrap();
    assert!(start.elapsed() < 3 * SECOND, "{:?}", start.elapsed());
    // 256 wait.
    assert!(refused(&mut flood).await > 1_000);
}

#[tokio::test(start_paused = true)]
async fn a_crowd_from_many_networks_waits_and_none_of_it_is_refused() {
    let mut server = Server::new(limits().rate(1_000, 1).unwrap());
    let addr = |nth: u16| format!("10.0.{}.{}", nth / 100, nth % 100);
    let mut crowd: Vec<_> = (0..900).map(|nth| server.connect(&addr(nth))).collect();
    let _ = timeout(2 * SECOND, server.acceptor.accept()).await;
    assert_eq!(refused(&mut crowd).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_network_beyond_its_rate_is_refused_and_others_are_not() {
    let mut server = Server::new(limits().rate_per_network(1, 2).unwrap());
    assert!(!server.is_refused("10.0.0.1").await);
    assert!(!server.is_refused("10.0.0.1").await);
    assert!(server.is_refused("10.0.0.1").await);
    assert!(!server.is_refused("10.0.0.2").await);
    sleep(SECOND).await;
    assert!(!server.is_refused("10.0.0.1").await);
}

#[tokio::test(start_paused = true)]
async fn acceptors_with_clones_of_one_value_count_together() {
    let limits = limits().max_connections(1).unwrap();
    let mut public = Server::new(limits.clone());
    let mut admin = Server::new(limits.max_connections(2).unwrap());
    let _one = public.serves("10.0.0.1").await.unwrap();
    assert!(public.is_refused("10.0.0.2").await);
    let _two = admin.serves("10.0.0.2").await.unwrap();
    assert!(admin.is_refused("10.0.0.3").await);
}

#[tokio::test(start_paused = true)]
async fn a_load_balancer_that_is_exempt_answers_for_nobody() {
    let limits = limits().max_per_network(1).unwrap();
    let limits = limits.exempt("10.0.0.0".parse().unwrap(), 8).unwrap();
    let mut server = Server::new(limits);
    for _ in 0..20 {
        server.violates("10.0.0.1").await;
    }
    let _one = server.serves("10.0.0.1").await.unwrap();
    let start = Instant::now();
    let _two = server.serves("10.0.0.1").await.unwrap();
    assert!(start.elapsed() < SECOND / 10);
}

#[tokio::test(start_paused = true)]
async fn a_network_of_ipv4_in_the_form_of_ipv6_is_exempt_as_a_whole() {
    let limits = limits().max_per_network(1).unwrap();
    let limits = limits.exempt("::ffff:10.0.0.0".parse().unwrap(), 104);
    let mut server = Server::new(limits.unwrap());
    let _one = server.serves("10.1.2.3").await.unwrap();
    let _two = server.serves("10.1.2.3").await.unwrap();
    let _other = server.serves("11.1.2.3").await.unwrap();
    assert!(server.is_refused("11.1.2.3").await);
}

#[tokio::test(start_paused = true)]
async fn a_network_that_breaks_rules_again_and_again_is_held_back() {
    let mut server = Server::new(limits());
    let start = Instant::now();
    for _ in 0..20 {
        server.violates("10.0.0.1").await;
    }
    // Four are free, and the waits of the others grow up to half a second.
    let took = start.elapsed();
    assert!(took > 4 * SECOND, "{took:?}");
    let start = Instant::now();
    assert!(!server.is_refused("10.0.0.2").await);
    assert!(start.elapsed() < SECOND / 10, "another network waits");
    // An honest client of the same network.
    let start = Instant::now();
    assert!(!server.is_refused("10.0.0.1").await);
    assert!(start.elapsed() <= SECOND);
}

/// Each of these networks has to wait ten milliseconds.
#[tokio::test(start_paused = true)]
async fn so_many_connections_are_held_back_and_no_more() {
    const NETWORKS: u16 = 300;
    let mut server = Server::new(limits());
    let addr = |nth: u16| format!("10.0.{}.{}", nth / 100, nth % 100);
    for nth in 0..NETWORKS {
        for _ in 0..5 {
            server.violates(&addr(nth)).await;
        }
    }
    let mut peers: Vec<_> = (0..NETWORKS)
        .map(|nth| server.connect(&addr(nth)))
        .collect();
    sleep(Duration::from_millis(1)).await;
    assert_eq!(refused(&mut peers).await, usize::from(NETWORKS) - 256);
}

/// How often others run until an acceptor has taken so many connections, which are there all at
/// once, as in the backlog of a flood. Each has ended.
async fn turns_beside(flood: usize, limits: ConnectionLimits) -> usize {
    let addr = SocketAddr::from(([10, 0, 0, 1], 1));
    let left = Arc::new(AtomicUsize::new(flood));
    let counts = left.clone();
    let flood = (0..flood).map(move |_| {
        counts.fetch_sub(1, Relaxed);
        Ok((duplex(1).0, addr))
    });
    let flood = tokio_stream::iter(flood).chain(tokio_stream::pending());
    let mut acceptor = Acceptor::from_incoming(flood).with_connection_limits(limits);
    let turns = async {
        let mut turns = 0;
        while left.load(Relaxed) > 0 {
            tokio::task::yield_now().await;
            turns += 1;
        }
        turns
    };
    tokio::select! {
        turns = turns => turns,
        _ = acceptor.accept() => unreachable!(),
    }
}

#[tokio::test]
async fn others_run_while_a_flood_is_refused() {
    const FLOOD: usize = 10_000;
    let turns = turns_beside(FLOOD, limits().rate_per_network(1, 1).unwrap()).await;
    assert!(turns >= FLOOD / 16, "{turns}");
}

#[tokio::test]
async fn others_run_more_often_while_a_flood_is_served() {
    const FLOOD: usize = 1_000;
    let turns = turns_beside(FLOOD, limits()).await;
    assert!(turns >= FLOOD / 4, "{turns}");
}

#[tokio::test(start_paused = true)]
async fn a_violation_now_and_then_costs_nothing() {
    let mut server = Server::new(limits());
    for _ in 0..60 {
        sleep(SECOND).await;
        let start = Instant::now();
        server.violates("10.0.0.1").await;
        assert!(start.elapsed() < SECOND / 10);
    }
}

#[tokio::test(start_paused = true)]
async fn without_penalties_nobody_is_held_back() {
    let mut server = Server::new(limits().penalties(false));
    let start = Instant::now();
    for _ in 0..20 {
        server.violates("10.0.0.1").await;
    }
    assert!(start.elapsed() < SECOND);
}

/// As health checks and scanners do.
#[tokio::test(start_paused = true)]
async fn peers_that_come_and_go_without_a_word_have_broken_no_rule() {
    let mut server = Server::new(limits());
    for _ in 0..100 {
        drop(server.connect("10.0.0.1"));
        let _ = timeout(Duration::from_millis(1), server.acceptor.accept()).await;
    }
    let start = Instant::now();
    assert!(!server.is_refused("10.0.0.1").await);
    assert!(start.elapsed() < SECOND / 10);
}

/// A load balancer's health checks have its address, as all of its clients do.
#[tokio::test(start_paused = true)]
async fn peers_that_speak_another_protocol_are_not_held_back() {
    let client_hello = [0x16, 3, 1, 0, 4, 1, 0, 0, 0];
    let checks: [&[u8]; 4] = [
        b"GET /health HTTP/1.1\r\nhost: h\r\n\r\n",
        &client_hello,
        b"PROXY UNKNOWN\r\n",
        b"\x01\x00\x00",
    ];
    let mut server = Server::new(limits());
    for check in checks.iter().cycle().take(100) {
        let said = server.says("10.0.0.1", check);
        let _ = timeout(Duration::from_millis(1), said).await;
    }
    let start = Instant::now();
    assert!(!server.is_refused("10.0.0.1").await);
    assert!(start.elapsed() < SECOND / 10);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_another_protocol_is_refused_beyond_the_rate_of_its_network() {
    let mut server = Server::new(limits().rate_per_network(10, 20).unwrap());
    for _ in 0..20 {
        server.says("10.0.0.1", b"GET / HTTP/1.1\r\n\r\n").await;
    }
    assert!(server.is_refused("10.0.0.1").await);
}

/// A peer from this address of the loopback network.
async fn connect_from(from: u8, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    let addr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, from));
    socket.bind(SocketAddr::new(addr, 0))?;
    socket.connect(to).await
}

/// What a peer from there learns that connects now.
async fn error_of(from: u8, to: SocketAddr) -> io::Error {
    match connect_from(from, to).await {
        Ok(mut peer) => peer.read_u8().await.expect_err("to be refused"),
        Err(error) => error, // it was refused sooner
    }
}

/// It learns so at once, and no socket is left that waits.
#[tokio::test]
async fn who_is_refused_gets_a_reset() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let limits = limits().max_per_network(1).unwrap();
    let mut acceptor = Acceptor::new(listener).with_connection_limits(limits);
    let test = async {
        let _first = connect_from(2, addr).await.unwrap();
        let error = error_of(2, addr).await;
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    };
    within(async {
        tokio::select! {
            () = test => {}
            _ = acceptor.accept() => unreachable!(),
        }
    })
    .await;
}

/// Until the server of HTTP drops it.
#[tokio::test]
async fn connections_of_http_count_on_a_shared_port() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let limits = limits().max_connections(1).unwrap();
    let mut port = SharedPort::new(listener).with_connection_limits(limits);
    within(async {
        let mut first = TcpStream::connect(addr).await.unwrap();
        first.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let (http, _) = port.accept().await;
        let error = tokio::select! {
            error = error_of(1, addr) => error,
            _ = port.accept() => unreachable!(),
        };
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        drop(http);
        let mut third = TcpStream::connect(addr).await.unwrap();
        third.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        port.accept().await;
    })
    .await;
}

#[test]
fn what_can_not_work_is_refused() {
    let error = |limits: Result<ConnectionLimits, tcpchan::ConfigError>| {
        limits.expect_err("an error").to_string()
    };
    let most = i32::MAX as u32 + 1;
    let v4 = IpAddr::V4(Ipv4Addr::LOCALHOST);
    for (field, error) in [
        ("max_connections", error(limits().max_connections(0))),
        ("max_per_network", error(limits().max_per_network(most))),
        ("rate", error(limits().rate(0, 1))),
        ("burst", error(limits().rate(1, 0))),
        (
            "rate_per_network",
            error(limits().rate_per_network(most, 1)),
        ),
        ("ipv4 of prefixes", error(limits().prefixes(33, 64))),
        ("ipv6 of prefixes", error(limits().prefixes(32, 0))),
        ("prefix of exempt", error(limits().exempt(v4, 33))),
    ] {
        assert!(error.starts_with(field), "{error}");
    }
}

//! Thousands of peers that connect and say nothing, or a byte a second, over
//! real TCP: an honest client is served, and they are closed.
#![cfg(unix)]

use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tcpchan::server::Acceptor;
use tcpchan::{Channel, Config, Connection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::guard::within;

const PEERS: usize = 2_000;

/// An echo server that gives a hello this long, and so many places.
async fn serve(hello: Duration, places: u32) -> SocketAddr {
    let limits = getrlimit(Resource::Nofile);
    let current = limits.maximum;
    setrlimit(Resource::Nofile, Rlimit { current, ..limits }).unwrap();
    // The system forgets peers that its backlog has no room for.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = socket.listen(2 * PEERS as u32).unwrap();
    let config = Config::default().handshake_timeout(hello);
    let config = config.and_then(|config| config.max_handshakes(places));
    let mut acceptor = Acceptor::new(listener).with_config(config.unwrap());
    let addr = acceptor.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (channel, _) = acceptor.accept().await;
            tokio::spawn(echo(channel));
        }
    });
    addr
}

async fn echo(channel: Channel) {
    let (mut reader, mut writer) = tokio::io::split(channel);
    let _ = tokio::io::copy(&mut reader, &mut writer).await;
}

async fn crowd(addr: SocketAddr) -> Vec<TcpStream> {
    let mut dials = JoinSet::new();
    for _ in 0..PEERS {
        dials.spawn(TcpStream::connect(addr));
    }
    let peers = dials.join_all().await;
    peers.into_iter().map(Result::unwrap).collect()
}

async fn an_honest_client_is_served(addr: SocketAddr) {
    let stream = TcpStream::connect(addr).await.unwrap();
    // However busy the machine is, only `within` ends its wait for a place.
    let config = Config::default().handshake_timeout(Duration::from_secs(3600));
    let client = Connection::client(stream, config.unwrap());
    let mut channel = client.open().await.unwrap();
    channel.write_all(b"hello").await.unwrap();
    let mut answer = [0; 5];
    channel.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"hello");
}

async fn all_are_closed(peers: Vec<TcpStream>) {
    for mut peer in peers {
        let mut said = Vec::new();
        let _ = peer.read_to_end(&mut said).await; // a FIN or a RST
        assert!(said.is_empty());
    }
}

#[tokio::test]
async fn peers_that_say_nothing() {
    let addr = within(serve(Duration::from_secs(5), 1024)).await;
    let peers = within(crowd(addr)).await;
    within(an_honest_client_is_served(addr)).await;
    within(all_are_closed(peers)).await;
}

/// More places than peers, so that nobody goes but for its time.
#[tokio::test]
async fn peers_that_say_a_byte_a_second() {
    let addr = within(serve(Duration::from_secs(5), 1 << 20)).await;
    let mut peers = within(crowd(addr)).await;
    let mut dribble = tokio::time::interval(Duration::from_secs(1));
    for byte in [1, 1, 0xFE] {
        for peer in &mut peers {
            peer.write_u8(byte).await.unwrap();
        }
        within(an_honest_client_is_served(addr)).await;
        dribble.tick().await;
    }
    within(all_are_closed(peers)).await;
}

/// Silence is held against nobody here but for a place.
#[tokio::test]
async fn peers_that_would_be_silent_for_ever() {
    let addr = within(serve(Duration::from_secs(3600), 1024)).await;
    let peers = within(crowd(addr)).await;
    within(an_honest_client_is_served(addr)).await;
    drop(peers);
}

//! Peers that say nothing to a shared port, and have taken all file descriptors, give
//! them back; who comes then waits for no pause after that.
#![cfg(unix)]

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tcpchan::server::SharedPort;
use tcpchan::{Config, Connection};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

/// More than this process has open at the start.
const DESCRIPTORS: u64 = 40;

/// More than the port has descriptors for, and less than twice as many.
const PEERS: u64 = 40;

/// Alone in its file, since the limit is the whole process's. The clock moves when
/// nothing else does.
#[tokio::test(start_paused = true)]
async fn what_silent_peers_of_a_shared_port_gave_back_is_used_at_once() {
    let limits = getrlimit(Resource::Nofile);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let mut peers = Vec::new();
    for _ in 0..PEERS {
        peers.push(TcpStream::connect(addr).await.unwrap());
    }
    let honest = TcpStream::connect(addr).await.unwrap();
    let current = Some(DESCRIPTORS + PEERS);
    setrlimit(Resource::Nofile, Rlimit { current, ..limits }).unwrap();

    let start = Instant::now();
    let hour = Duration::from_secs(3600);
    let config = Config::default().handshake_timeout(hour);
    let mut port = SharedPort::new(listener).with_config(config.unwrap());
    let client = Connection::client(honest, Config::default());
    let mut channel = client.open().await.unwrap();
    channel.write_all(b"hello").await.unwrap();
    port.accept().await;
    // A pause until the silent ones have had their time.
    assert!(
        start.elapsed() < Duration::from_millis(1500),
        "{:?}",
        start.elapsed()
    );
}

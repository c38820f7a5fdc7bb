//! A server whose peers have taken all file descriptors goes on.
#![cfg(unix)]

#[path = "support/guard.rs"]
mod guard;

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tcpchan::server::Acceptor;
use tcpchan::{Config, Connection};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use guard::within;

/// More than this process has open at the start, and far fewer than an
/// acceptor has places.
const DESCRIPTORS: u64 = 40;

/// Fewer than the listener's backlog.
const PEERS: u64 = 100;

/// Alone in its file, since the limit is the whole process's.
#[tokio::test]
async fn silent_peers_that_took_all_descriptors_give_them_back() {
    let limits = getrlimit(Resource::Nofile);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    // The peers come before the limit, which is then too low for their other ends.
    let mut peers = Vec::new();
    for _ in 0..PEERS {
        peers.push(TcpStream::connect(addr).await.unwrap());
    }
    let honest = TcpStream::connect(addr).await.unwrap();
    let current = Some(DESCRIPTORS + PEERS);
    setrlimit(Resource::Nofile, Rlimit { current, ..limits }).unwrap();

    let hour = Duration::from_secs(3600);
    let config = Config::default().handshake_timeout(hour);
    let mut acceptor = Acceptor::new(listener).with_config(config.unwrap());
    let client = Connection::client(honest, Config::default());
    let mut channel = client.open().await.unwrap();
    channel.write_all(b"hello").await.unwrap();
    within(acceptor.accept()).await;
}

//! An acceptor takes a connection once there is memory for it.

use std::time::Duration;

use tcpchan::server::Acceptor;
use tcpchan::{Config, Connection, MemoryBudget};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// The least budget has room for the reserves of 32 connections, and the acceptor keeps one
/// for the connection that it waits for.
const ROOM: usize = 32;

async fn client(addr: std::net::SocketAddr) -> Connection {
    let tcp = TcpStream::connect(addr).await.unwrap();
    Connection::client(tcp, Config::default())
}

/// Whether the acceptor serves the client within that time.
async fn is_served(client: &Connection, acceptor: &mut Acceptor, within: Duration) -> bool {
    let mut channel = client.open().await.unwrap();
    channel.write_all(b"x").await.unwrap();
    let served = timeout(within, async {
        loop {
            let (mut accepted, _) = acceptor.accept().await;
            // One that was given up meanwhile fails.
            let answered =
                accepted.read_u8().await.is_ok() && accepted.write_all(b"y").await.is_ok();
            if answered && matches!(channel.read_u8().await, Ok(b'y')) {
                return;
            }
        }
    });
    served.await.is_ok()
}

#[tokio::test]
async fn a_new_connection_waits_until_another_has_ended() {
    let budget = MemoryBudget::new(1 << 20).unwrap();
    let config = Config::default().memory_budget(budget.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let mut acceptor = Acceptor::new(listener).with_config(config);
    let mut served = Vec::new();
    for _ in 0..ROOM {
        let client = client(addr).await;
        assert!(is_served(&client, &mut acceptor, Duration::from_secs(10)).await);
        served.push(client);
    }
    assert_eq!(budget.used(), budget.bytes());
    let late = client(addr).await;
    assert!(!is_served(&late, &mut acceptor, Duration::from_millis(100)).await);
    // Those that were there before are served as well as they were.
    for client in &served {
        assert!(is_served(client, &mut acceptor, Duration::from_secs(10)).await);
    }
    served.pop();
    assert!(is_served(&late, &mut acceptor, Duration::from_secs(10)).await);
}

/// They are fewer than may be half-open.
#[tokio::test(start_paused = true)]
async fn silent_peers_do_not_keep_all_the_memory() {
    let budget = MemoryBudget::new(1 << 20).unwrap();
    let hour = Duration::from_secs(3600);
    let config = Config::default().handshake_timeout(hour).unwrap();
    let (to, incoming) = tokio::sync::mpsc::unbounded_channel();
    let incoming = tokio_stream::wrappers::UnboundedReceiverStream::new(incoming);
    let mut acceptor =
        Acceptor::from_incoming(incoming).with_config(config.memory_budget(budget.clone()));
    let addr = std::net::SocketAddr::from(([10, 0, 0, 1], 1));
    let comes = || {
        let (near, far) = tokio::io::duplex(1 << 16);
        to.send(Ok((far, addr))).unwrap();
        near
    };
    let _silent: Vec<_> = (0..ROOM).map(|_| comes()).collect();
    let client = Connection::client(comes(), Config::default());
    assert!(is_served(&client, &mut acceptor, Duration::from_secs(5)).await);
}

#[tokio::test]
async fn an_acceptor_that_waits_for_memory_ends_when_it_drains() {
    let budget = MemoryBudget::new(1 << 20).unwrap();
    let config = Config::default().memory_budget(budget.clone());
    let holders: Vec<_> = (0..ROOM)
        .map(|_| Connection::client(tokio::io::duplex(64).0, config.clone()))
        .collect();
    assert_eq!(budget.used(), budget.bytes());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let mut acceptor = Acceptor::new(listener).with_config(config);
    let (waits, drain) = (client(addr).await, acceptor.drain_handle());
    assert!(!is_served(&waits, &mut acceptor, Duration::from_millis(100)).await);
    drain.drain(Duration::from_secs(5));
    timeout(Duration::from_secs(10), drain.closed())
        .await
        .unwrap();
    drop(holders);
}

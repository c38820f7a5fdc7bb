//! An acceptor takes a connection once there is memory for it.

use std::net::SocketAddr;
use std::time::Duration;

use tcpchan::proto::ChannelError;
use tcpchan::server::{Acceptor, ChannelLimits, ConnectionLimits};
use tcpchan::{Channel, Config, Connection, MemoryBudget};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

/// The least budget has room for the reserves of 32 connections, and the acceptor keeps one
/// for the connection that it waits for.
const ROOM: usize = 32;

async fn client(addr: SocketAddr) -> Connection {
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
    let limits = ConnectionLimits::default().exempt(addr.ip(), 32).unwrap();
    let mut acceptor = Acceptor::new(listener)
        .with_config(config)
        .with_connection_limits(limits);
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

type Comes = mpsc::UnboundedSender<std::io::Result<(DuplexStream, SocketAddr)>>;

/// An acceptor of the least budget that waits an hour for a hello, and what comes to it.
fn patient() -> (Acceptor, Comes) {
    let budget = MemoryBudget::new(1 << 20).unwrap();
    let hour = Duration::from_secs(3600);
    let config = Config::default().handshake_timeout(hour).unwrap();
    let (to, incoming) = mpsc::unbounded_channel();
    let incoming = tokio_stream::wrappers::UnboundedReceiverStream::new(incoming);
    let acceptor = Acceptor::from_incoming(incoming);
    (acceptor.with_config(config.memory_budget(budget)), to)
}

/// They are fewer than may be half-open.
#[tokio::test(start_paused = true)]
async fn silent_peers_do_not_keep_all_the_memory() {
    let (mut acceptor, to) = patient();
    let comes = |nth: usize| {
        let (near, far) = tokio::io::duplex(1 << 16);
        let addr = SocketAddr::from(([10, 0, 0, nth as u8], 1));
        to.send(Ok((far, addr))).unwrap();
        near
    };
    let _silent: Vec<_> = (0..ROOM).map(comes).collect();
    let client = Connection::client(comes(ROOM), Config::default());
    assert!(is_served(&client, &mut acceptor, Duration::from_secs(5)).await);
}

/// Those of one address have three quarters of the memory. Each that comes beyond takes the place of
/// a silent one for the next.
#[tokio::test(start_paused = true)]
async fn silent_peers_do_not_keep_all_the_memory_of_their_network() {
    let (mut acceptor, to) = patient();
    let comes = || {
        let (near, far) = tokio::io::duplex(1 << 16);
        let addr = SocketAddr::from(([10, 0, 0, 1], 1));
        to.send(Ok((far, addr))).unwrap();
        near
    };
    let _silent: Vec<_> = (0..ROOM).map(|_| comes()).collect();
    let refused = Connection::client(comes(), Config::default());
    assert!(!is_served(&refused, &mut acceptor, Duration::from_secs(2)).await);
    let again = Connection::client(comes(), Config::default());
    assert!(!is_served(&again, &mut acceptor, Duration::from_millis(1)).await);
    let next = Connection::client(comes(), Config::default());
    assert!(is_served(&next, &mut acceptor, Duration::from_secs(1)).await);
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

/// An acceptor of so much memory for its channels, and clients of it.
fn shared<const N: usize>(
    budget: &MemoryBudget,
    limits: ChannelLimits,
) -> (Acceptor, [Connection; N]) {
    let (near, far): (Vec<_>, Vec<_>) = (0..N).map(|_| tokio::io::duplex(1 << 16)).unzip();
    let addr = SocketAddr::from(([10, 0, 0, 1], 1));
    let incoming = tokio_stream::iter(far.into_iter().map(move |io| Ok((io, addr))));
    let incoming = tokio_stream::StreamExt::chain(incoming, tokio_stream::pending());
    let config = Config::default().memory_budget(budget.clone());
    let acceptor = Acceptor::from_incoming(incoming).with_config(config);
    let mut near = near.into_iter();
    let client = |_| Connection::client(near.next().unwrap(), Config::default());
    (
        acceptor.with_channel_limits(limits),
        std::array::from_fn(client),
    )
}

async fn open(client: &Connection) -> Channel {
    let mut channel = client.open().await.unwrap();
    channel.write_all(b"?").await.unwrap();
    channel
}

/// Those that come within the time.
async fn accepted(acceptor: &mut Acceptor, within: Duration) -> Vec<Channel> {
    let mut channels = Vec::new();
    let _ = timeout(within, async {
        loop {
            channels.push(acceptor.accept().await.0);
        }
    })
    .await;
    channels
}

async fn is_refused(channel: &mut Channel) -> bool {
    let error = channel.read_u8().await.unwrap_err();
    let error = error.get_ref().and_then(|e| e.downcast_ref());
    error.is_some_and(ChannelError::is_retryable)
}

const SOON: Duration = Duration::from_millis(500);

/// Each has 64 KiB for the application, and a connection gets at most what is then free.
#[tokio::test(start_paused = true)]
async fn a_channel_waits_for_the_memory_of_its_application_and_is_refused_without() {
    let budget = MemoryBudget::new(1 << 20).unwrap();
    let limits = ChannelLimits::default().memory_per_channel(64 << 10);
    let (mut acceptor, [client]) = shared(&budget, limits);
    let mut opened = Vec::new();
    for _ in 0..12 {
        opened.push(open(&client).await);
    }
    let mut held = accepted(&mut acceptor, SOON).await;
    assert!((3..=6).contains(&held.len()), "{}", held.len());
    assert!(budget.used() >= held.len() as u64 * (64 << 10));
    held.truncate(2);
    assert!(
        !accepted(&mut acceptor, SOON).await.is_empty(),
        "one has room"
    );
    assert!(is_refused(opened.last_mut().unwrap()).await);
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn each_connection_has_a_channel_whatever_others_hold() {
    let budget = MemoryBudget::new(1 << 20).unwrap();
    let limits = ChannelLimits::default().memory_per_channel(256 << 10);
    let (mut acceptor, clients) = shared::<8>(&budget, limits);
    let (mut opened, mut held) = (Vec::new(), Vec::new());
    for client in &clients {
        opened.push(open(client).await);
        opened.push(open(client).await);
        held.append(&mut accepted(&mut acceptor, SOON).await);
    }
    held.append(&mut accepted(&mut acceptor, SOON).await);
    assert!(held.len() >= clients.len(), "{}", held.len());
    drop(held);
    drop((acceptor, opened));
    assert!(clients.iter().all(|client| client.error().is_none()));
}

#[tokio::test(start_paused = true)]
async fn what_a_dropped_channel_had_of_the_memory_is_given_back() {
    let budget = MemoryBudget::new(1 << 20).unwrap();
    let limits = ChannelLimits::default().memory_per_channel(64 << 10);
    let (mut acceptor, [client]) = shared(&budget, limits);
    let first = open(&client).await;
    drop(accepted(&mut acceptor, SOON).await);
    drop(first);
    let before = budget.used();
    for _ in 0..100 {
        let _opened = open(&client).await;
        assert_eq!(accepted(&mut acceptor, SOON).await.len(), 1);
    }
    assert_eq!(budget.used(), before);
}

/// It has more requests than memory, and each is answered at once.
#[tokio::test(start_paused = true)]
async fn a_channel_that_waits_for_another_of_its_connection_soon_has_room() {
    let budget = MemoryBudget::new(1 << 20).unwrap();
    let limits = ChannelLimits::default().memory_per_channel(256 << 10);
    let (mut acceptor, [client]) = shared(&budget, limits);
    let (mut opened, start) = (Vec::new(), Instant::now());
    for _ in 0..100 {
        opened.push(open(&client).await);
    }
    for _ in &opened {
        drop(acceptor.accept().await);
    }
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_application_that_bounds_its_channels_itself_takes_nothing_of_the_budget() {
    let budget = MemoryBudget::new(1 << 20).unwrap();
    let limits = ChannelLimits::default().memory_per_channel(0);
    let (mut acceptor, [client]) = shared(&budget, limits);
    let mut opened = Vec::new();
    for _ in 0..100 {
        opened.push(open(&client).await);
    }
    assert_eq!(accepted(&mut acceptor, SOON).await.len(), 100);
}

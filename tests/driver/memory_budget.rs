//! Connections share a memory budget: each takes what it needs and gives it back. In virtual
//! time, but for what is said over TCP.

use std::io;
use std::time::Duration;

use tcpchan::proto::{ConnectionError, OpenError};
use tcpchan::wire::{Control, DEFAULT_MAGIC, Frame, Settings, Version};
use tcpchan::{Channel, Config, Connection, MemoryBudget};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::guard::within;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const RESERVE: u64 = 32 << 10;
/// Connections for whose reserves the least budget has room.
const ROOM: usize = MIB / RESERVE as usize;
const SECOND: Duration = Duration::from_secs(1);

/// A server with a budget of so many bytes, and the budget.
fn limited(bytes: usize) -> (Config, MemoryBudget) {
    let budget = MemoryBudget::new(bytes as u64).unwrap();
    (Config::default().memory_budget(budget.clone()), budget)
}

/// A client, and a server of this configuration.
fn pair(config: &Config) -> (Connection, Connection) {
    let (near, far) = duplex(16 * KIB);
    let client = Connection::client(near, Config::default());
    (client, Connection::server(far, config.clone()))
}

/// A channel, and the server's end of it.
async fn channel(client: &Connection, server: &Connection) -> (Channel, Channel) {
    let mut near = client.open().await.unwrap();
    near.write_all(b"x").await.unwrap();
    let mut far = server.accept().await.unwrap();
    far.read_u8().await.unwrap();
    (near, far)
}

/// Sends so many bytes, as far as they are taken.
fn send(mut channel: Channel, bytes: usize) -> JoinHandle<io::Result<()>> {
    tokio::spawn(async move {
        channel.write_all(&vec![7; bytes]).await?;
        channel.shutdown().await
    })
}

async fn all_of(channel: &mut Channel) -> usize {
    let mut bytes = Vec::new();
    channel.read_to_end(&mut bytes).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_rests_has_its_reserve_and_no_more() {
    let (config, budget) = limited(64 * MIB);
    let (client, server) = pair(&config);
    let (near, mut far) = channel(&client, &server).await;
    send(near, MIB);
    sleep(SECOND).await;
    let unread = budget.used();
    assert!(unread >= MIB as u64, "{unread}");
    assert_eq!(all_of(&mut far).await, MIB);
    send(far, MIB);
    sleep(2 * SECOND).await;
    assert_eq!(budget.used(), RESERVE);
    drop((client, server));
    sleep(SECOND).await;
    assert_eq!(budget.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_there_is_no_memory_for_waits_in_the_transport() {
    let (config, budget) = limited(MIB);
    let (client, server) = pair(&config);
    let (near, mut far) = channel(&client, &server).await;
    let sent = send(near, 2 * MIB);
    sleep(5 * SECOND).await;
    let (used, held) = (budget.used(), server.stats().memory);
    assert!((MIB as u64 / 4..MIB as u64 / 2).contains(&used), "{used}");
    assert!(held <= used, "{held} of {used}");
    assert_eq!(all_of(&mut far).await, 2 * MIB);
    sent.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_one_gives_back_another_gets_soon() {
    let (config, _) = limited(MIB);
    let ((client, server), (other, behind)) = (pair(&config), pair(&config));
    let (first, mut unread) = channel(&client, &server).await;
    let (second, mut waits) = channel(&other, &behind).await;
    let sent = [send(first, 2 * MIB), send(second, 2 * MIB)];
    sleep(SECOND).await;
    let before = behind.stats().buffered;
    all_of(&mut unread).await;
    let start = Instant::now();
    while behind.stats().buffered <= before {
        assert!(start.elapsed() < Duration::from_millis(200));
        sleep(Duration::from_millis(10)).await;
    }
    all_of(&mut waits).await;
    for sent in sent {
        sent.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_memory_ends_after_the_time_of_a_dead_peer() {
    let (config, budget) = limited(MIB);
    let config = config.answer_within(SECOND, 4 * SECOND).unwrap();
    let (client, server) = pair(&config);
    let (near, far) = channel(&client, &server).await;
    let sent = send(near, 2 * MIB);
    sleep(3 * SECOND).await;
    assert_eq!(server.error(), None);
    sleep(2 * SECOND).await;
    assert_eq!(server.error(), Some(ConnectionError::OutOfMemory));
    assert!(sent.await.unwrap().is_err());
    let told = client.error().unwrap().to_string();
    assert!(told.contains("no memory for the connection"), "{told}");
    drop((far, server));
    sleep(SECOND).await;
    assert_eq!(budget.used(), 0);
}

/// Else two that both write before they read would wait for each other.
#[tokio::test(start_paused = true)]
async fn reading_does_not_wait_for_writing_though_there_is_no_memory() {
    let (config, _) = limited(MIB);
    let (greedy, unread) = pair(&config);
    let (near, _unread) = channel(&greedy, &unread).await;
    send(near, 2 * MIB);
    sleep(SECOND).await;
    let (near, far) = duplex(KIB);
    let client = Connection::client(near, config.clone());
    let server = Connection::server(far, config);
    let (near, far) = channel(&client, &server).await;
    let (mut near_reads, near_writes) = near.into_split();
    let (mut far_reads, far_writes) = far.into_split();
    let much = |mut writer: tcpchan::WriteHalf| async move {
        writer.write_all(&vec![7; 300 * KIB]).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let writes = [
        tokio::spawn(much(near_writes)),
        tokio::spawn(much(far_writes)),
    ];
    sleep(SECOND).await;
    for reader in [&mut near_reads, &mut far_reads] {
        let mut bytes = Vec::new();
        assert_eq!(reader.read_to_end(&mut bytes).await.unwrap(), 300 * KIB);
    }
    for write in writes {
        write.await.unwrap();
    }
}

/// Else this side would read no more, though its application wants to.
#[tokio::test]
async fn over_tcp_what_waits_to_be_sent_leaves_memory_to_receive() {
    let (config, budget) = limited(MIB);
    let _others: Vec<_> = (1..ROOM).map(|_| pair(&config)).collect();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tcp = TcpStream::connect(listener.local_addr().unwrap()).await;
    let client = Connection::client(tcp.unwrap(), Config::default());
    let server = Connection::server(listener.accept().await.unwrap().0, config);
    let (mut near, far) = channel(&client, &server).await;
    let (mut reads, mut writes) = far.into_split();
    let (_second, mut also) = channel(&client, &server).await;
    assert_eq!(budget.used(), budget.bytes());
    // Their peer reads nothing.
    for writer in [&mut writes as &mut (dyn AsyncWrite + Unpin), &mut also] {
        let write = async { while writer.write(&[7; KIB]).await.is_ok() {} };
        let _ = timeout(SECOND / 2, write).await;
    }
    near.write_all(&[1; 64 * KIB]).await.unwrap();
    let mut bytes = vec![0; 64 * KIB];
    within(reads.read_exact(&mut bytes)).await.unwrap();
    assert_eq!((server.error(), client.error()), (None, None));
}

/// Nobody is asked to open them all again elsewhere while there is room for some.
#[tokio::test(start_paused = true)]
async fn channels_that_there_is_no_memory_for_are_refused_and_may_be_tried_elsewhere() {
    let (config, _) = limited(MIB);
    let (greedy, unread) = pair(&config);
    let (near, _unread) = channel(&greedy, &unread).await;
    send(near, 2 * MIB);
    sleep(SECOND).await;
    let (client, server) = pair(&config);
    let mut opened = Vec::new();
    for _ in 0..300 {
        opened.push(client.open().await.unwrap());
    }
    sleep(SECOND).await;
    let mut refused = 0;
    for mut channel in opened {
        match channel.write_all(b"x").await {
            Ok(()) => {}
            Err(error) => {
                assert!(tcpchan::client::is_retryable(&error), "{error}");
                refused += 1;
            }
        }
    }
    assert_eq!((server.error(), client.error()), (None, None));
    assert!((1..300).contains(&refused), "{refused}");
}

/// It opens them and does not end those that are refused.
#[tokio::test(start_paused = true)]
async fn a_connection_whose_refused_channels_alone_take_too_much_ends() {
    let (config, budget) = limited(MIB);
    let _others: Vec<_> = (1..ROOM).map(|_| pair(&config)).collect();
    let (mut peer, far) = duplex(16 * KIB);
    let server = Connection::server(far, config);
    assert_eq!(budget.used(), budget.bytes());
    let (magic, body) = (DEFAULT_MAGIC, Settings::default().encode());
    let opens = (0..40).map(|nth| Control::Open {
        channel: 2 * nth + 1,
    });
    let first = [Control::Hello { magic }, Control::Settings { body }];
    let mut says = Vec::new();
    for control in first.into_iter().chain(opens) {
        Frame::Control(control).encode(Version::V1, &mut says);
    }
    peer.write_all(&says).await.unwrap();
    sleep(SECOND).await;
    assert_eq!(server.error(), None);
    assert!(server.stats().refused_by_self > 0);
    says.clear();
    for nth in 40..200 {
        let channel = 2 * nth + 1;
        Frame::Control(Control::Open { channel }).encode(Version::V1, &mut says);
    }
    peer.write_all(&says).await.unwrap();
    sleep(SECOND).await;
    assert_eq!(server.error(), Some(ConnectionError::OutOfMemory));
}

#[tokio::test(start_paused = true)]
async fn an_open_waits_for_memory() {
    let (config, _) = limited(MIB);
    let (near, far) = duplex(16 * KIB);
    let client = Connection::client(near, config);
    let server = Connection::server(far, Config::default());
    let mut opened = Vec::new();
    let blocked = loop {
        match timeout(SECOND, client.open()).await {
            Ok(channel) => opened.push(channel.unwrap()),
            Err(late) => break late,
        }
    };
    assert!(opened.len() > 100, "{} {blocked}", opened.len());
    assert!(opened.len() < 1024, "{}", opened.len());
    assert_eq!(client.stats().available, 0);
    let waits = tokio::spawn(async move { client.open().await.map(drop) });
    sleep(SECOND).await;
    assert!(!waits.is_finished());
    opened.clear();
    while let Ok(Some(channel)) = timeout(SECOND, server.accept()).await {
        drop(channel);
    }
    waits.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_reserve_ends_at_once_and_says_why() {
    let (config, budget) = limited(MIB);
    let connections: Vec<_> = (0..32).map(|_| pair(&config)).collect();
    assert_eq!(budget.used(), budget.bytes());
    let (near, _far) = duplex(KIB);
    let client = Connection::client(near, config);
    let error = client.open().await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
    let ended = OpenError::Connection(ConnectionError::OutOfMemory).to_string();
    assert_eq!(error.to_string(), ended);
    assert!(ended.contains("Config::memory_budget"), "{ended}");
    drop(connections);
}

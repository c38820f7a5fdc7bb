//! A long link is filled without a queue in front of it, on a paused clock.

use std::time::Duration;

use tcpchan::{Channel, Config, Connection};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

const RTT: Duration = Duration::from_millis(80);

/// Bytes a second that the link carries, and those that it takes before it does:
/// they wait for 200 ms.
const RATE: usize = 2_500_000;
const QUEUE: usize = 500_000;

/// Both ends of a link.
fn link() -> (DuplexStream, DuplexStream) {
    let (near, near_end) = duplex(QUEUE);
    let (far, far_end) = duplex(QUEUE);
    let (near_read, near_write) = split(near_end);
    let (far_read, far_write) = split(far_end);
    tokio::spawn(carry(near_read, far_write));
    tokio::spawn(carry(far_read, near_write));
    (near, far)
}

/// Carries a millisecond's bytes at a time, each half a round trip.
async fn carry(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin + Send + 'static,
) {
    let (late, mut due) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    tokio::spawn(async move {
        while let Some((at, bytes)) = due.recv().await {
            sleep_until(at).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await; // the far end may be gone
    });
    let mut buf = vec![0; RATE / 1000];
    while let Ok(n @ 1..) = from.read(&mut buf).await {
        let now = Instant::now();
        let _ = late.send((now + RTT / 2, buf[..n].to_vec())); // the far end may be gone
        sleep_until(now + Duration::from_millis(1)).await;
    }
}

/// Sends without an end.
async fn transfer(mut channel: Channel) {
    while channel.write_all(&[7; 16 << 10]).await.is_ok() {}
}

async fn echo(channel: Channel) {
    let (mut reader, mut writer) = tokio::io::split(channel);
    let _ = tokio::io::copy(&mut reader, &mut writer).await; // until the test is over
}

/// A client's connection to a server that sends without an end on the first
/// channel and echoes on the second.
async fn connected(config: Config) -> (Channel, Channel, Connection, Connection) {
    let (near, far) = link();
    let client = Connection::client(near, Config::default());
    let server = Connection::server(far, config);
    let mut channels = Vec::new();
    for _ in 0..2 {
        let mut channel = client.open().await.unwrap();
        channel.write_all(b"!").await.unwrap();
        channels.push(channel);
    }
    let mut first = server.accept().await.unwrap();
    first.read_u8().await.unwrap();
    tokio::spawn(transfer(first));
    tokio::spawn(echo(server.accept().await.unwrap()));
    let echoed = channels.pop().unwrap();
    (channels.pop().unwrap(), echoed, client, server)
}

/// After five seconds of the transfer: bytes a second that it carried for two
/// more, and the longest of the echoes beside it.
async fn beside(config: Config) -> (usize, Duration) {
    let (mut transfer, mut echoed, _client, _server) = connected(config).await;
    echoed.read_u8().await.unwrap();
    let carried = tokio::spawn(async move {
        let mut buf = vec![0; 64 << 10];
        let start = Instant::now() + Duration::from_secs(5);
        let mut bytes = 0;
        while Instant::now() < start + Duration::from_secs(2) {
            let n = transfer.read(&mut buf).await.unwrap();
            bytes += if Instant::now() < start { 0 } else { n };
        }
        bytes / 2
    });
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mut longest = Duration::ZERO;
    for _ in 0..10 {
        let start = Instant::now();
        echoed.write_u8(1).await.unwrap();
        echoed.read_u8().await.unwrap();
        longest = longest.max(start.elapsed());
    }
    (carried.await.unwrap(), longest)
}

#[tokio::test(start_paused = true)]
async fn a_small_message_beside_a_transfer_takes_little_more_than_a_round_trip() {
    let (carried, longest) = beside(Config::default()).await;
    assert!(longest < RTT * 12 / 10, "{longest:?}");
    assert!(carried > RATE * 95 / 100, "{carried}");
}

#[tokio::test(start_paused = true)]
async fn without_pacing_it_waits_with_the_transfer() {
    let (_, longest) = beside(Config::default().pacing(false)).await;
    assert!(longest > RTT * 3, "{longest:?}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_closed_while_it_fills_a_link_says_why() {
    let (mut transfer, _echoed, client, server) = connected(Config::default()).await;
    let mut buf = vec![0; 64 << 10];
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(5) {
        transfer.read_exact(&mut buf).await.unwrap();
    }
    server.close("enough");
    let read = async { while transfer.read(&mut buf).await.is_ok() {} };
    timeout(Duration::from_secs(1), read).await.unwrap();
    assert_eq!(
        client.error().unwrap().to_string(),
        "the peer closed the connection (code 0): enough"
    );
}

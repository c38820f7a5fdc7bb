//! Peers that are busy and honest trip no guard: the loads of `core/honest_load.rs`
//! for a minute of real time each, over real TCP and a relay that delays.
//!
//! ```sh
//! cargo test --release --test driver honest_load:: -- --ignored --nocapture
//! ```
#![cfg(feature = "server")]

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::guard::within;
use tcpchan::server::Acceptor;
use tcpchan::{Channel, Config, Connection};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior::Burst, interval, sleep_until};

const MS: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_secs(60);

/// What the relay carries each way in a second: 100 Mbit/s.
const RATE: f64 = 12.5e6;

/// A client of a server that runs `serve` on each channel, so far apart.
async fn client<F>(half: Duration, serve: impl Fn(Channel) -> F + Send + 'static) -> Connection
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = listener.local_addr().unwrap();
    let mut acceptor = Acceptor::new(listener);
    tokio::spawn(async move {
        loop {
            let (channel, _) = acceptor.accept().await;
            tokio::spawn(serve(channel));
        }
    });
    let stream = TcpStream::connect(relay(to, half).await).await.unwrap();
    stream.set_nodelay(true).unwrap();
    Connection::client(stream, Config::default())
}

/// Carries one connection.
async fn relay(to: SocketAddr, half: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (near, _) = listener.accept().await.unwrap();
        let far = TcpStream::connect(to).await.unwrap();
        far.set_nodelay(true).unwrap();
        let (near_read, near_write) = near.into_split();
        let (far_read, far_write) = far.into_split();
        tokio::join!(
            delay(near_read, far_write, half),
            delay(far_read, near_write, half)
        );
    });
    addr
}

/// Moves bytes at the relay's rate, each so late. As much is on its way as the
/// rate fills, and the sender waits with the rest.
async fn delay(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, half: Duration) {
    let (late, mut due) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let read = async move {
        let (mut bytes, mut free) = (vec![0; 16 << 10], Instant::now());
        while let Ok(n @ 1..) = from.read(&mut bytes).await {
            free = free.max(Instant::now()) + Duration::from_secs_f64(n as f64 / RATE);
            let _ = late.send((free + half, bytes[..n].to_vec())); // the far end may be gone
            if free > Instant::now() + 10 * MS {
                sleep_until(free).await; // which is up to 2 ms late
            }
        }
    };
    let write = async move {
        while let Some((at, bytes)) = due.recv().await {
            sleep_until(at).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(read, write);
}

async fn read_on(mut channel: Channel) -> io::Result<()> {
    let mut bytes = [0; 1024];
    while channel.read(&mut bytes).await? > 0 {}
    channel.shutdown().await
}

/// The connection goes on: a channel opened now is served.
async fn is_well(client: &Connection) {
    assert_eq!(client.error(), None);
    let mut last = client.open().await.unwrap();
    last.write_all(b"a request").await.unwrap();
    last.shutdown().await.unwrap();
    within(last.read_to_end(&mut Vec::new())).await.unwrap();
    println!("{:#?}", client.stats());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute"]
async fn a_thousand_cancels_a_second() {
    let client = client(40 * MS, read_on).await;
    let (mut ticks, end) = (interval(MS), Instant::now() + MINUTE);
    ticks.set_missed_tick_behavior(Burst);
    let mut cancelled = 0;
    while Instant::now() < end {
        ticks.tick().await;
        let mut channel = client.open().await.unwrap();
        let request = b"a request that nobody waits for";
        channel.write_all(request).await.unwrap();
        cancelled += 1;
    }
    assert!(cancelled > 59_000, "{cancelled}");
    is_well(&client).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute"]
async fn three_hundred_small_replies_that_nobody_reads() {
    let client = client(40 * MS, |mut channel| async move {
        channel.read_u8().await?;
        channel.write_all(b"a reply").await?;
        channel.shutdown().await
    })
    .await;
    let mut channels = Vec::new();
    for _ in 0..300 {
        let mut channel = client.open().await.unwrap();
        channel.write_u8(b'?').await.unwrap();
        channels.push(channel);
    }
    sleep_until(Instant::now() + MINUTE).await;
    for mut channel in channels {
        let mut reply = String::new();
        within(channel.read_to_string(&mut reply)).await.unwrap();
        assert_eq!(reply, "a reply");
    }
    is_well(&client).await;
}

/// Of those of a millisecond some leave in one frame.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute"]
async fn a_million_writes_of_one_byte() {
    const PER_TICK: usize = 17;
    let client = client(40 * MS, |channel| async move {
        let (mut reader, mut writer) = channel.into_split();
        let bytes = tokio::io::copy(&mut reader, &mut tokio::io::sink()).await?;
        writer.write_u64(bytes).await?;
        writer.shutdown().await
    })
    .await;
    let mut channel = client.open().await.unwrap();
    let (mut ticks, end) = (interval(MS), Instant::now() + MINUTE);
    ticks.set_missed_tick_behavior(Burst);
    let mut written = 0;
    while Instant::now() < end {
        ticks.tick().await;
        for _ in 0..PER_TICK {
            assert_eq!(channel.write(b"x").await.unwrap(), 1);
            written += 1;
        }
    }
    channel.shutdown().await.unwrap();
    assert_eq!(within(channel.read_u64()).await.unwrap(), written);
    assert!(written > 1_000_000, "{written}");
    is_well(&client).await;
}

/// Both directions are as full as the link takes, with small requests beside.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute"]
async fn a_saturated_link_of_two_hundred_milliseconds() {
    let client = client(100 * MS, |channel| async move {
        let (mut reader, mut writer) = channel.into_split();
        tokio::io::copy(&mut reader, &mut writer).await?;
        writer.shutdown().await
    })
    .await;
    let (end, mut streams) = (Instant::now() + MINUTE, JoinSet::new());
    for _ in 0..4 {
        let (mut reader, mut writer) = client.open().await.unwrap().into_split();
        streams.spawn(async move {
            let bulk = vec![7; 64 << 10];
            let write = async {
                while Instant::now() < end {
                    writer.write_all(&bulk).await?;
                }
                writer.shutdown().await
            };
            let mut sink = tokio::io::sink();
            tokio::try_join!(write, tokio::io::copy(&mut reader, &mut sink))
        });
    }
    let mut ticks = interval(100 * MS);
    let mut slowest = Duration::ZERO;
    while Instant::now() < end {
        ticks.tick().await;
        let (start, mut small) = (Instant::now(), client.open().await.unwrap());
        small.write_all(b"a request").await.unwrap();
        small.shutdown().await.unwrap();
        within(small.read_to_end(&mut Vec::new())).await.unwrap();
        slowest = slowest.max(start.elapsed());
    }
    let mut carried = 0;
    for ended in within(streams.join_all()).await {
        carried += ended.unwrap().1;
    }
    println!(
        "{} MiB each way; the slowest of the small requests took {slowest:?}",
        carried >> 20
    );
    assert!(carried as f64 > 0.7 * RATE * MINUTE.as_secs_f64());
    is_well(&client).await;
}

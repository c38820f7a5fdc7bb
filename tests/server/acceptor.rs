//! No peer holds up another at an acceptor, and none is forgotten.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use tcpchan::server::Acceptor;
use tcpchan::{Config, Connection};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use crate::started::started;

struct Incoming(mpsc::UnboundedReceiver<DuplexStream>);

impl futures_core::Stream for Incoming {
    type Item = io::Result<(DuplexStream, SocketAddr)>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let addr = SocketAddr::from(([127, 0, 0, 1], 1));
        self.0.poll_recv(cx).map(|io| io.map(|io| Ok((io, addr))))
    }
}

fn acceptor() -> (mpsc::UnboundedSender<DuplexStream>, Acceptor) {
    let (sender, incoming) = mpsc::unbounded_channel();
    let acceptor = Acceptor::from_incoming(Incoming(incoming));
    (sender, started(acceptor))
}

fn connect(to: &mpsc::UnboundedSender<DuplexStream>) -> Connection {
    let (near, far) = duplex(1 << 20);
    to.send(far).unwrap();
    Connection::client(near, Config::default())
}

/// Each connection holds one of 128 places while it waits for a channel.
#[tokio::test(start_paused = true)]
async fn idle_connections_hold_up_nobody() {
    let (to, mut acceptor) = acceptor();
    let idle: Vec<Connection> = (0..128).map(|_| connect(&to)).collect();
    sleep(Duration::from_secs(1)).await;
    let last = connect(&to);
    let mut channel = last.open().await.unwrap();
    channel.write_all(b"request").await.unwrap();
    let accepted = timeout(Duration::from_secs(3600), acceptor.accept()).await;
    assert!(
        accepted.is_ok(),
        "held up by {} idle connections",
        idle.len()
    );
}

/// Opens many at once. The most of them that are accepted before all others have run.
async fn most_accepted_at_once(client: &Connection, mut acceptor: Acceptor) -> usize {
    const ALL: usize = 200;
    let mut channels = Vec::new();
    for _ in 0..ALL {
        channels.push(client.open().await.unwrap());
    }
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = accepted.clone();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        loop {
            kept.push(acceptor.accept().await);
            count.fetch_add(1, Relaxed);
        }
    });
    let (mut before, mut most) = (0, 0);
    while before < ALL {
        yield_now().await; // until all others have run
        let now = accepted.load(Relaxed);
        most = most.max(now - before);
        before = now;
    }
    most
}

/// Each is a task of the application's, and others run in between.
#[tokio::test(start_paused = true)]
async fn channels_that_come_at_once_are_handed_on_a_few_at_a_time() {
    let (to, acceptor) = acceptor();
    let client = connect(&to);
    let most = most_accepted_at_once(&client, acceptor).await;
    assert!(most <= 12, "{most} at once");
}

/// Their answers share a write.
#[tokio::test(start_paused = true)]
async fn while_channels_are_served_more_are_handed_on_at_once() {
    let (to, mut acceptor) = acceptor();
    let client = connect(&to);
    for _ in 0..8 {
        let mut channel = client.open().await.unwrap();
        channel.shutdown().await.unwrap();
        let (mut accepted, _) = acceptor.accept().await;
        accepted.shutdown().await.unwrap();
        channel.read_to_end(&mut Vec::new()).await.unwrap();
    }
    let most = most_accepted_at_once(&client, acceptor).await;
    assert!((16..=48).contains(&most), "{most} at once");
}

/// Of a channel that comes while the acceptor goes, some are neither
/// served nor refused.
#[tokio::test(start_paused = true)]
async fn a_channel_that_comes_as_the_acceptor_goes_is_refused() {
    for yields in 0..6 {
        for _ in 0..12 {
            let (to, mut acceptor) = acceptor();
            let client = connect(&to);
            let mut first = client.open().await.unwrap();
            first.write_all(b"first").await.unwrap();
            drop(acceptor.accept().await);
            sleep(Duration::from_secs(1)).await;
            let Ok(mut channel) = client.open().await else {
                panic!("closed");
            };
            let _ = channel.write_all(b"request").await;
            for _ in 0..yields {
                yield_now().await;
            }
            drop(acceptor);
            let mut got = Vec::new();
            let read = timeout(Duration::from_secs(3600), channel.read_to_end(&mut got)).await;
            let kind = read.map(|read| read.map_err(|error| error.kind()));
            assert_eq!(
                kind,
                Ok(Err(io::ErrorKind::ConnectionRefused)),
                "after {yields} yields"
            );
        }
    }
}

/// It may have done what the channel was for.
#[tokio::test(start_paused = true)]
async fn one_that_tried_to_answer_does_not_refuse() {
    for finishes in [false, true] {
        let (to, mut acceptor) = acceptor();
        let client = connect(&to);
        let (reader, mut writer) = client.open().await.unwrap().into_split();
        writer.write_all(b"question").await.unwrap();
        drop(reader);
        let (mut channel, _) = acceptor.accept().await;
        sleep(Duration::from_millis(1)).await;
        match finishes {
            true => channel.shutdown().await.unwrap(),
            false => drop(channel.write_all(b"answer").await.unwrap_err()),
        }
        drop(channel);
        sleep(Duration::from_millis(1)).await;
        let error = writer.write_all(b"more").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe, "{error:?}");
    }
}

/// One that was neither read from nor written to is refused, whatever is done with
/// others of its connection.
#[tokio::test(start_paused = true)]
async fn of_several_channels_the_one_that_was_not_read_is_refused() {
    let (to, mut acceptor) = acceptor();
    let client = connect(&to);
    let mut kinds = Vec::new();
    for reads in [true, false, true] {
        let mut near = client.open().await.unwrap();
        near.write_all(b"question").await.unwrap();
        let (mut far, _) = acceptor.accept().await;
        if reads {
            far.read_u8().await.unwrap();
        }
        drop(far);
        sleep(Duration::from_millis(1)).await;
        kinds.push(near.read_u8().await.unwrap_err().kind());
    }
    use io::ErrorKind::{ConnectionRefused, ConnectionReset};
    assert_eq!(kinds, [ConnectionReset, ConnectionRefused, ConnectionReset]);
}

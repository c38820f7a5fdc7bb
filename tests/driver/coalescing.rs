//! On a long link, what is written within a moment leaves together, since each
//! packet is one of the few that may be under way; and nothing waits elsewhere.

use std::io;
use std::time::Duration;

use hyper::Uri;
use hyper_util::rt::TokioIo;
use tcpchan::{Channel, Config, Connection};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::{JoinSet, yield_now};
use tokio::time::Instant;
use tower_service::Service;

use crate::link::{Link, RTT};
use crate::noted::Writes;

const BURST: usize = 20;

/// A client, and the writes of its server, which answers the channels of a
/// burst one by one and not all at the same moment.
fn serve(end: DuplexStream) -> Writes {
    let writes = Writes::default();
    let connection = Connection::server(writes.of(end), Config::default());
    tokio::spawn(async move {
        for order in 0.. {
            let Some(channel) = connection.accept().await else {
                return;
            };
            tokio::spawn(answer(channel, order));
        }
    });
    writes
}

async fn answer(mut channel: Channel, order: usize) -> io::Result<()> {
    channel.read_u8().await?;
    for _ in 0..order * 10 {
        yield_now().await;
    }
    channel.write_all(&[0; 100]).await
}

async fn request(connection: Connection) -> Duration {
    let start = Instant::now();
    let mut channel = connection.open().await.unwrap();
    channel.write_u8(0).await.unwrap();
    channel.read_exact(&mut [0; 100]).await.unwrap();
    channel.shutdown().await.unwrap();
    start.elapsed()
}

/// Requests at once; how long the slowest took.
async fn burst(connection: &Connection, count: usize) -> Duration {
    let requests: JoinSet<_> = (0..count).map(|_| request(connection.clone())).collect();
    let took = requests.join_all().await;
    took.into_iter().max().unwrap_or_default()
}

async fn long() -> (Connection, Writes) {
    let (mut link, mut ends) = Link::new();
    let stream = link.call(Uri::from_static("http://far/")).await.unwrap();
    let client = Connection::client(TokioIo::new(stream), Config::default());
    assert_eq!(link.dials(), 1);
    let writes = serve(ends.recv().await.unwrap());
    burst(&client, 1).await; // the round trip is known after that
    (client, writes)
}

#[tokio::test(start_paused = true)]
async fn answers_to_a_burst_leave_together_on_a_long_link() {
    let (client, writes) = long().await;
    let before = writes.lengths().len();
    let took = burst(&client, BURST).await;
    let writes = writes.lengths().len() - before; // each would be a packet
    assert!(writes <= 3, "{writes} writes");
    assert!(took < RTT + RTT / 20, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_alone_does_not_wait() {
    let (client, _) = long().await;
    tokio::time::sleep(RTT).await;
    let took = burst(&client, 1).await;
    assert!(took <= RTT + Duration::from_millis(1), "{took:?}");
}

/// The end of the channel before leaves first.
#[tokio::test(start_paused = true)]
async fn one_request_after_the_other_does_not_wait() {
    let (client, _) = long().await;
    for _ in 0..5 {
        assert_eq!(burst(&client, 1).await, RTT);
    }
}

/// Channels on which the server says a little each millisecond.
async fn chat(client: &Connection, server: &Connection) {
    for _ in 0..6 {
        let mut near = client.open().await.unwrap();
        near.write_u8(0).await.unwrap();
        let mut far = server.accept().await.unwrap();
        tokio::spawn(async move {
            while far.write_all(&[0; 20]).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        tokio::spawn(async move { while near.read_exact(&mut [0; 20]).await.is_ok() {} });
    }
    tokio::time::sleep(2 * RTT).await; // all of them have begun
}

/// How long a byte of a new channel takes.
async fn one_way(client: &Connection, server: &Connection) -> Duration {
    let start = Instant::now();
    let mut channel = client.open().await.unwrap();
    channel.write_u8(0).await.unwrap();
    let mut accepted = server.accept().await.unwrap();
    accepted.read_u8().await.unwrap();
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_request_leaves_though_small_messages_keep_coming() {
    let (mut link, mut ends) = Link::new();
    let stream = link.call(Uri::from_static("http://far/")).await.unwrap();
    assert_eq!(link.dials(), 1);
    let client = Connection::client(TokioIo::new(stream), Config::default());
    let server = Connection::server(ends.recv().await.unwrap(), Config::default());
    chat(&client, &server).await;
    let took = one_way(&client, &server).await;
    assert!(took <= RTT / 2 + Duration::from_millis(3), "{took:?}");
}

/// The first answer is late, so the round trip looks longer than it is.
#[tokio::test(start_paused = true)]
async fn a_request_leaves_though_messages_come_quicker_than_it_waits() {
    let (near, far) = tokio::io::duplex(1 << 20);
    let client = Connection::client(near, Config::default());
    tokio::time::sleep(5 * RTT).await;
    let server = Connection::server(far, Config::default());
    chat(&client, &server).await;
    let took = one_way(&client, &server).await;
    assert!(took <= Duration::from_millis(4), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn on_a_short_link_nothing_waits() {
    let (near, far) = tokio::io::duplex(1 << 20);
    let client = Connection::client(near, Config::default());
    serve(far);
    burst(&client, 1).await;
    assert_eq!(burst(&client, BURST).await, Duration::ZERO);
}

//! What a pool does where its connections carry little, as with packets lost.
#![cfg(feature = "client")]

#[path = "support/network.rs"]
mod network;

use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use hyper::Uri;
use tcpchan::client::{ConnectError, Multiplex, PoolConfig};
use tcpchan::{Channel, Config, Connection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};
use tower::Service;

use network::Network;

const RTT: Duration = Duration::from_millis(80);

/// Bytes that a connection carries in a round trip.
const PACE: usize = 16 << 10;

/// How many connections a pool opens by itself.
const MOST: usize = 16;

/// Answers each channel with as many KiB as its first byte says, and leaves it
/// open if that is none.
async fn answer(mut channel: Channel) {
    let Ok(size) = channel.read_u8().await else {
        return;
    };
    if size == 0 {
        let _ = channel.read_u8().await;
        return;
    }
    let _ = channel.write_all(&vec![7; usize::from(size) << 10]).await;
    let _ = channel.shutdown().await;
}

/// A network whose connections carry little, and a pool on it.
fn slow(pool: PoolConfig) -> (Network, Multiplex<Network>) {
    let (network, mut ends) = Network::new();
    network.change(|now| (now.delay, now.piece) = (RTT / 2, PACE / 2));
    tokio::spawn(async move {
        while let Some(end) = ends.recv().await {
            tokio::spawn(async move {
                let connection = Connection::server(end, Config::default());
                while let Some(channel) = connection.accept().await {
                    tokio::spawn(answer(channel));
                }
            });
        }
    });
    (network.clone(), Multiplex::new(network).with_pool(pool))
}

type Opened = Result<Channel, ConnectError>;

async fn open(multiplex: &Multiplex<Network>) -> Opened {
    let uri = Uri::from_static("http://far.example");
    multiplex.clone().call(uri).await
}

/// Asks for so many KiB and reads them.
async fn get(channel: Opened, size: u8) {
    let mut channel = channel.unwrap();
    channel.write_all(&[size]).await.unwrap();
    let mut body = Vec::new();
    channel.read_to_end(&mut body).await.unwrap();
    assert_eq!(body.len(), usize::from(size) << 10);
}

fn connections(multiplex: &Multiplex<Network>) -> usize {
    let stats = multiplex.stats();
    stats.iter().map(|target| target.connections.len()).sum()
}

/// The same, after a transfer that found its connection to be held up.
async fn spread(pool: PoolConfig) -> (Network, Multiplex<Network>) {
    let (network, multiplex) = slow(pool);
    let transfers = (0..2).map(|_| async { get(open(&multiplex).await, 250).await });
    join_all(transfers).await;
    sleep(4 * RTT).await; // until the dials are over
    (network, multiplex)
}

/// So many callers at once; those who got a channel at once, and the others.
async fn callers(
    multiplex: &Multiplex<Network>,
    count: usize,
) -> (Vec<Opened>, FuturesUnordered<impl Future<Output = Opened>>) {
    let mut waiting: FuturesUnordered<_> = (0..count).map(|_| Box::pin(open(multiplex))).collect();
    let mut opened = Vec::new();
    for _ in 0..count {
        opened.extend(waiting.next().now_or_never().flatten());
        yield_now().await;
    }
    (opened, waiting)
}

#[tokio::test(start_paused = true)]
async fn connections_that_carry_little_are_joined_by_others() {
    let (_network, multiplex) = spread(PoolConfig::default()).await;
    assert_eq!(connections(&multiplex), MOST);
}

/// The same some time later, when channels carry so many KiB.
async fn accustomed(pool: PoolConfig, size: u8) -> (Network, Multiplex<Network>) {
    let (network, multiplex) = spread(pool).await;
    let gets = (0..4 * MOST).map(|_| async { get(open(&multiplex).await, size).await });
    join_all(gets).await;
    sleep(Duration::from_secs(6)).await;
    assert_eq!(connections(&multiplex), MOST);
    (network, multiplex)
}

/// What 16 connections of this pace take at a time of 64 KiB each.
const AT_ONCE: usize = 2 * MOST;

#[tokio::test(start_paused = true)]
async fn each_then_has_a_share_of_large_answers_and_callers_wait_until_one_is_through() {
    let (_network, multiplex) = accustomed(PoolConfig::default(), 64).await;
    let (opened, waiting) = callers(&multiplex, 40).await;
    assert_eq!(opened.len(), AT_ONCE);
    let start = Instant::now();
    let served = join_all(opened.into_iter().map(|channel| get(channel, 32)));
    let others = waiting.for_each_concurrent(None, |channel| async {
        let waited = start.elapsed();
        assert!((2 * RTT..7 * RTT).contains(&waited), "{waited:?}");
        get(channel, 32).await;
    });
    tokio::join!(served, others);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_more_than_eight_round_trips_for_channels_that_stay() {
    let (_network, multiplex) = accustomed(PoolConfig::default(), 64).await;
    let (held, waiting) = callers(&multiplex, AT_ONCE + 2).await;
    assert_eq!(held.len(), AT_ONCE);
    let start = Instant::now();
    let more: Vec<_> = waiting.collect().await;
    assert_eq!(start.elapsed(), 8 * RTT);
    // Nor does anybody after that on their account.
    let (others, _) = callers(&multiplex, MOST).await;
    assert_eq!(others.len(), MOST);
    drop((held, more));
}

#[tokio::test(start_paused = true)]
async fn small_answers_do_not_wait_for_each_other_nor_for_a_transfer() {
    let (_network, multiplex) = accustomed(PoolConfig::default(), 1).await;
    let transfer = get(open(&multiplex).await, 250);
    let small = async {
        sleep(4 * RTT).await;
        callers(&multiplex, 8 * MOST).await.0.len()
    };
    let ((), at_once) = tokio::join!(transfer, small);
    assert_eq!(at_once, 8 * MOST);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_where_there_is_no_other_connection() {
    let (network, multiplex) = slow(PoolConfig::default());
    get(open(&multiplex).await, 1).await;
    network.change(|now| now.refuses = true);
    join_all((0..2).map(|_| async { get(open(&multiplex).await, 250).await })).await;
    let (opened, _) = callers(&multiplex, 40).await;
    assert_eq!((opened.len(), connections(&multiplex)), (40, 1));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_where_nothing_is_held_up() {
    let pool = PoolConfig::default().connections(MOST..=MOST).unwrap();
    let (_network, multiplex) = slow(pool);
    join_all((0..MOST).map(|_| async { get(open(&multiplex).await, 64).await })).await;
    let (opened, _) = callers(&multiplex, 8 * MOST).await;
    assert_eq!(opened.len(), 8 * MOST);
}

#[tokio::test(start_paused = true)]
async fn no_caller_times_out_because_of_a_share() {
    let pool = PoolConfig::default().open_timeout(2 * RTT).unwrap();
    let (_network, multiplex) = accustomed(pool, 64).await;
    let (held, waiting) = callers(&multiplex, AT_ONCE + 8).await;
    assert_eq!(held.len(), AT_ONCE);
    let others: Vec<_> = waiting.collect().await;
    assert!(others.iter().all(Result::is_ok));
}

#[tokio::test(start_paused = true)]
async fn callers_wait_for_a_share_up_to_64_and_nobody_while_there_are_more() {
    let (_network, multiplex) = accustomed(PoolConfig::default(), 64).await;
    let (held, waiting) = callers(&multiplex, AT_ONCE + 64).await;
    assert_eq!((held.len(), waiting.len()), (AT_ONCE, 64));
    drop(waiting); // who gives up leaves its place
    let (more, waiting) = callers(&multiplex, 64).await;
    assert_eq!((more.len(), waiting.len()), (0, 64));
    let one_more = open(&multiplex).now_or_never();
    assert!(one_more.is_some());
    let start = Instant::now();
    assert_eq!(waiting.collect::<Vec<_>>().await.len(), 64);
    assert!(start.elapsed() < RTT);
}

//! How many channels an application serves at a time, and how quickly new ones come. In
//! virtual time.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tcpchan::proto::ChannelError;
use tcpchan::server::{Acceptor, ChannelLimits};
use tcpchan::{Channel, Config, Connection};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::StreamExt;
use tower::load_shed::{LoadShed, error::Overloaded};
use tower::{Service, ServiceExt};

const SECOND: Duration = Duration::from_secs(1);
const AT_ONCE: Duration = Duration::from_millis(10);

/// An acceptor, and clients of it.
fn server<const N: usize>(limits: ChannelLimits) -> (Acceptor, [Connection; N]) {
    let (near, far): (Vec<DuplexStream>, Vec<_>) = (0..N).map(|_| duplex(1 << 16)).unzip();
    let addr = SocketAddr::from(([10, 0, 0, 1], 1));
    let far = tokio_stream::iter(far.into_iter().map(move |io| Ok((io, addr))));
    let acceptor = Acceptor::from_incoming(far.chain(tokio_stream::pending()));
    let mut near = near.into_iter();
    let client = |_| Connection::client(near.next().unwrap(), Config::default());
    let clients = std::array::from_fn(client);
    (acceptor.with_channel_limits(limits), clients)
}

async fn open(client: &Connection) -> Channel {
    let mut channel = client.open().await.unwrap();
    channel.write_all(b"?").await.unwrap();
    channel
}

/// The next channel, if one comes within the time.
async fn accepts(acceptor: &mut Acceptor, within: Duration) -> Option<Channel> {
    let accepted = timeout(within, acceptor.accept()).await;
    accepted.ok().map(|(channel, _)| channel)
}

/// It is refused within a minute, so that what it was for may be tried again elsewhere.
async fn is_refused(channel: &mut Channel) -> bool {
    match timeout(60 * SECOND, channel.read_u8()).await {
        Ok(Err(error)) => {
            let error = error.get_ref().and_then(|e| e.downcast_ref());
            error.is_some_and(ChannelError::is_retryable)
        }
        Ok(Ok(_)) | Err(_) => false,
    }
}

#[tokio::test(start_paused = true)]
async fn a_channel_beyond_the_most_waits_until_another_is_dropped() {
    let limits = ChannelLimits::default().max_channels(2).unwrap();
    let (mut acceptor, [client]) = server(limits.clone());
    let _opened = [
        open(&client).await,
        open(&client).await,
        open(&client).await,
    ];
    let first = accepts(&mut acceptor, AT_ONCE).await.unwrap();
    let _second = accepts(&mut acceptor, AT_ONCE).await.unwrap();
    assert!(accepts(&mut acceptor, SECOND / 2).await.is_none());
    assert_eq!(
        (limits.in_use(), limits.waiting(), limits.is_full()),
        (2, 1, true)
    );
    drop(first);
    let _third = accepts(&mut acceptor, AT_ONCE).await.unwrap();
    assert_eq!((limits.in_use(), limits.waiting()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_has_waited_long_enough_is_refused_and_those_behind_it_at_once() {
    let limits = ChannelLimits::default().max_channels(1).unwrap();
    let (mut acceptor, [client]) = server(limits);
    let _first = open(&client).await;
    let held = accepts(&mut acceptor, AT_ONCE).await.unwrap();
    let start = Instant::now();
    let mut waits = open(&client).await;
    assert!(is_refused(&mut waits).await);
    assert_eq!(start.elapsed().as_secs(), 1);
    assert!(is_refused(&mut open(&client).await).await);
    assert!(start.elapsed() < SECOND + AT_ONCE);
    drop(held);
    let _later = open(&client).await;
    assert!(accepts(&mut acceptor, AT_ONCE).await.is_some());
}

/// Another connection always has a channel that waits, so there is never a free place.
#[tokio::test(start_paused = true)]
async fn a_connection_whose_channels_were_refused_gets_its_turn_again() {
    let limits = ChannelLimits::default().max_channels(1).unwrap();
    let (mut acceptor, [refused, other]) = server(limits);
    let mut opened = vec![open(&refused).await];
    let held = accepts(&mut acceptor, AT_ONCE).await.unwrap();
    assert!(is_refused(&mut open(&refused).await).await);
    let busy = tokio::spawn(async move {
        for _ in 0..60 {
            opened.push(open(&other).await);
        }
        let _others = (other, opened);
        drop(held);
        for _ in 0..50 {
            let (channel, peer) = acceptor.accept().await;
            if peer.connection == 1 {
                return true;
            }
            sleep(SECOND / 10).await;
            drop(channel);
        }
        false
    });
    sleep(AT_ONCE).await;
    while !busy.is_finished() {
        let _ = timeout(SECOND * 2, is_refused(&mut open(&refused).await)).await;
        sleep(AT_ONCE).await;
    }
    assert!(busy.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn connections_take_turns_for_a_free_place() {
    let limits = ChannelLimits::default().max_channels(1).unwrap();
    let limits = limits.max_wait(3600 * SECOND).unwrap();
    let (mut acceptor, [crowd, alone]) = server(limits);
    let mut opened = Vec::new();
    for _ in 0..50 {
        opened.push(open(&crowd).await);
    }
    sleep(AT_ONCE).await;
    let mut held = accepts(&mut acceptor, AT_ONCE).await;
    opened.push(open(&alone).await);
    sleep(AT_ONCE).await;
    let mut peers = Vec::new();
    for _ in 0..2 {
        drop(held.take());
        let (channel, peer) = acceptor.accept().await;
        peers.push(peer.connection);
        held = Some(channel);
    }
    assert!(peers.contains(&1) && peers.contains(&2), "{peers:?}");
}

#[tokio::test(start_paused = true)]
async fn new_channels_come_at_the_rate_of_all_and_of_each_connection() {
    let limits = ChannelLimits::default().max_wait(60 * SECOND).unwrap();
    for (limits, seconds) in [
        (limits.clone().rate(10, 1), 3.9),
        (limits.rate_per_connection(10, 1), 1.9),
    ] {
        let (mut acceptor, [one, other]) = server(limits.unwrap());
        let start = Instant::now();
        let mut opened = Vec::new();
        for _ in 0..20 {
            opened.push((open(&one).await, open(&other).await));
        }
        for _ in 0..40 {
            acceptor.accept().await;
        }
        let took = start.elapsed().as_secs_f64();
        assert!((took - seconds).abs() < 0.05, "{took} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_would_wait_too_long_for_a_rate_is_refused_at_once() {
    let limits = ChannelLimits::default().rate(1, 1).unwrap();
    let (mut acceptor, [client]) = server(limits.max_wait(SECOND / 2).unwrap());
    let _first = open(&client).await;
    assert!(accepts(&mut acceptor, AT_ONCE).await.is_some());
    let start = Instant::now();
    assert!(is_refused(&mut open(&client).await).await);
    assert!(start.elapsed() < AT_ONCE);
}

/// A service that is ready while the acceptor's limit has room, as the docs have it.
struct Loaded {
    limits: ChannelLimits,
    ready: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Service<()> for Loaded {
    type Response = ();
    type Error = Infallible;
    type Future = std::future::Ready<Result<(), Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        let limits = self.limits.clone();
        let wait = || Box::pin(async move { limits.ready().await }) as _;
        ready!(self.ready.get_or_insert_with(wait).as_mut().poll(cx));
        self.ready = None;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        std::future::ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn towers_load_shedding_sees_that_there_is_no_room() {
    let limits = ChannelLimits::default().max_channels(1).unwrap();
    let (mut acceptor, [client]) = server(limits.clone());
    let loaded = Loaded {
        limits,
        ready: None,
    };
    let mut service = LoadShed::new(loaded);
    service.ready().await.unwrap().call(()).await.unwrap();
    let _first = open(&client).await;
    let held = accepts(&mut acceptor, AT_ONCE).await.unwrap();
    let shed = service.ready().await.unwrap().call(()).await.unwrap_err();
    assert!(shed.is::<Overloaded>(), "{shed}");
    drop(held);
    service.ready().await.unwrap().call(()).await.unwrap();
}

/// A channel that waits for a place is refused, as one that nobody has accepted.
#[tokio::test(start_paused = true)]
async fn what_waits_for_a_place_is_refused_when_the_acceptor_goes() {
    let limits = ChannelLimits::default().max_channels(1).unwrap();
    let limits = limits.max_wait(3600 * SECOND).unwrap();
    let (mut acceptor, [client]) = server(limits);
    let _first = open(&client).await;
    let _held = accepts(&mut acceptor, AT_ONCE).await.unwrap();
    let mut waits = open(&client).await;
    sleep(AT_ONCE).await;
    drop(acceptor);
    assert!(timeout(SECOND, is_refused(&mut waits)).await.unwrap());
}

#[test]
fn what_can_not_work_is_refused() {
    let limits = ChannelLimits::default;
    let error = |limits: Result<ChannelLimits, tcpchan::ConfigError>| {
        limits.expect_err("an error").to_string()
    };
    for (field, error) in [
        ("max_channels", error(limits().max_channels(0))),
        ("rate", error(limits().rate(0, 1))),
        (
            "rate_per_connection",
            error(limits().rate_per_connection(0, 1)),
        ),
        ("max_wait", error(limits().max_wait(Duration::MAX))),
    ] {
        assert!(error.starts_with(field), "{error}");
    }
}

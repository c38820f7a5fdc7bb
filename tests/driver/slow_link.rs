//! What a request costs in round trips on a slow link. The time is virtual, so
//! the figures are exact.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::rt::{Read, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Response, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::Connect;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tcpchan::client::Multiplex;
use tcpchan::{Config, Connection};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tower_service::Service;

use crate::link::{Link, RTT};

/// hyper's own default: all idle connections are kept.
const POOLED: usize = usize::MAX;
const A_CHANNEL_EACH: usize = 0;
const BURST: usize = 50;

type HttpClient<C> = Client<C, Empty<Bytes>>;

fn client<C: Connect + Clone>(connector: C, idle: usize) -> HttpClient<C> {
    Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(idle)
        .build(connector)
}

fn serve(io: impl Read + Write + Unpin + Send + 'static) {
    let hello = |_| async {
        let body = Full::new(Bytes::from("hello"));
        Ok::<_, Infallible>(Response::new(body))
    };
    let connection = http1::Builder::new().serve_connection(io, service_fn(hello));
    tokio::spawn(connection);
}

/// A client that multiplexes over the link, the link, and the number of
/// channels that the server has accepted.
fn multiplexed(idle: usize) -> (HttpClient<Multiplex<Link>>, Link, Arc<AtomicUsize>) {
    let (link, mut ends) = Link::new();
    let channels = Arc::<AtomicUsize>::default();
    let accepted = channels.clone();
    tokio::spawn(async move {
        while let Some(end) = ends.recv().await {
            let connection = Connection::server(end, Config::default());
            let accepted = accepted.clone();
            tokio::spawn(async move {
                while let Some(channel) = connection.accept().await {
                    accepted.fetch_add(1, Ordering::Relaxed);
                    serve(channel);
                }
            });
        }
    });
    (client(Multiplex::new(link.clone()), idle), link, channels)
}

/// A client that uses the link as it is.
fn plain(idle: usize) -> (HttpClient<Link>, Link) {
    let (link, mut ends) = Link::new();
    tokio::spawn(async move {
        while let Some(end) = ends.recv().await {
            serve(TokioIo::new(end));
        }
    });
    (client(link.clone(), idle), link)
}

async fn request<C>(client: HttpClient<C>) -> f64
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let start = Instant::now();
    let uri = Uri::from_static("http://far.example/");
    let response = client.get(uri).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "hello");
    start.elapsed().div_duration_f64(RTT)
}

/// Requests that start at once; the round trips that the slowest took.
async fn burst<C>(client: &HttpClient<C>, count: usize) -> f64
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let requests: JoinSet<f64> = (0..count).map(|_| request(client.clone())).collect();
    requests.join_all().await.into_iter().fold(0.0, f64::max)
}

/// Of two requests at once, at least one needs a channel beyond those that are
/// open.
async fn a_new_channel(idle: usize) {
    let (client, link, channels) = multiplexed(idle);
    burst(&client, 1).await;
    let before = channels.load(Ordering::Relaxed);
    let slowest = burst(&client, 2).await;
    assert!(channels.load(Ordering::Relaxed) > before);
    assert!((1.0..=1.1).contains(&slowest), "{slowest} round trips");
    assert_eq!(link.dials(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_on_a_new_channel_takes_one_round_trip() {
    a_new_channel(POOLED).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_on_a_channel_of_its_own_takes_one_round_trip() {
    a_new_channel(A_CHANNEL_EACH).await;
}

/// The comparison, which also shows that the link is as slow as it should be.
async fn a_new_connection(idle: usize) {
    let (client, link) = plain(idle);
    burst(&client, 1).await;
    let slowest = burst(&client, 2).await;
    assert!((2.0..=2.1).contains(&slowest), "{slowest} round trips");
    assert!(link.dials() > 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_on_a_new_tcp_connection_takes_two_round_trips() {
    a_new_connection(POOLED).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_on_a_tcp_connection_of_its_own_takes_two_round_trips() {
    a_new_connection(A_CHANNEL_EACH).await;
}

/// 50 requests on a client that has no connection yet.
async fn a_cold_burst(idle: usize) {
    let (client, link, channels) = multiplexed(idle);
    let slowest = burst(&client, BURST).await;
    assert_eq!(link.dials(), 25, "as many as there may be");
    assert_eq!(channels.load(Ordering::Relaxed), BURST);
    assert!((2.0..=2.2).contains(&slowest), "{slowest} round trips");
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_50_on_a_cold_client_shares_25_dials() {
    a_cold_burst(POOLED).await;
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_50_on_a_cold_client_with_a_channel_each_shares_25_dials() {
    a_cold_burst(A_CHANNEL_EACH).await;
}

/// 50 requests on a client whose connection is up.
async fn a_warm_burst(idle: usize) {
    let (client, link, channels) = multiplexed(idle);
    burst(&client, 1).await;
    let slowest = burst(&client, BURST).await;
    assert!((1.0..=1.1).contains(&slowest), "{slowest} round trips");
    assert!(channels.load(Ordering::Relaxed) >= BURST);
    assert_eq!(link.dials(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_50_on_an_open_connection_takes_one_round_trip() {
    a_warm_burst(POOLED).await;
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_50_with_a_channel_each_takes_one_round_trip() {
    a_warm_burst(A_CHANNEL_EACH).await;
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_50_without_channels_dials_50_times() {
    let (client, link) = plain(POOLED);
    burst(&client, BURST).await;
    assert_eq!(link.dials(), BURST);
}

/// A timer that is due already is late by up to a millisecond.
#[tokio::test(start_paused = true)]
async fn a_first_dial_waits_for_no_timer() {
    tokio::time::advance(Duration::from_micros(500)).await;
    let (link, _ends) = Link::new();
    let mut multiplex = Multiplex::new(link.clone());
    let connecting = multiplex.call(Uri::from_static("http://server/"));
    tokio::spawn(connecting);
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(link.dials(), 1);
}

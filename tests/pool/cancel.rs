//! A future that is dropped, at whatever await, takes nothing from others.
#![cfg(feature = "client")]

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tcpchan::client::{Multiplex, PoolConfig};
use tcpchan::server::Acceptor;
use tcpchan::{Channel, Config, Connection};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tower::{Service, ServiceExt};

use crate::guard::within;
use crate::local::{Net, Way, open, ping};
use crate::polls::{poll_up_to, wake_up_to};

/// For each number of polls after which the open is over or dropped: the
/// others get theirs, and nothing is left behind.
async fn cancelled_opens(prepare: impl AsyncFn(&Net, &Multiplex<Net>), dials: usize) {
    for polls in 0.. {
        let net = Net::new(Config::default());
        let multiplex = Multiplex::new(net.clone());
        prepare(&net, &multiplex).await;
        let other = tokio::spawn({
            let multiplex = multiplex.clone();
            async move { open(&multiplex).await }
        });
        let dropped = poll_up_to(polls, open(&multiplex)).await;
        ping(&mut open(&multiplex).await.unwrap()).await.unwrap();
        ping(&mut other.await.unwrap().unwrap()).await.unwrap();
        let stats = &multiplex.stats()[0];
        assert_eq!((stats.waiting, stats.dialling), (0, 0), "after {polls}");
        assert_eq!(net.dials().len(), dials, "after {polls}");
        if dropped.is_some() {
            assert!(polls > 1, "it never waited");
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_open_that_is_dropped_during_the_dial_takes_no_dial_from_others() {
    cancelled_opens(async |_, _| {}, 1).await;
}

#[tokio::test(start_paused = true)]
async fn an_open_that_is_dropped_in_the_pause_takes_no_dial_from_others() {
    let fail_once = async |net: &Net, multiplex: &Multiplex<Net>| {
        net.set(Way::Refused);
        assert!(open(multiplex).await.is_err());
        net.set(Way::Up);
    };
    cancelled_opens(fail_once, 2).await;
}

/// Opens channels until the peer takes no more.
async fn fill(connection: &Connection) -> Vec<Channel> {
    let mut channels = Vec::new();
    while let Some(channel) = poll_up_to(2, connection.open()).await {
        channels.push(channel.unwrap());
    }
    channels
}

#[tokio::test(start_paused = true)]
async fn an_open_that_is_dropped_while_the_peer_is_full_takes_no_place_from_others() {
    for polls in 0..4 {
        let config = Config::default().max_channels(256).unwrap();
        let net = Net::new(config);
        let pool = PoolConfig::default().connections(1..=1).unwrap();
        let multiplex = Multiplex::new(net.clone()).with_pool(pool);
        let mut held = Vec::new();
        for _ in 0..256 {
            let mut channel = open(&multiplex).await.unwrap();
            ping(&mut channel).await.unwrap();
            held.push(channel);
        }
        assert!(poll_up_to(polls, open(&multiplex)).await.is_none());
        assert_eq!(multiplex.stats()[0].waiting, 0);
        let waits = tokio::spawn({
            let multiplex = multiplex.clone();
            async move { open(&multiplex).await }
        });
        tokio::task::yield_now().await;
        held.clear();
        let freed = Instant::now();
        ping(&mut waits.await.unwrap().unwrap()).await.unwrap();
        assert!(freed.elapsed() < Duration::from_millis(10));
        assert_eq!(net.dials().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_open_and_an_accept_on_a_connection_can_be_dropped() {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let client = Connection::client(near, Config::default());
    let server = Connection::server(far, Config::default());
    for polls in 0..4 {
        poll_up_to(polls, server.accept()).await;
    }
    let held = fill(&client).await;
    assert!(poll_up_to(3, client.open()).await.is_none());
    for _ in &held {
        drop(server.accept().await.unwrap());
    }
    drop(held);
    client.open().await.unwrap();
    assert!(server.accept().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_dial_nobody_waits_for_any_more_still_gives_its_connection_to_the_next() {
    let net = Net::new(Config::default());
    net.takes(Duration::from_secs(3));
    let multiplex = Multiplex::new(net.clone());
    let time = Duration::from_secs(1);
    assert!(tokio::time::timeout(time, open(&multiplex)).await.is_err());
    tokio::time::sleep(Duration::from_secs(5)).await;
    ping(&mut open(&multiplex).await.unwrap()).await.unwrap();
    assert_eq!(net.dials().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn when_the_last_connector_is_gone_its_connections_end() {
    let net = Net::new(Config::default());
    let multiplex = Multiplex::new(net.clone());
    let mut channel = open(&multiplex).await.unwrap();
    drop(multiplex);
    ping(&mut channel).await.unwrap();
    let server = net.servers().remove(0);
    assert!(server.error().is_none());
    drop(channel);
    while server.error().is_none() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

type Body = Full<Bytes>;

/// A server that sends back what it gets.
async fn serve() -> Uri {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut acceptor = Acceptor::new(listener);
    let uri = format!("http://{}", acceptor.local_addr().unwrap());
    let echo =
        async |request: Request<Incoming>| Ok::<_, Infallible>(Response::new(request.into_body()));
    tokio::spawn(async move {
        loop {
            let (channel, _) = acceptor.accept().await;
            let http = hyper::server::conn::http1::Builder::new();
            tokio::spawn(http.serve_connection(channel, service_fn(echo)));
        }
    });
    uri.try_into().unwrap()
}

/// A request of many frames and its whole response.
async fn exchange<S>(client: S, uri: Uri)
where
    S: Service<Request<Body>, Response = Response<Incoming>>,
    S::Error: std::fmt::Debug,
{
    let body = Bytes::from(vec![7; 1 << 20]);
    let request = Request::post(uri).body(Full::new(body.clone())).unwrap();
    let response = client.oneshot(request).await.unwrap();
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        body
    );
}

/// Whole requests over TCP, the first of a target and one that finds a
/// connection, dropped after each number of polls.
async fn dropped_anywhere<S>(client: impl Fn(Multiplex<HttpConnector>, Uri) -> S)
where
    S: Service<Request<Body>, Response = Response<Incoming>> + Clone,
    S::Error: std::fmt::Debug,
{
    let uri = serve().await;
    for polls in 0.. {
        let multiplex = Multiplex::new(HttpConnector::new());
        let client = client(multiplex.clone(), uri.clone());
        let request = || exchange(client.clone(), uri.clone());
        let first = within(wake_up_to(polls, request())).await;
        within(request()).await;
        let second = within(wake_up_to(polls, request())).await;
        within(request()).await;
        within(until_idle(&multiplex)).await;
        assert_eq!(multiplex.stats()[0].dials, 1, "after {polls}");
        if first.is_some() && second.is_some() {
            assert!(polls > 5, "they were over after {polls}");
            return;
        }
    }
}

/// Until no channel and no caller is left.
async fn until_idle(multiplex: &Multiplex<HttpConnector>) {
    loop {
        let stats = &multiplex.stats()[0];
        let channels: usize = stats.connections.iter().map(|one| one.channels).sum();
        if (channels, stats.waiting, stats.dialling) == (0, 0, 0) {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn requests_that_are_dropped_anywhere_leave_no_channel_and_cost_no_connection() {
    let client = |multiplex, _| {
        Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .build::<_, Body>(multiplex)
    };
    dropped_anywhere(client).await;
}

#[cfg(feature = "requests")]
#[tokio::test]
async fn nor_do_those_of_the_service_of_requests() {
    let clients = std::cell::RefCell::new(Vec::new());
    let client = |multiplex, target| {
        let requests = tcpchan::client::Requests::new(multiplex, target);
        clients.borrow_mut().push(requests.clone());
        requests
    };
    dropped_anywhere(client).await;
    let under_way = || {
        clients
            .borrow()
            .iter()
            .map(|one| one.under_way())
            .sum::<usize>()
    };
    let over = async {
        while under_way() > 0 {
            tokio::task::yield_now().await;
        }
    };
    within(over).await;
}

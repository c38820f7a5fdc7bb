//! Outlier ejection: a connection whose channels fail is avoided.
#![cfg(all(feature = "requests", feature = "retry"))]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::client::legacy::connect::HttpConnector;
use tcpchan::client::{Multiplex, PoolConfig, Requests, RetryPolicy, TargetStats};
use tcpchan::{Channel, Config, Connection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tower::retry::budget::TpsBudget;
use tower::{ServiceBuilder, ServiceExt};

/// What a server does whose app is down.
type Fails = fn(Channel);

async fn serve(channel: Channel) {
    let answer = service_fn(|_| async {
        sleep(Duration::from_millis(20)).await;
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("ok"))))
    });
    let http = hyper::server::conn::http1::Builder::new();
    let _ = http.serve_connection(channel, answer).await;
}

/// Two servers behind one address; the second one fails each channel.
async fn servers(fails: Fails) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for nth in 0.. {
            let (tcp, _) = listener.accept().await.unwrap();
            let connection = Connection::server(tcp, Config::default());
            tokio::spawn(async move {
                while let Some(channel) = connection.accept().await {
                    match nth % 2 {
                        0 => _ = tokio::spawn(serve(channel)),
                        _ => fails(channel),
                    }
                }
            });
        }
    });
    addr
}

/// How many of 320 requests failed, eight at a time: of the first 104 and of the others.
async fn failures(fails: Fails, connections: usize, retries: usize) -> (usize, usize) {
    let addr = servers(fails).await;
    let pool = PoolConfig::default();
    let pool = pool.connections(connections..=connections).unwrap();
    let multiplex = Multiplex::new(HttpConnector::new()).with_pool(pool);
    let uri = format!("http://{addr}/").parse().unwrap();
    multiplex.prewarm(&uri, connections).await.unwrap();
    let budget = Arc::new(TpsBudget::new(Duration::from_secs(10), 10_000, 1.0));
    let policy = RetryPolicy::new().retries(retries).idempotent(true);
    let service = ServiceBuilder::new().retry(policy.budget(budget));
    let service = service.service(Requests::new(multiplex, uri));
    let mut failed = (0, 0);
    for round in 0..40 {
        let mut requests = JoinSet::new();
        for _ in 0..8 {
            let service = service.clone();
            requests.spawn(async move {
                let request = Request::get("/").body(Full::<Bytes>::default()).unwrap();
                match service.oneshot(request).await {
                    Ok(response) => response.into_body().collect().await.is_ok(),
                    Err(_) => false,
                }
            });
        }
        let bad = requests
            .join_all()
            .await
            .into_iter()
            .filter(|ok| !ok)
            .count();
        match round < 13 {
            true => failed.0 += bad,
            false => failed.1 += bad,
        }
    }
    failed
}

const WAYS: [(&str, Fails); 3] = [
    ("refused", Channel::refuse),
    ("reset", drop),
    ("finished", |mut channel| {
        tokio::spawn(async move {
            let _ = channel.read(&mut [0; 1024]).await;
            let _ = channel.shutdown().await;
        });
    }),
];

/// An even share of the 216 after the first 104 would be 108.
#[tokio::test]
async fn a_server_that_fails_each_channel_gets_few() {
    for (way, fails) in WAYS {
        for connections in [2, 4] {
            let (first, later) = failures(fails, connections, 0).await;
            println!("{way}, {connections} connections: {first} failed, then {later}");
            assert!(later <= 10, "{way}, {connections}: {later}");
        }
    }
}

#[tokio::test]
async fn no_request_fails_that_is_retried() {
    for (way, fails) in WAYS {
        for connections in [2, 4] {
            let failed = failures(fails, connections, 3).await;
            assert_eq!(failed, (0, 0), "{way}, {connections}");
        }
    }
}

/// A channel whose one byte came back.
async fn is_served(multiplex: &Multiplex<HttpConnector>, uri: &hyper::Uri) -> bool {
    let opened = tower::Service::call(&mut multiplex.clone(), uri.clone()).await;
    let mut channel = opened.unwrap();
    channel.write_all(b"!").await.is_ok() && channel.read_u8().await.is_ok()
}

fn all_fail() -> Fails {
    Channel::refuse
}

/// Ejection is no reason to serve nobody, nor to dial for ever.
#[tokio::test]
async fn where_all_fail_callers_get_channels_and_dials_are_few() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}/", listener.local_addr().unwrap());
    let uri = uri.parse().unwrap();
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let connection = Connection::server(tcp, Config::default());
            tokio::spawn(async move {
                while let Some(channel) = connection.accept().await {
                    all_fail()(channel);
                }
            });
        }
    });
    let multiplex = Multiplex::new(HttpConnector::new());
    for _ in 0..300 {
        assert!(!is_served(&multiplex, &uri).await);
    }
    let stats: TargetStats = multiplex.stats_of(&uri).unwrap();
    assert!(stats.connections.len() <= 4, "{}", stats.connections.len());
    assert_eq!(stats.dials, stats.connections.len() as u64);
}

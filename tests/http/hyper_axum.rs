//! A hyper client calls an axum server over channels, all real.
#![cfg(feature = "axum")]

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::{get, post};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use std::net::SocketAddr;
use tcpchan::client::Multiplex;
use tcpchan::server::PeerInfo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::app::serve;

type HttpClient = Client<Multiplex<HttpConnector>, Full<Bytes>>;

async fn serve_echo() -> SocketAddr {
    let connection =
        |ConnectInfo(peer): ConnectInfo<PeerInfo>| async move { peer.connection.to_string() };
    let app = Router::new()
        .route("/connection", get(connection))
        .route("/echo", post(|body: Bytes| async { body }));
    serve(app).await
}

fn client(idle: usize) -> HttpClient {
    Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(idle)
        .build(Multiplex::new(HttpConnector::new()))
}

async fn get_body(client: &HttpClient, uri: Uri) -> Bytes {
    let response = client.get(uri).await.unwrap();
    response.into_body().collect().await.unwrap().to_bytes()
}

/// 1,000 requests, 50 at a time: the server saw no second connection. The connection is there
/// before, since a busy machine may take 5 ms for it, and then a cold burst dials more.
/// `pool/size.rs` has cold bursts, in virtual time.
async fn a_thousand_requests(idle: usize) {
    let addr = serve_echo().await;
    let client = client(idle);
    let uri = format!("http://{addr}/connection").parse().unwrap();
    get_body(&client, uri).await;
    let mut workers = JoinSet::new();
    for _ in 0..50 {
        let client = client.clone();
        workers.spawn(async move {
            for _ in 0..20 {
                let uri = format!("http://{addr}/connection").parse().unwrap();
                assert_eq!(get_body(&client, uri).await, "1");
            }
        });
    }
    assert_eq!(workers.join_all().await.len(), 50);
}

#[tokio::test]
async fn a_thousand_requests_share_one_tcp_connection() {
    a_thousand_requests(usize::MAX).await;
}

#[tokio::test]
async fn a_thousand_requests_with_a_channel_each_share_one_tcp_connection() {
    a_thousand_requests(0).await;
}

#[tokio::test]
async fn a_mebibyte_goes_both_ways_whole() {
    let addr = serve_echo().await;
    let data: Bytes = (0..1u32 << 20)
        .map(|i| (i.wrapping_mul(i) >> 7) as u8)
        .collect();
    let request = Request::post(format!("http://{addr}/echo"))
        .body(Full::new(data.clone()))
        .unwrap();
    let response = client(1).request(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(body == data);
}

#[tokio::test]
async fn a_target_that_is_down_gives_the_cause() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let error = client(1).get(uri.parse().unwrap()).await.unwrap_err();
    assert!(
        format!("{error:?}").contains("ConnectionRefused"),
        "{error:?}"
    );
}

//! A server that does not speak tcpchan, as a hyper-util client sees it.
#![cfg(feature = "axum")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http_body_util::Empty;
use hyper::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::TokioExecutor;
use tcpchan::client::{Multiplex, PoolConfig, is_retryable};
use tcpchan::server::Acceptor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::guard::within;

type HttpClient = Client<Multiplex<HttpConnector>, Empty<Bytes>>;

fn client(pool: PoolConfig) -> HttpClient {
    let multiplex = Multiplex::new(HttpConnector::new()).with_pool(pool);
    Client::builder(TokioExecutor::new()).build(multiplex)
}

fn uri(addr: SocketAddr) -> Uri {
    format!("http://{addr}/").parse().unwrap()
}

async fn ask(client: &HttpClient, addr: SocketAddr) -> Result<(), Error> {
    let response = within(client.get(uri(addr))).await?;
    assert!(response.status().is_success());
    Ok(())
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// Answers whatever comes as a server of plain HTTP does; what came.
async fn plain_http() -> (SocketAddr, Arc<Mutex<Vec<u8>>>) {
    let (listener, addr) = listen().await;
    let received = Arc::new(Mutex::new(Vec::new()));
    let all = received.clone();
    tokio::spawn(async move {
        loop {
            let (mut tcp, _) = listener.accept().await.unwrap();
            let mut bytes = Vec::new();
            let _ = tcp.read_buf(&mut bytes).await;
            let _ = tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            let _ = tcp.shutdown().await;
            let _ = tcp.read_to_end(&mut bytes).await;
            all.lock().unwrap().extend(bytes);
        }
    });
    (addr, received)
}

#[tokio::test]
async fn a_client_that_awaits_the_hello_gets_a_connect_error_and_sends_nothing() {
    let (addr, received) = plain_http().await;
    let client = client(PoolConfig::default().await_hello(true));
    for _ in 0..2 {
        let error = ask(&client, addr).await.unwrap_err();
        assert!(error.is_connect() && is_retryable(&error), "{error:?}");
        let text = format!("{error:?}");
        assert!(text.contains("as of plain HTTP"), "{text}");
    }
    let received = received.lock().unwrap();
    let has_request = received.windows(4).any(|bytes| bytes == b"GET ");
    assert!(!received.is_empty() && !has_request, "{received:?}");
}

#[tokio::test]
async fn by_default_the_first_request_fails_and_the_next_gets_a_connect_error() {
    let (addr, _) = plain_http().await;
    let client = client(PoolConfig::default());
    let error = ask(&client, addr).await.unwrap_err();
    assert!(!error.is_connect() && is_retryable(&error), "{error:?}");
    assert!(format!("{error:?}").contains("as of plain HTTP"));
    for _ in 0..3 {
        let error = ask(&client, addr).await.unwrap_err();
        assert!(error.is_connect() && is_retryable(&error), "{error:?}");
        assert!(format!("{error:?}").contains("as of plain HTTP"));
    }
}

#[tokio::test]
async fn a_server_that_speaks_tcpchan_later_is_found() {
    let (listener, addr) = listen().await;
    let client = client(PoolConfig::default());
    for _ in 0..2 {
        let asked = tokio::spawn({
            let client = client.clone();
            async move { ask(&client, addr).await }
        });
        let (mut tcp, _) = listener.accept().await.unwrap();
        tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        asked.await.unwrap().unwrap_err();
    }
    let acceptor = Acceptor::new(listener);
    let app = Router::new().route("/", get(|| async {}));
    tokio::spawn(async { axum::serve(acceptor, app).await });
    while ask(&client, addr).await.is_err() {} // each waits for the next dial
}

#[tokio::test]
async fn a_client_that_awaits_the_hello_calls_a_server_of_tcpchan() {
    let (listener, addr) = listen().await;
    let acceptor = Acceptor::new(listener);
    let app = Router::new().route("/", get(|| async {}));
    tokio::spawn(async { axum::serve(acceptor, app).await });
    let client = client(PoolConfig::default().await_hello(true));
    ask(&client, addr).await.unwrap();
}

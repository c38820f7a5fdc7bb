//! Its own client over a unix socket whose connections become channels.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::HeaderMap;
use axum::response::Redirect;
use axum::routing::{get, post};
use hyper_util::client::legacy::connect::HttpConnector;
use reqwest::{Client, ClientBuilder};
use serde_json::Value;
use tcpchan::client::{LocalSocket, Multiplex};
use tcpchan::server::PeerInfo;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::fixture::{double, order, uri};
use crate::app::serve;
use crate::guard::within;

fn socket(addr: SocketAddr) -> LocalSocket {
    LocalSocket::new(Multiplex::new(HttpConnector::new()), uri(addr)).unwrap()
}

fn builder(socket: &LocalSocket) -> ClientBuilder {
    Client::builder().unix_socket(socket.path())
}

#[tokio::test]
async fn json_goes_both_ways() {
    let addr = serve(Router::new().route("/double", post(double))).await;
    let socket = socket(addr);
    let client = builder(&socket).build().unwrap();
    let request = client.post("http://name/double").json(&order(2));
    let response = within(request.send()).await.unwrap();
    assert_eq!(response.json::<Value>().await.unwrap(), order(4));
}

#[tokio::test]
async fn requests_at_once_share_one_tcp_connection() {
    let connection =
        |ConnectInfo(peer): ConnectInfo<PeerInfo>| async move { peer.connection.to_string() };
    let addr = serve(Router::new().route("/", get(connection))).await;
    let socket = socket(addr);
    let client = builder(&socket).build().unwrap();
    // The connection is there before, since a busy machine may be slow to make it.
    within(client.get("http://name/").send()).await.unwrap();
    let mut calls = JoinSet::new();
    for _ in 0..50 {
        let request = client.get("http://name/").send();
        calls.spawn(async { within(request).await.unwrap().text().await.unwrap() });
    }
    assert!(calls.join_all().await.iter().all(|on| on == "1"));
}

#[tokio::test]
async fn a_redirect_is_followed() {
    let app = Router::new()
        .route("/", get(|| async { Redirect::to("/there") }))
        .route("/there", get(|| async { "arrived" }));
    let socket = socket(serve(app).await);
    let client = builder(&socket).build().unwrap();
    let response = within(client.get("http://name/").send()).await.unwrap();
    assert_eq!(response.url().as_str(), "http://name/there");
    assert_eq!(response.text().await.unwrap(), "arrived");
}

/// The guide says so.
#[tokio::test]
async fn a_redirect_to_another_host_comes_to_the_same_target() {
    let app = Router::new()
        .route("/", get(|| async { Redirect::to("http://other/there") }))
        .route(
            "/there",
            get(|headers: HeaderMap| async move { headers["host"].to_str().unwrap().to_owned() }),
        );
    let socket = socket(serve(app).await);
    let client = builder(&socket).build().unwrap();
    let response = within(client.get("http://name/").send()).await.unwrap();
    assert_eq!(response.text().await.unwrap(), "other");
}

#[tokio::test]
async fn cookies_come_back() {
    let set = || async { ([("set-cookie", "session=7; Path=/")], "") };
    let show = |headers: HeaderMap| async move { headers["cookie"].to_str().unwrap().to_owned() };
    let app = Router::new()
        .route("/set", get(set))
        .route("/show", get(show));
    let socket = socket(serve(app).await);
    let client = builder(&socket).cookie_store(true).build().unwrap();
    within(client.get("http://name/set").send()).await.unwrap();
    let response = within(client.get("http://name/show").send()).await.unwrap();
    assert_eq!(response.text().await.unwrap(), "session=7");
}

/// Tells when it is dropped.
struct Held(mpsc::UnboundedSender<()>);

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

#[tokio::test]
async fn its_timeout_ends_the_request_at_the_server() {
    let (sender, mut dropped) = mpsc::unbounded_channel();
    let hang = move || {
        let held = Held(sender.clone());
        async move {
            std::future::pending::<()>().await;
            drop(held);
        }
    };
    let socket = socket(serve(Router::new().route("/", get(hang))).await);
    let client = builder(&socket).timeout(Duration::from_millis(200));
    let client = client.build().unwrap();
    let error = within(client.get("http://name/").send()).await.unwrap_err();
    assert!(error.is_timeout(), "{error:?}");
    within(dropped.recv()).await.unwrap();
}

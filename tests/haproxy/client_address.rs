//! An app behind a load balancer knows its clients by the PROXY protocol.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tcpchan::server::{Acceptor, ConnectInfoLayer, PeerInfo, ProxyProtocol, SharedPort};
use tcpchan::{Config, Connection};
use tokio::net::{TcpListener, TcpStream};

use crate::balancer::{CONFIG, Haproxy, free_place};
use crate::guard::within;
use crate::nginx::Nginx;

/// Says who calls.
fn app() -> Router {
    let who = |ConnectInfo(addr): ConnectInfo<SocketAddr>| async move { addr.to_string() };
    let router = Router::new().route("/", get(who));
    router.layer(ConnectInfoLayer::new())
}

fn of_this_host() -> ProxyProtocol {
    let networks = ["127.0.0.0/8"];
    ProxyProtocol::default().trusted_networks(networks).unwrap()
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

async fn with_acceptor() -> SocketAddr {
    let (listener, addr) = listen().await;
    let acceptor = Acceptor::new(listener).with_proxy_protocol(of_this_host());
    let service = app().into_make_service_with_connect_info::<PeerInfo>();
    tokio::spawn(async { axum::serve(acceptor, service).await });
    addr
}

async fn with_shared_port() -> SocketAddr {
    let (listener, addr) = listen().await;
    let port = SharedPort::new(listener).with_proxy_protocol(of_this_host());
    let service = app().into_make_service_with_connect_info::<PeerInfo>();
    tokio::spawn(async { axum::serve(port, service).await });
    addr
}

/// The guide's HAProxy, with a word more for each server.
async fn haproxy(word: &str, app: SocketAddr) -> Haproxy {
    let addr = free_place().await;
    let config = CONFIG
        .replace("bind :3000", &format!("bind {addr}"))
        .replace("10.0.0.1:3000", &app.to_string())
        .replace("10.0.0.2:3000", &app.to_string())
        .replace("check inter 1s", &format!("check inter 1s {word}"));
    Haproxy::start(addr, &config).await
}

/// The app, called through a load balancer, knows the address of this end.
async fn knows_its_client(balancer: SocketAddr) {
    let tcp = within(TcpStream::connect(balancer)).await.unwrap();
    let own = tcp.local_addr().unwrap().to_string();
    let connection = Connection::client(tcp, Config::default());
    let client = Client::builder(TokioExecutor::new()).build::<_, Empty<Bytes>>(connection);
    let response = within(client.get("http://app/".parse().unwrap())).await;
    let body = within(response.unwrap().into_body().collect()).await;
    assert_eq!(body.unwrap().to_bytes(), own);
}

#[tokio::test]
#[ignore = "needs HAProxy"]
async fn behind_haproxy_with_either_version() {
    for word in [
        "send-proxy",
        "send-proxy-v2",
        "send-proxy-v2 proxy-v2-options crc32c,unique-id",
    ] {
        let haproxy = haproxy(word, with_acceptor().await).await;
        knows_its_client(haproxy.addr).await;
    }
}

#[tokio::test]
#[ignore = "needs HAProxy"]
async fn on_a_shared_port_behind_haproxy_which_also_checks_the_app() {
    let haproxy = haproxy("send-proxy-v2", with_shared_port().await).await;
    knows_its_client(haproxy.addr).await;
    // HTTP of a client that has not moved.
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let uri = format!("http://{}/", haproxy.addr).parse().unwrap();
    let response = within(client.get(uri)).await.unwrap();
    let body = within(response.into_body().collect()).await.unwrap();
    let addr: SocketAddr = String::from_utf8_lossy(&body.to_bytes()).parse().unwrap();
    assert!(addr.ip().is_loopback());
}

#[tokio::test]
#[ignore = "needs nginx"]
async fn behind_nginx() {
    let nginx = Nginx::start(with_acceptor().await).await;
    knows_its_client(nginx.addr).await;
}

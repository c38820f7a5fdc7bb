use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request as AxumRequest};
use axum::middleware::{Next, from_fn};
use axum::routing::get;
use axum::serve::ListenerExt;
use hyper::Request;
use std::net::SocketAddr;
use std::sync::mpsc;
use tcpchan::Config;
use tcpchan::Connection;
use tcpchan::server::{ConnectInfoLayer, PeerInfo};
use tokio::net::TcpStream;

use crate::axum_features::fixture::{acceptor, http1, serve_on, whole};
use crate::guard::within;

fn app() -> Router {
    let peer = |ConnectInfo(peer): ConnectInfo<PeerInfo>| async move {
        format!("{} {} {}", peer.addr, peer.connection, peer.channel)
    };
    Router::new().route("/", get(peer))
}

async fn ask(connection: &Connection) -> String {
    let mut sender = http1(connection.open().await.unwrap()).await;
    let response = within(sender.send_request(Request::new(Body::empty())));
    let body = whole(response.await.unwrap().into_body()).await;
    String::from_utf8(body.into()).unwrap()
}

#[tokio::test]
async fn a_handler_learns_address_connection_and_channel() {
    let (acceptor, addr) = acceptor().await;
    serve_on(acceptor, app());
    for number in 1..=2 {
        let tcp = TcpStream::connect(addr).await.unwrap();
        let from = tcp.local_addr().unwrap();
        let connection = Connection::client(tcp, Config::default());
        assert_eq!(ask(&connection).await, format!("{from} {number} 1"));
        assert_eq!(ask(&connection).await, format!("{from} {number} 3"));
    }
}

#[tokio::test]
async fn a_listener_that_taps_channels_keeps_their_connect_info() {
    let (acceptor, addr) = acceptor().await;
    let (seen, channels) = mpsc::channel();
    let tapped = acceptor.tap_io(move |channel| seen.send(channel.id()).unwrap());
    serve_on(tapped, app());
    let tcp = TcpStream::connect(addr).await.unwrap();
    let connection = Connection::client(tcp, Config::default());
    assert!(ask(&connection).await.ends_with(" 1 1"));
    assert!(ask(&connection).await.ends_with(" 1 3"));
    assert_eq!(channels.try_iter().collect::<Vec<_>>(), [1, 3]);
}

#[tokio::test]
async fn by_our_layer_a_handler_that_asks_for_an_address_gets_the_peers() {
    let addr = |ConnectInfo(addr): ConnectInfo<SocketAddr>| async move { addr.to_string() };
    let app = Router::new().route("/", get(addr));
    let (acceptor, addr) = acceptor().await;
    serve_on(acceptor, app.layer(ConnectInfoLayer::new()));
    let tcp = TcpStream::connect(addr).await.unwrap();
    let from = tcp.local_addr().unwrap();
    let connection = Connection::client(tcp, Config::default());
    assert_eq!(ask(&connection).await, from.to_string());
}

/// A limit of requests by address is such a layer.
#[tokio::test]
async fn a_layer_within_it_finds_the_address_too() {
    let seen = |request: AxumRequest, next: Next| async {
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        let seen = peer.map(|ConnectInfo(addr)| addr.to_string());
        drop(next.run(request).await);
        seen.unwrap_or_default()
    };
    let app = Router::new().route("/", get(|| async {}));
    let (acceptor, addr) = acceptor().await;
    serve_on(
        acceptor,
        app.layer(from_fn(seen)).layer(ConnectInfoLayer::new()),
    );
    let tcp = TcpStream::connect(addr).await.unwrap();
    let from = tcp.local_addr().unwrap();
    let connection = Connection::client(tcp, Config::default());
    assert_eq!(ask(&connection).await, from.to_string());
}

#[tokio::test]
async fn without_a_peer_it_adds_nothing() {
    use tower::ServiceExt;

    let asks = |peer: Option<axum::Extension<ConnectInfo<SocketAddr>>>| async move {
        peer.is_none().to_string()
    };
    let app = Router::new().route("/", get(asks));
    let app = app.layer(ConnectInfoLayer::new());
    let response = app.oneshot(Request::new(Body::empty())).await.unwrap();
    let body = axum::body::to_bytes(response.into_body(), 100).await;
    assert_eq!(body.unwrap(), "true");
}

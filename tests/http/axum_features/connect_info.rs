use axum::Router;
use axum::body::Body;
use axum::extract::{self, ConnectInfo};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::get;
use axum::serve::ListenerExt;
use hyper::Request;
use std::net::SocketAddr;
use std::sync::mpsc;
use tcpchan::Config;
use tcpchan::Connection;
use tcpchan::server::PeerInfo;
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
async fn a_handler_that_asks_for_an_address_gets_the_peers() {
    async fn with_address(
        ConnectInfo(peer): ConnectInfo<PeerInfo>,
        mut request: extract::Request,
        next: Next,
    ) -> Response {
        request.extensions_mut().insert(ConnectInfo(peer.addr));
        next.run(request).await
    }
    let addr = |ConnectInfo(addr): ConnectInfo<SocketAddr>| async move { addr.to_string() };
    let app = Router::new().route("/", get(addr));
    let (acceptor, addr) = acceptor().await;
    serve_on(acceptor, app.layer(from_fn(with_address)));
    let tcp = TcpStream::connect(addr).await.unwrap();
    let from = tcp.local_addr().unwrap();
    let connection = Connection::client(tcp, Config::default());
    assert_eq!(ask(&connection).await, from.to_string());
}

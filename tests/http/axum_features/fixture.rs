//! An app on an acceptor, and ways to call it.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::serve::Listener;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use tcpchan::server::{Acceptor, PeerInfo};
use tcpchan::{Channel, Config, Connection};
use tokio::net::{TcpListener, TcpStream};

pub async fn acceptor() -> (Acceptor, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let acceptor = Acceptor::new(listener);
    let addr = acceptor.local_addr().unwrap();
    (acceptor, addr)
}

pub async fn serve(app: Router) -> SocketAddr {
    let (acceptor, addr) = acceptor().await;
    tokio::spawn(async { axum::serve(acceptor, app).await });
    addr
}

pub fn serve_on<L>(listener: L, app: Router)
where
    L: Listener<Addr = PeerInfo>,
    PeerInfo: for<'a> axum::extract::connect_info::Connected<axum::serve::IncomingStream<'a, L>>,
{
    let service = app.into_make_service_with_connect_info::<PeerInfo>();
    tokio::spawn(async { axum::serve(listener, service).await });
}

pub async fn connect(addr: SocketAddr) -> Connection {
    let tcp = TcpStream::connect(addr).await.unwrap();
    Connection::client(tcp, Config::default())
}

pub async fn channel(addr: SocketAddr) -> Channel {
    connect(addr).await.open().await.unwrap()
}

/// hyper's client on a channel.
pub async fn http1(channel: Channel) -> SendRequest<Body> {
    let (sender, connection) = hyper::client::conn::http1::handshake(channel)
        .await
        .unwrap();
    tokio::spawn(connection.with_upgrades());
    sender
}

pub async fn whole(body: Incoming) -> Bytes {
    body.collect().await.unwrap().to_bytes()
}

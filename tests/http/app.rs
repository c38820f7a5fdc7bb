//! An axum app behind an acceptor, whose handlers may ask for the connection's peer.

use std::net::SocketAddr;

use axum::Router;
use tcpchan::server::{Acceptor, PeerInfo};
use tokio::net::TcpListener;

pub async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let acceptor = Acceptor::new(listener);
    let addr = acceptor.local_addr().unwrap();
    let service = app.into_make_service_with_connect_info::<PeerInfo>();
    tokio::spawn(async { axum::serve(acceptor, service).await });
    addr
}
